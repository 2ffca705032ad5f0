"""Lock files that die with their process, and JSON that others may have written."""

import contextlib
import errno
import json
import os
import signal
import socket
import subprocess
import sys

import numpy as np
import pytest

from glide_jax import files
from glide_jax.errors import InputError

HOLD = """
import pathlib, sys, time
from glide_jax import files
with files.held(pathlib.Path(sys.argv[1]), "the folder"):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds a lock, until its input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / ".lock")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    with process:
        yield process
        process.kill()


def test_a_lock_of_another_process_is_refused_by_its_number_host_and_start(holder, tmp_path):
    words = f"the folder is in use by process {holder.pid} on {socket.gethostname()} since 2"
    with pytest.raises(InputError, match=words), files.held(tmp_path / ".lock", "the folder"):
        pass
    assert (tmp_path / ".lock").exists()
    holder.communicate("")  # it ends by itself
    assert not (tmp_path / ".lock").exists()
    with files.held(tmp_path / ".lock", "the folder") as locked:
        assert locked
        assert json.loads((tmp_path / ".lock").read_text())["pid"] == os.getpid()
    assert not (tmp_path / ".lock").exists()


def test_a_lock_dies_with_its_process_however_it_ends(holder, tmp_path):
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert (tmp_path / ".lock").exists()
    with files.held(tmp_path / ".lock", "the folder") as locked:
        assert locked


@pytest.mark.parametrize(
    "content", [b"", b"\xff\x00", b"[" * 5000, b"[]", b'{"pid": "x"}', b'{"pid": 1, "host": 2}']
)
def test_what_a_lock_file_holds_is_only_a_name(content, tmp_path):
    path = tmp_path / ".lock"
    path.write_bytes(content)
    with files.held(path, "the folder"):
        path.write_bytes(content)  # the lock is not its content
        with pytest.raises(InputError, match="in use by another process"):
            contextlib.ExitStack().enter_context(files.held(path, "the folder"))


def test_a_host_that_would_steer_the_terminal_is_escaped(tmp_path):
    with files.held(tmp_path / ".lock", "the folder"):
        odd = {"pid": 7, "host": "\x1b[2J\u202e", "since": "now\r"}
        (tmp_path / ".lock").write_text(json.dumps(odd))
        with pytest.raises(InputError, match=r"process 7 on \\x1b\[2J\\u202e since now\\r;"):
            contextlib.ExitStack().enter_context(files.held(tmp_path / ".lock", "the folder"))


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_where_a_file_system_has_no_locks_that_is_told(number, tmp_path, monkeypatch):
    def flock(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("fcntl.flock", flock)
    with files.held(tmp_path / ".lock", "the folder") as locked:
        assert not locked
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"null", "holds None; it must be a JSON object"),
        (b"[1]", r"holds \[1\]; it must be a JSON object"),
        (b'"\\u001b[2J"', r"holds '\\x1b\[2J'; it must"),
        (b"", "not valid JSON"),
        (b"\xff\xfe", "not valid JSON"),
        (b"[" * 100_000, "not valid JSON"),
        (b'{"a": ' + b"9" * 5000 + b"}", "not valid JSON"),
    ],
)
def test_a_file_without_an_object_is_one_sentence(content, says, tmp_path):
    (tmp_path / "a\x1b.json").write_bytes(content)
    with pytest.raises(InputError, match=rf"a\\x1b\.json' .*{says}") as caught:
        files.read_object(tmp_path / "a\x1b.json")
    assert len(str(caught.value)) < 500


def test_what_is_no_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="pipe' is no file"):
        files.read_object(tmp_path / "pipe")
    with pytest.raises(InputError, match="is no file"):
        files.read_object(tmp_path)
    with pytest.raises(InputError, match="none' is missing"):
        files.read_object(tmp_path / "none")


def test_what_another_process_is_still_writing_is_not_removed_as_left(tmp_path):
    with files.replacing(tmp_path / "a.png") as temporary:
        temporary.write_text("whole")
        files.remove_left(temporary)
        assert temporary.exists()
    assert (tmp_path / "a.png").read_text() == "whole"
    (tmp_path / ".b.png.x.tmp").write_text("half")
    for _ in range(2):
        files.remove_left(tmp_path / ".b.png.x.tmp")
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_what_killed_writers_left_of_a_folder_goes_and_what_lives_stays(tmp_path):
    (tmp_path / ".m.x.tmp").mkdir()
    (tmp_path / ".m.x.tmp" / "base.safetensors").write_text("half")
    (tmp_path / ".other.x.tmp").mkdir()
    with (
        files.replacing_dir(tmp_path / "m") as first,
        files.replacing_dir(tmp_path / "m") as second,
    ):
        assert first.exists()
        (first / "a").write_text("1")
        names = {path.name for path in tmp_path.iterdir()}
        assert names == {first.name, second.name, ".other.x.tmp"}
    assert (tmp_path / "m" / "a").read_text() == "1"
    assert {path.name for path in tmp_path.iterdir()} == {"m", ".other.x.tmp"}


def test_what_a_killed_export_left_goes_with_the_next(tmp_path):
    from glide_jax.checkpoints.torch import writer

    (tmp_path / ".base.pt.x.tmp").write_text("half")
    (tmp_path / ".base.pt2.x.tmp").write_text("another's")
    writer.write_state_dict(tmp_path / "base.pt", {"a": np.zeros(2, np.float32)})
    assert sorted(path.name for path in tmp_path.iterdir()) == [".base.pt2.x.tmp", "base.pt"]
