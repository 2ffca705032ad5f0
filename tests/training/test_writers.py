"""The curve of a run, whatever was left of its file."""

import json
import os

import pytest

from glide_jax.errors import InputError
from glide_jax.training import writers

LINES = b'{"step": 2, "loss": 1.0}\n{"step": 4, "loss": 0.5}\n'


def reopened(path, step):
    notes: list[str] = []
    file = writers.JsonLines(path, step, notes.append)
    file.write({"step": step + 2})
    file.close()
    return [json.loads(line)["step"] for line in path.read_text().splitlines()], notes


def test_lines_that_will_be_written_again_are_dropped(tmp_path):
    (tmp_path / "m.jsonl").write_bytes(LINES + b'{"step": 6}\n')
    assert reopened(tmp_path / "m.jsonl", 4) == ([2, 4, 6], [])


@pytest.mark.parametrize(
    "broken",
    [
        b'{"step": 6, "lo', b"\xff\xfe\0", b"[" * 100_000, b'{"step": 1e999}', b'{"step": null}',
        b"[1]", b"7", b'{"loss": 1}', b'{"step": ' + b"9" * 5000 + b"}", b"\x1b[2J",
    ],
)  # fmt: skip
def test_what_is_no_line_of_a_run_is_set_aside_and_told(tmp_path, broken):
    (tmp_path / "m.jsonl").write_bytes(broken + b"\n" + LINES + b"\n" + broken)
    steps, notes = reopened(tmp_path / "m.jsonl", 4)
    assert steps == [2, 4, 6]
    assert notes == ["2 of m.jsonl are no lines of a run and are now in m.jsonl.damaged."]
    assert (tmp_path / "m.jsonl.damaged").read_bytes() == broken + b"\n" + broken + b"\n"


def test_a_full_disk_is_an_error_that_names_the_file(tmp_path):
    resource = pytest.importorskip("resource")
    file = writers.JsonLines(tmp_path / "m.jsonl")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20, hard))
    try:
        for act in (lambda: file.write({"step": 1, "more": "x" * 40}), file.close):
            with pytest.raises(OSError, match="File too large") as caught:
                act()
            assert caught.value.filename == str(tmp_path / "m.jsonl")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_pipe_in_its_place_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "m.jsonl")
    with pytest.raises(InputError, match="is no file; move it away"):
        writers.JsonLines(tmp_path / "m.jsonl")
