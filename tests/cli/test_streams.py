"""The command in odd surroundings: streams closed, full or cut, warnings as errors, settings."""

import os
import subprocess
import sys

import pytest

RUN = f"{sys.executable} -m glide_jax"
NAMES = ["base", "upsample", "base-inpaint", "upsample-inpaint", "clip/image-enc", "clip/text-enc"]


def run(line: str, **environment: str) -> subprocess.CompletedProcess:
    """A line of Bash, in which GLIDE is the command."""
    return subprocess.run(
        ["bash", "-c", line.replace("GLIDE", RUN)], capture_output=True, text=True, timeout=200,
        env=os.environ | environment,
    )  # fmt: skip


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_are_no_obstacle(closed):
    done = run(f"GLIDE download {closed}")
    assert done.returncode == 0
    assert done.stdout.split() == ([] if ">&- " in f"{closed} " and closed != "2>&-" else NAMES)
    assert done.stderr == ""


def test_a_complaint_without_an_error_stream_stays_out_of_the_results():
    done = run("GLIDE download nosuch 2>&-")
    assert (done.returncode, done.stdout) == (2, "")


def test_a_file_never_takes_the_number_of_a_closed_stream(tmp_path):
    script = (
        "import os; from glide_jax.cli import process, streams; process.open_descriptors(); "
        "streams.prepare(); "
        "print('shown'); f = open('file', 'w'); assert f.fileno() > 2; os.write(2, b'noise')"
    )
    done = subprocess.run(
        ["bash", "-c", f'{sys.executable} -c "{script}" >&- 2>&- <&-'],
        cwd=tmp_path, env=os.environ | {"PYTHONPATH": os.getcwd()},
    )  # fmt: skip
    assert done.returncode == 0
    assert (tmp_path / "file").read_bytes() == b""


def test_a_full_disk_under_the_results_is_said_once():
    done = run("GLIDE download >/dev/full")
    assert done.returncode == 2
    assert done.stderr == "glide-jax: 'standard output': No space left on device.\n"


@pytest.mark.parametrize("where", ["2>/dev/full", "2> >(exec true)"])
def test_an_error_stream_that_takes_nothing_stops_nothing(where):
    done = run(f"GLIDE download nosuch {where}")
    assert done.returncode == 2
    done = run(f"sleep 0.1; GLIDE download {where}")
    assert (done.returncode, done.stdout.split()) == (0, NAMES)


def test_a_reader_that_has_seen_enough_causes_no_noise():
    done = run("GLIDE sample --help | head -1; echo ${PIPESTATUS[0]}")
    assert done.stdout.splitlines()[-1] in ("0", "1")
    assert done.stderr == ""


def test_the_warnings_of_others_are_no_errors():
    script = (
        "import sys, types, warnings; from glide_jax.cli import main\n"
        "@main.cli.command('noisy')\ndef noisy():\n"
        "    warnings.warn_explicit('old thing', DeprecationWarning, 'x.py', 1, 'jax.old')\n"
        "    warnings.warn_explicit('cut prompt', UserWarning, 'y.py', 1, 'glide_jax.tokenizers')\n"
        "main._Lazy.get_command = lambda self, ctx, name: noisy\n"
        "sys.argv = ['glide-jax', 'noisy']; main.main()"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script], capture_output=True, text=True
    )
    assert done.stderr.splitlines() == [
        "warning: old thing",
        "glide-jax: cut prompt (a warning, which PYTHONWARNINGS or -W makes an error)",
    ]
    assert done.returncode == 2


JAX = {
    "JAX_ENABLE_X64": "1", "JAX_DEFAULT_PRNG_IMPL": "rbg", "JAX_THREEFRY_PARTITIONABLE": "0",
    "JAX_NUMPY_RANK_PROMOTION": "raise", "JAX_TRANSFER_GUARD": "disallow",
}  # fmt: skip
PLACE = {"PYTHONWARNINGS": "error", "LC_ALL": "C", "TERM": "", "HOME": "/nonexistent"}


@pytest.mark.slow
def test_no_setting_changes_a_picture(tiny_model, tmp_path, cache):
    draw = f"GLIDE sample red --model {tiny_model} --steps 2 --upsample-steps 2"
    drawn = []
    for k, environment in enumerate(({}, JAX, {"PYTHONOPTIMIZE": "1"}, PLACE)):
        done = run(f"{draw} --out {tmp_path / str(k)}", GLIDE_JAX_CACHE=str(cache), **environment)
        assert done.returncode == 0, done.stderr
        drawn.append(next((tmp_path / str(k)).glob("*.png")).read_bytes())
    assert drawn[1:] == drawn[:1] * 3
