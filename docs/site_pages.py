"""What the site makes of the package: commands as blocks, and the page of the configs."""

import ast
import os
import pathlib
import re

import jupytext

HERE = pathlib.Path(__file__).parent
CONFIGS = HERE.parent / "configs"
# What is outside of docs/ and has a page here, by its path in the repository.
PAGES = {"CHANGELOG.md": "changelog.md", "CONTRIBUTING.md": "contributing.md",
         "SECURITY.md": "security.md"}  # fmt: skip
_LINK = re.compile(r"\[([^\]]+)\]\(([^)#\s:]+)\)")
PAGE = """\
# Configs

`glide-jax train --config NAME` takes these names, a name with `:SIZE` after it, or a Python file of your own.
Any field is changed on the command line, e.g. `--config.optim.lr=3e-4`.

{configs}

## Fields

```{{literalinclude}} ../../glide_jax/training/sections.py
:language: python
:start-at: "@dataclasses.dataclass"
```
"""


def write_configs(app) -> None:
    """Writes the page of the configs from what each config file says of itself."""
    found = []
    for path in sorted(CONFIGS.glob("*.py")):
        text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")), clean=False)
        if path.stem in ("__init__", "presets", "finetune") or not text:
            continue
        found.append(f"## {path.stem}\n\n{text}")
    page = HERE / "reference" / "configs.md"
    made = PAGE.format(configs="\n\n".join(found))
    if not page.exists() or page.read_text(encoding="utf-8") != made:
        page.write_text(made, encoding="utf-8")


def write_notebook(app) -> None:
    """Writes the notebook for an accelerator as the file that Jupyter and Colab open."""
    page = HERE / "_build" / "accelerator.ipynb"
    page.parent.mkdir(exist_ok=True)
    jupytext.write(jupytext.read(HERE / "notebooks" / "accelerator.py"), page)


def blocks(app, what, name, obj, options, lines: list[str]) -> None:
    """Makes docstrings, which are plain text, reStructuredText: a module's commands are blocks."""
    example = False
    for k, line in enumerate(lines):
        example = line.lstrip().startswith(">>>") or (example and bool(line.strip()))
        lines[k] = line if example else _plain(line)
    if what != "module":
        return
    made, inside = [], False
    for line in lines:
        indented = line.startswith("    ")
        if indented and not inside and made and not made[-1].strip():
            made += [".. code-block:: text", ""]
            inside = True
        elif line.strip() and not indented:
            inside = False
        made.append(line)
    lines[:] = made


def _plain(line: str) -> str:
    """A line whose stars and bars are themselves, and whose code may be followed by a letter."""
    parts = re.split(r"(`[^`]*`)", line)
    parts[::2] = [re.sub(r"([*|\\])", r"\\\1", text) for text in parts[::2]]
    return re.sub(r"`(?=[\w])(?<=[^\s(`]`)", "`\\\\ ", "".join(parts))


def inward(app, docname: str, source: list[str]) -> None:
    """Turns links that leave docs/ into links to the page of the file, or to the file itself."""
    source[0] = _turned(source[0], HERE / docname, HERE / docname)


def included(app, path: pathlib.Path, docname: str, content: list[str]) -> None:
    """The same for a file of the repository that a page includes, from where it lies.

    MyST hands over the page's name without its folders.
    """
    content[0] = _turned(content[0], HERE / path, HERE / app.env.docname)


def _turned(text: str, file: pathlib.Path, page: pathlib.Path) -> str:
    """A text whose links, written for `file`, are those of `page`."""

    def turned(match: re.Match[str]) -> str:
        words, target = match[1], (file.parent / match[2]).resolve()
        if not target.exists() or not target.is_relative_to(HERE.parent):
            return match[0]
        here = os.path.relpath(target, page.parent)
        if target.is_relative_to(HERE):
            is_page = target.is_file()
            return f"[{words}]({here})" if is_page else f"{words} (`{target.name}/`)"
        path = str(target.relative_to(HERE.parent))
        boxed = re.fullmatch(r"glide_jax/boxed/([\w-]+)/README\.md", path)
        if known := f"models/{boxed[1]}.md" if boxed else PAGES.get(path):
            return f"[{words}]({os.path.relpath(HERE / known, page.parent)})"
        return f"{{download}}`{words.replace('`', '')} <{here}>`" if target.is_file() else words

    return _LINK.sub(turned, text)


def skipped(app, what, name: str, obj, skip: bool, options) -> bool | None:
    """Whether a member is left out: fields of named tuples stand in their signatures already."""
    return True if str(getattr(obj, "__doc__", "")).startswith("Alias for field number") else None


def setup(app) -> dict:
    """Registers all of it."""
    app.connect("builder-inited", write_configs, priority=100)
    app.connect("builder-inited", write_notebook)
    app.connect("source-read", inward)
    app.connect("include-read", included)
    app.connect("autodoc-skip-member", skipped)
    app.connect("autodoc-process-docstring", blocks, priority=100)
    return {"parallel_read_safe": True}
