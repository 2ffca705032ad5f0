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


def public_names(tree: ast.AST):
    """Public functions and classes with those inside of public classes."""
    for node in ast.iter_child_nodes(tree):
        kinds = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
        if isinstance(node, kinds) and not node.name.startswith("_"):
            yield node
            yield from public_names(node) if isinstance(node, ast.ClassDef) else ()


def own_raises(function: ast.FunctionDef | ast.AsyncFunctionDef):
    """The exceptions that a function's own lines raise, and not functions inside of it."""
    waiting: list[ast.AST] = list(function.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Raise) and node.exc is not None:
            yield node
        if not isinstance(node, ast.FunctionDef | ast.Lambda):
            waiting += ast.iter_child_nodes(node)


def gaps(source: str) -> list[str]:
    """What a reader of the reference would miss: docstrings, and in them Raises and Returns."""
    tree, found = ast.parse(source), []
    if not ast.get_docstring(tree):
        found.append("the module has no docstring")
    for node in public_names(tree):
        text, where = ast.get_docstring(node) or "", f"line {node.lineno}: {node.name}"
        if not text:
            found.append(f"{where} has no docstring")
        if isinstance(node, ast.ClassDef):
            continue
        if any(own_raises(node)) and "Raises:" not in text:
            found.append(f"{where} describes no Raises")
        given = ast.unparse(node.returns) if node.returns else ""
        several = given.startswith("tuple[") and not given.endswith("...]")
        first = text.partition("\n\n")[0]  # "The picture and the mask." describes both
        if several and "Returns:" not in text and not re.search(r"\band\b|[,:(]", first):
            found.append(f"{where} describes no Returns")
    return found


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


def test_the_reference_has_no_gaps():
    hidden = {"cli", "configs", "boxed"}  # docs/conf.py; commands have their --help
    files = [path for path in FILES if not hidden & set(path.relative_to(ROOT).parts)]
    found = {path.relative_to(ROOT): gaps(path.read_text()) for path in files}
    assert len(found) > 120
    assert not [f"{path}: {gap}" for path, each in found.items() for gap in each]


@pytest.mark.parametrize(
    "source",
    [
        "x = 1",
        '"""A."""\ndef f(): pass',
        '"""A."""\nclass A:\n    """B."""\n    def f(self): pass',
        '"""A."""\ndef f():\n    """B."""\n    raise ValueError("x")',
        '"""A."""\ndef f() -> tuple[int, str]:\n    """B."""',
    ],
)
def test_a_gap_is_seen(source):
    assert len(gaps(source)) == 1


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
