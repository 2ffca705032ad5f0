"""Who may import whom, and who may touch the world. The tables are the architecture."""

import ast
import pathlib
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1] / "glide_jax"
FILES = sorted(ROOT.rglob("*.py"))

# From the bottom up. A layer may import every layer below its own line, and no neighbour on it.
GROUND = ("errors", "version", "checks", "extras", "files", "types", "trees", "tables",
          "compiling", "watermark", "provenance", "images", "colours",
          "contact_sheets")  # fmt: skip
LAYERS = (
    *((name,) for name in GROUND),
    ("diffusion", "networks", "tokenizers"),
    ("data", "mesh"),
    ("checkpoints",),
    ("model_dir",),
    ("sampling",),
    ("training",),
    ("scale", "evaluation"),
    ("safety",),
    ("benchmarks", "serving"),
    ("__init__",),  # the public face, which nothing below imports
    ("cli",),
    ("__main__",),
)
HEIGHT = {name: height for height, line in enumerate(LAYERS) for name in line}
# Packages from outside that only these layers or files may import.
ONLY = {
    "flax": ("networks",),
    "ml_collections": ("training/config.py",),
    "click": ("cli",),
}
OUTSIDE = {  # layer: every package from outside the standard library that it may import
    **{name: set() for name in ("errors", "version", "files", "extras", "checks", "tables")},
    "types": {"jax", "numpy", "jaxtyping"},
    "trees": {"jax"},
    "diffusion": {"jax", "numpy", "jaxtyping", "einops"},
}
NEVER = {  # file or folder: what it may not import although that lies below it, or outside
    "tokenizers": {"jax", "jaxlib", "optax", "orbax"},
    **{name: {"networks", "diffusion"} for name in ("data", "mesh", "checkpoints")},
    **{f"training/{name}.py": {"networks", "model_dir"} for name in ("loop", "step", "objectives")},
}

SPEAKERS = {"cli", "serving"}  # may print, parse flags and read the environment
FLAG_PARSERS = {"argparse", "click", "getopt", "optparse"}
WORLD = {"os.environ", "os.environb", "os.getenv", "os.putenv", "sys.argv"}

# Files of one name in two folders that are two sides of one thing, and why.
NAMESAKES = {
    name: "the network in networks/, and what it is measured with in evaluation/features/"
    for name in ("clip", "efficientnet", "inception", "minilm")
} | {"protocol": "what a tokenizer is in tokenizers/, and what is spoken over HTTP in serving/"}

MAX_FILE, MAX_FUNCTION = 350, 60
LONG: dict[str, str] = {}  # "networks/unet.py" or "networks/unet.py:UNet.__call__": the reason


def layer_of(path: pathlib.PurePath) -> str:
    return path.parts[0].removesuffix(".py")


def imports(tree: ast.AST, path: pathlib.PurePath) -> set[str]:
    """Absolute dotted names of everything imported, at the top or inside a function."""
    package = ["glide_jax", *path.parts[:-1]]
    names = set()
    for node in ast.walk(tree):
        match node:
            case ast.Import():
                names |= {alias.name for alias in node.names}
            case ast.ImportFrom():
                base = package[: len(package) - node.level + 1] if node.level else []
                base = [*base, *([node.module] if node.module else [])]
                names |= {".".join([*base, alias.name]) for alias in node.names}
            case ast.Call(args=[ast.Constant(value=str(name)), *_]):
                if ast.unparse(node.func).split(".")[-1] in {"import_module", "__import__"}:
                    names.add("glide_jax" + name if name.startswith(".") else name)
    return names


def import_faults(source: str, path: pathlib.PurePath) -> list[str]:
    layer, faults = layer_of(path), []
    if layer not in HEIGHT:
        return [f"{layer} is in no layer: give it a place in the table of this test"]
    never = NEVER.get(layer, set()) | NEVER.get(path.as_posix(), set())
    for name in sorted(imports(ast.parse(source), path)):
        top, _, rest = name.partition(".")
        if top == "glide_jax":
            target = rest.split(".")[0]
            target = target if target in HEIGHT else "__init__"
            wrong = target != layer and (HEIGHT[target] >= HEIGHT[layer] or target in never)
        else:
            wrong = (
                not {layer, path.as_posix()} & set(ONLY.get(top, (layer,)))
                or top in never
                or (layer in OUTSIDE and top not in OUTSIDE[layer] | sys.stdlib_module_names)
            )
        if wrong:
            faults.append(f"{path} must not import {name}")
    return faults


def world_faults(source: str, path: pathlib.PurePath) -> list[str]:
    """What only cli and serving may do: print, parse flags, read the environment."""
    if layer_of(path) in SPEAKERS:
        return []
    tree, faults = ast.parse(source), []
    for name in sorted(imports(tree, path)):
        if name in WORLD or name.split(".")[0] in FLAG_PARSERS:
            faults.append(f"only cli and serving use {name}")
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id="print")):
                faults.append(f"only cli and serving print (line {node.lineno})")
            case ast.Attribute() if ast.unparse(node) in WORLD:
                faults.append(f"only cli and serving use {ast.unparse(node)} (line {node.lineno})")
    return faults


def docstring_lines(node: ast.AST) -> int:
    first = node.body[0]
    is_text = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    return first.end_lineno - first.lineno + 1 if is_text else 0


