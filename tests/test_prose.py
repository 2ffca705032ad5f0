"""Docstrings and comments: arguments are described, and sentences begin with their subject."""

import ast
import io
import pathlib
import re
import tokenize

import pytest

ROOT = pathlib.Path(__file__).parents[1] / "glide_jax"
FILES = sorted(path for path in ROOT.rglob("*.py") if "configs" not in path.parts)

DESCRIBED_FROM = 3  # parameters
DANGLING = re.compile(r"(?:of|as|that|whose)\b")
COMMENT = re.compile(r"(?:[oO]f|that|whose|as)\b")
HEADLESS = re.compile(r"(?:What|Of|As|That|Whose|Who)\b")
ENTRY = re.compile(r"^\s+\*{0,2}\w+: +(.*)$", re.MULTILINE)


def parameters(function: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
    a = function.args
    return [p.arg for p in a.posonlyargs + a.args + a.kwonlyargs if p.arg not in ("self", "cls")]


def is_command(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Click's functions: --help describes what they take."""
    return any(re.search("command|option", ast.unparse(d)) for d in function.decorator_list)


def public_functions(tree: ast.AST, public: bool = True):
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.ClassDef):
            yield from public_functions(node, public and not node.name.startswith("_"))
        is_function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        if is_function and public and not node.name.startswith("_"):
            yield node


def faults(source: str) -> list[str]:
    tree, found = ast.parse(source), []
    for function in public_functions(tree):
        text = ast.get_docstring(function) or ""
        many = len(parameters(function)) >= DESCRIBED_FROM
        if many and not is_command(function) and "Args:" not in text:
            found.append(f"line {function.lineno}: {function.name} describes no Args")
    documented = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Module)
    for node in ast.walk(tree):
        text = (ast.get_docstring(node) or "") if isinstance(node, documented) else ""
        if HEADLESS.match(text):
            found.append(f"line {getattr(node, 'lineno', 1)}: a docstring begins {text[:40]!r}")
        if "Args:" in text or "Attributes:" in text:
            found += [f"an entry begins {e!r}" for e in ENTRY.findall(text) if DANGLING.match(e)]
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        comment = token.string.removeprefix("#").strip()
        if token.type == tokenize.COMMENT and COMMENT.match(comment):
            found.append(f"line {token.start[0]}: a comment begins {comment[:40]!r}")
    return found


def test_the_package_s_prose_has_no_such_faults():
    found = {path.relative_to(ROOT): faults(path.read_text()) for path in FILES}
    assert len(found) > 150
    assert not [f"{path}: {fault}" for path, each in found.items() for fault in each]


@pytest.mark.parametrize(
    "source",
    [
        'def f(a, b, c):\n    """Adds."""',
        'class A:\n    def f(self, a, b, *, c):\n        """Adds."""',
        'class A:\n    """What is drawn."""',
        '"""Of pictures."""',
        'def f(a):\n    """Adds.\n\n    Args:\n        a: of the file.\n    """',
        "x = 1  # of the model",
        "# as in the paper\nx = 1",
    ],
)
def test_a_fault_is_seen(source):
    assert faults(source)


@pytest.mark.parametrize(
    "source",
    [
        "def f(a, b): ...",
        "def _f(a, b, c): ...",
        "class _A:\n    def f(self, a, b, c): ...",
        "@click.command()\ndef command(a, b, c): ...",
        'def f(a, b, c):\n    """Adds.\n\n    Args:\n        a: The first.\n    """',
        "x = 1  # often is 2",
    ],
)
def test_what_is_well_said_passes(source):
    assert not faults(source)
