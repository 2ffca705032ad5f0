"""The commands and snippets of README and the site's pages, and whether commands are understood."""

import pathlib
import re
import shlex
import subprocess

import click

from glide_jax.cli import main, train_
from tests.conftest import ROOT

FENCE = re.compile(r"^( *)```(\w*)[^\n]*\n(.*?)^\1```", re.MULTILINE | re.DOTALL)
PROGRAMS = {
    *("make", "pip", "python", "python3", "pytest", "glide-jax", "cat", "curl", "sbatch", "rsync"),
    *("export", "eval", "launch", "IMAGE", "_GLIDE_JAX_COMPLETE", ".venv"),
}


def pages() -> list[pathlib.Path]:
    """README and the pages of the site that git knows."""
    listed = subprocess.run(
        ["git", "-C", ROOT, "ls-files", "README.md", "docs/*.md"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return [ROOT / name for name in listed.stdout.split()]


def python_blocks(page: pathlib.Path) -> list[str]:
    """The Python snippets of a page."""
    return [body for _, language, body in FENCE.findall(page.read_text()) if language == "python"]


def commands(page: pathlib.Path) -> list[str]:
    """The shell lines of a page's blocks, continued ones joined, without comments."""
    text = FENCE.sub(_indented, page.read_text())
    text = text.replace("\\\n", " ")
    found = []
    for line in re.findall(r"^ {4,}(\S.*)$", text, re.MULTILINE):
        line = " ".join(re.split(r"\s+# ", line)[0].split())
        if re.split(r"[ /=]", line)[0] in PROGRAMS and " " in line:
            found.append(line)
    return found


def _indented(block: re.Match[str]) -> str:
    """A fenced block of shell lines as an indented one; others are no commands."""
    if block[2] not in ("sh", "console"):
        return ""
    return "".join(f"    {line.removeprefix('$ ')}\n" for line in block[3].splitlines())


def inline(page: pathlib.Path) -> list[str]:
    """Commands of `glide-jax` in sentences and tables, if they have options."""
    text = FENCE.sub("", page.read_text())
    return re.findall(r"`(glide-jax [a-z-]+ [^`\n]*--[^`\n]+)`", text)


def parts(line: str) -> list[list[str]]:
    """The words of each `glide-jax` of a line, without placeholders for more of the same."""
    plain = re.sub(r"\[(--[^]]+)\]", r"\1", line)
    words, found = shlex.split(plain.replace("$(", " ").replace(")", " )")), []
    for k, word in enumerate(words):
        if word == "glide-jax" and (k == 0 or words[k - 1] in ("&&", "launch/local.sh")):
            rest = words[k + 1 :]
            ends = [i for i, w in enumerate(rest) if w in ("&&", "|", ">")]
            found.append(rest[: ends[0] if ends else None])
    return found


def understood(words: list[str], whole: bool = True) -> click.Command:
    """The command of some words: it has their options and, if they are `whole`, misses none.

    Raises:
        click.UsageError: a word is not understood, or something is missing.
    """
    command, context = main.cli, click.Context(main.cli)
    while isinstance(command, click.Group):
        name, *words = words
        if name in ("--help", "--version"):
            return command
        found = command.get_command(context, name)
        if found is None:
            raise click.UsageError(f"there is no command {name!r}")
        command = found
    context = click.Context(command, **command.context_settings)
    values, left, _ = command.make_parser(context).parse_args([*words])
    if context.allow_extra_args:
        train_.overrides([word for word in left if word != "..."])
    elif left:
        raise click.UsageError(f"{left} are too many")
    for param in command.params:
        if (
            whole
            and param.required
            and "..." not in words
            and values.get(param.name) in (None, (), [])
        ):
            raise click.UsageError(f"{param.name} is missing")
    return command
