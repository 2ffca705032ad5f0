"""Times a start up to the first picture, each in a process of its own: cold, then warm."""

import itertools
import json
import pathlib
import subprocess
import sys
import tempfile

from glide_jax.cli import common
from glide_jax.errors import InputError

PARTS = ("imports", "loading", "first picture", "second picture")


def measure(model: str, device: str | None) -> dict[str, dict[str, float]]:
    """Returns the seconds of each of PARTS: "cold" with an empty cache of programs, then "warm".

    The second picture differs from the first in that no program is compiled or read for it.

    Raises:
        InputError: The model cannot draw.
    """
    with tempfile.TemporaryDirectory() as cache:
        return {name: _start(model, device, cache) for name in ("cold", "warm")}


def _start(model: str, device: str | None, cache: str) -> dict[str, float]:
    command = [sys.executable, "-m", "glide_jax.cli.preload", model, device or "", cache]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        why = done.stderr.strip().splitlines() or ["it printed nothing"]
        raise InputError(f"model {model!r} could not be started: {why[-1]}")
    return json.loads(done.stdout.splitlines()[-1])


def _main(model: str, device: str, cache: str) -> dict[str, float]:
    import time

    marks = [time.perf_counter()]
    common.choose_device(device or None)

    marks.append(time.perf_counter())
    from glide_jax.sampling.glide import load

    glide = load(model, cache=pathlib.Path(cache))
    marks.append(time.perf_counter())
    for _ in range(2):
        glide("a large red circle on a white background")
        marks.append(time.perf_counter())
    seconds = [after - before for before, after in itertools.pairwise(marks)]
    return dict(zip(PARTS, seconds, strict=True))


if __name__ == "__main__":
    print(json.dumps(_main(*sys.argv[1:])))