def length_faults(source: str, path: pathlib.PurePath) -> list[str]:
    lengths = {str(path): (len(source.splitlines()), MAX_FILE)}

    def visit(node: ast.AST, prefix: str) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                name = f"{prefix}{child.name}"
                if not isinstance(child, ast.ClassDef):
                    # A docstring's list of arguments makes nothing harder to follow.
                    size = child.end_lineno - child.lineno + 1 - docstring_lines(child)
                    lengths[f"{path}:{name}"] = (size, MAX_FUNCTION)
                visit(child, f"{name}.")
            else:
                visit(child, prefix)

    visit(ast.parse(source), "")
    return [
        f"{name} has {size} lines, over {most}"
        for name, (size, most) in lengths.items()
        if size > most and name not in LONG
    ]


@pytest.mark.parametrize("faults", [import_faults, world_faults, length_faults])
def test_no_file_breaks_the_rules(faults):
    """Imports point down, only cli and serving touch the world, files and functions are short."""
    found = [faults(path.read_text(), path.relative_to(ROOT)) for path in FILES]
    assert len(found) > 150
    assert not [fault for faults in found for fault in faults]


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("diffusion/losses.py", "import flax.linen as nn"),
        ("diffusion/losses.py", "import optax"),
        ("diffusion/losses.py", "from glide_jax.networks import unet"),
        ("diffusion/losses.py", "from ..networks.unet import UNet"),
        ("diffusion/losses.py", "from .. import networks"),
        ("diffusion/losses.py", "def f():\n    from glide_jax import networks"),
        ("diffusion/losses.py", "from glide_jax import load"),
        ("diffusion/losses.py", "import glide_jax.sampling"),
        ("networks/unet.py", "from glide_jax.diffusion.schedules import Schedule"),
        ("tokenizers/bpe.py", "import jax.numpy as jnp"),
        ("data/readers/tar.py", "from ... import networks"),
        ("training/loop.py", "from glide_jax.networks.unet import UNet"),
        ("sampling/settings.py", "from ml_collections import ConfigDict"),
        ("training/plan.py", "from ml_collections import ConfigDict"),
        ("cli/train_.py", "import ml_collections"),
        ("training/loop.py", "from glide_jax.configs import presets"),
        ("training/loop.py", "from glide_jax import scale"),
        ("checkpoints/store.py", "from glide_jax.model_dir import reading"),
        ("evaluation/judge.py", "from flax import linen"),
        ("model_dir/reading.py", "import glide_jax.sampling.glide"),
        ("sampling/glide.py", "import importlib\nimportlib.import_module('glide_jax.cli.main')"),
        ("types.py", "from glide_jax import diffusion"),
        ("errors.py", "from glide_jax import files"),
        ("newcomer.py", ""),
    ],
)
def test_an_import_that_points_up_is_caught(file, source):
    assert import_faults(source, pathlib.PurePath(file))


@pytest.mark.parametrize(
    ("file", "source"),
    [
        (
            "diffusion/losses.py",
            "import math, jax\nfrom ..types import Image\nfrom . import guidance",
        ),
        ("diffusion/losses.py", "from glide_jax.errors import InputError"),
        ("networks/unet.py", "import flax.linen as nn\nfrom glide_jax.networks import blocks"),
        ("data/readers/tar.py", "from ...tokenizers import bpe\nfrom ..masks import box"),
        ("training/loop.py", "from glide_jax import checkpoints, diffusion\nimport optax"),
        ("training/config.py", "import ml_collections\nfrom glide_jax.networks import zoo"),
        (
            "__init__.py",
            "from .sampling.glide import Glide\nfrom glide_jax import version",
        ),
        ("cli/main.py", "import click\nfrom glide_jax import load"),
    ],
)
def test_an_import_that_points_down_passes(file, source):
    assert not import_faults(source, pathlib.PurePath(file))


@pytest.mark.parametrize(
    "source",
    [
        "def f():\n    print(1)",
        "import os\nos.environ['A'] = '1'",
        "import os\nos.getenv('A')",
        "from os import environ",
        "import sys\nsys.argv",
        "import click",
        "def f():\n    from argparse import ArgumentParser",
    ],
)
def test_touching_the_world_is_caught_below_the_command_line(source):
    assert world_faults(source, pathlib.PurePath("training/loop.py"))
    assert not world_faults(source, pathlib.PurePath("cli/train.py"))


def test_a_long_file_and_a_long_function_are_caught():
    path = pathlib.PurePath("trees.py")
    body = "class A:\n    def f(self):\n" + "        x = 1\n" * MAX_FUNCTION
    assert length_faults(body, path) == ["trees.py:A.f has 61 lines, over 60"]
    assert length_faults("x = 1\n" * (MAX_FILE + 1), path) == ["trees.py has 351 lines, over 350"]
    assert not length_faults("x = 1\n" * MAX_FILE, path)


def test_every_exception_for_length_is_still_needed():
    sizes = [f"{path.relative_to(ROOT)}" for path in FILES]
    assert all(name.split(":")[0] in sizes and reason for name, reason in LONG.items())


def test_no_two_files_have_one_name():
    """A traceback, an import and a person's search all go by the last part of a path."""
    names = [path.stem for path in FILES if path.stem != "__init__"]
    twice = {name for name in names if names.count(name) > 1}
    assert twice == NAMESAKES.keys()
