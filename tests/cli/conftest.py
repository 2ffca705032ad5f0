import subprocess
import sys
from typing import NamedTuple

import pytest


class Result(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def complaint(self) -> str:
        """The one sentence about what went wrong."""
        lines = [line for line in self.err.splitlines() if line.startswith("glide-jax: ")]
        assert len(lines) == 1, self.err
        return lines[0].removeprefix("glide-jax: ")


@pytest.fixture
def cli(monkeypatch, capsys, cache, unwrapped):
    """The command line in this process, as a function of its words."""
    from glide_jax.cli import main

    monkeypatch.setenv("GLIDE_JAX_CACHE", str(cache))

    def run(*argv: object) -> Result:
        monkeypatch.setattr(sys, "argv", ["glide-jax", *map(str, argv)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as caught:
            main.main()
        return Result(caught.value.code, *capsys.readouterr())

    return run


@pytest.fixture
def shell(monkeypatch, cache):
    """The command line as a process of its own."""
    monkeypatch.setenv("GLIDE_JAX_CACHE", str(cache))

    def run(*argv: object, **options) -> Result:
        command = [sys.executable, "-m", "glide_jax", *map(str, argv)]
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=240, **options
        )
        return Result(done.returncode, done.stdout, done.stderr)

    return run
