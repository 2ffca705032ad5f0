"""The wheel by itself: built, installed where no checkout is, and used in an empty folder."""

import importlib.metadata
import os
import pathlib
import runpy
import site
import subprocess
import sys
import venv
import zipfile
from typing import NamedTuple

import pytest
import setuptools

from glide_jax.extras import EXTRAS
from tests import processes
from tests.conftest import ROOT

BUILD = [
    sys.executable,
    "-m",
    "pip",
    "--disable-pip-version-check",
    "wheel",
    "--no-deps",
    "--quiet",
]
if tuple(map(int, setuptools.__version__.split(".")[:2])) >= (70, 1):  # it makes wheels by itself
    BUILD.append("--no-build-isolation")


def checked(command: list, **options) -> str:
    done = subprocess.run(
        [*map(str, command)], capture_output=True, text=True, timeout=600, **options
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> pathlib.Path:
    """The wheel of a copy of what git tracks, so that nothing is left in the checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    checked(["git", "-C", ROOT, "checkout-index", "--all", f"--prefix={folder}/tree/"])
    checked([*BUILD, "--wheel-dir", folder, folder / "tree"])
    [path] = folder.glob("*.whl")
    return path


class Place(NamedTuple):
    """An environment with the wheel, and an empty folder."""

    venv: pathlib.Path
    empty: pathlib.Path
    variables: dict[str, str]


@pytest.fixture(scope="module")
def place(wheel, tmp_path_factory) -> Place:
    """The wheel installed; packages that it needs are this Python's."""
    folder = tmp_path_factory.mktemp("installed")
    venv.create(folder / "venv")
    python = folder / "venv" / "bin" / "python"
    [packages] = (folder / "venv").glob("lib/python*/site-packages")
    # Names of folders alone: an editable install of the checkout is not found through them.
    (packages / "needs.pth").write_text("\n".join(site.getsitepackages()))
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", python]
    checked([*pip, "install", "--quiet", "--no-deps", "--no-index", wheel])
    environment = os.environ | {"GLIDE_JAX_CACHE": str(folder / "cache")}
    environment.pop("PYTHONPATH", None)
    (folder / "empty").mkdir()
    where = checked(
        [python, "-c", "import glide_jax; print(glide_jax.__file__)"],
        cwd=folder / "empty", env=environment,
    )  # fmt: skip
    assert where.startswith(str(folder))
    return Place(folder / "venv", folder / "empty", environment)


@pytest.fixture(scope="module")
def installed(place):
    """`glide-jax` of the wheel, run in an empty folder."""

    def run(*words: object) -> str:
        command = [place.venv / "bin" / "glide-jax", *words]
        return checked(command, cwd=place.empty, env=place.variables)

    return run


def test_the_wheel_has_every_module_and_data_file(wheel):
    tracked = checked(["git", "-C", ROOT, "ls-files", "glide_jax", "configs"]).split()
    tracked = [f"glide_jax/{name}" if name.startswith("configs/") else name for name in tracked]
    inside = set(zipfile.ZipFile(wheel).namelist())
    assert len(tracked) > 200
    assert [name for name in tracked if name not in inside and name != "glide_jax/configs"] == []


def test_the_extras_are_those_that_doctor_knows(monkeypatch):
    given: dict = {}
    monkeypatch.setattr(setuptools, "setup", lambda **fields: given.update(fields))
    monkeypatch.chdir(ROOT)
    runpy.run_path(str(ROOT / "setup.py"))
    asked = given["extras_require"]
    assert asked.keys() - {"dev", "docs"} == EXTRAS.keys()
    for name, packages in EXTRAS.items():
        if name in ("cuda", "cuda13", "tpu"):  # these come by an extra of JAX's
            brought = {"cuda": "cuda12"}.get(name, name)
            assert asked[name] == [f"jax[{brought}]>=0.10.0"]
        else:
            assert {f"{package}>={lowest}" for package, lowest in packages.items()} == set(
                asked[name]
            ), name
            for package in packages:
                assert package in {need.split(">")[0] for need in asked["dev"]}
                assert importlib.metadata.version(package)


def test_it_draws(installed):
    out = installed(
        "sample", "a large red circle", "--steps", "2", "--no-upsample", "--out", "drawn"
    )
    assert "drawn/00000-a-large-red-circle-s0-i0.png" in out


@pytest.mark.slow
def test_it_reads_its_own_configs(installed):
    installed("train", "--config", "shapes_64:smoke", "--workdir", "w", "--dry-run")


@pytest.mark.slow
def test_it_trains_and_finetunes(installed, tmp_path):
    installed("train", "--config", "shapes_64:smoke", "--workdir", tmp_path / "train")
    assert (tmp_path / "train" / "checkpoints").is_dir()
    installed(
        "finetune", "shapes", "--data", processes.pictures(tmp_path / "pictures"),
        "--workdir", tmp_path / "tuned", "--steps", 2, "--batch-size", 2,
    )  # fmt: skip
    assert (tmp_path / "tuned" / "model" / "base.safetensors").is_file()
