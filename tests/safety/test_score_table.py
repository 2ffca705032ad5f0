"""A table is whole and has each record once, however often its writing was stopped."""

import os
import pathlib
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from PIL import Image

from glide_jax import files
from glide_jax.errors import InputError
from glide_jax.safety import score_table, scoring


def fill(folder, count, side=12):
    folder.mkdir()
    for k in range(count):
        Image.new("RGB", (side, side), (k % 256, k // 256, 0)).save(folder / f"{k:05}.png")
        (folder / f"{k:05}.txt").write_text(f"number {k}")
    return str(folder)


@pytest.fixture
def what(tmp_path):
    return fill(tmp_path / "set", 10)


def begin(what, out, rows=4, **columns):
    return score_table.prepare(what, scoring.Columns(**columns), out, rows=rows)


def contents(out):
    return {path.name: path.read_bytes() for path in out.iterdir()}


def test_a_part_that_is_missing_is_written_and_no_other(what, tmp_path):
    score_table.write_all(begin(what, tmp_path / "t"), 0)
    before = contents(tmp_path / "t")
    assert sorted(before) == [*(f"part-0000{k}-of-00003.parquet" for k in range(3)), "table.json"]
    [one] = (tmp_path / "t").glob("part-00001*")
    one.unlink()
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "t").iterdir()}
    with pytest.raises(InputError, match="lacks 1 of 3 parts: the same `glide-jax data score`"):
        score_table.opened(tmp_path / "t")
    seen = []
    score_table.write_all(begin(what, tmp_path / "t"), 0, lambda *done: seen.append(done))
    assert seen == [(6, 10), (10, 10)]
    assert contents(tmp_path / "t") == before
    assert all(path.stat().st_mtime_ns == then for path, then in kept.items())
    assert score_table.opened(tmp_path / "t").read()["index"].to_pylist() == list(range(10))


def test_what_a_killed_process_left_is_removed(what, tmp_path):
    job = begin(what, tmp_path / "t")
    (tmp_path / "t/.part-00002-of-00003.parquet.xyz.tmp").write_bytes(b"half")
    score_table.write_all(job, 0)
    assert not [name for name in contents(tmp_path / "t") if name.endswith(".tmp")]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rows": 5}, "whose rows is 4, and this one's is 5"),
        ({"features": "pixels"}, "whose networks is {}, and"),
    ],
)
def test_another_table_is_not_mixed_into_one(what, tmp_path, change, message):
    begin(what, tmp_path / "t")
    before = contents(tmp_path / "t")
    with pytest.raises(InputError, match=message):
        begin(what, tmp_path / "t", **change)
    assert contents(tmp_path / "t") == before


def test_a_folder_of_other_files_is_refused(what, tmp_path):
    with pytest.raises(InputError, match="holds other files; give a new folder"):
        begin(what, tmp_path / "set")


def test_a_set_that_has_changed_is_refused(what, tmp_path):
    score_table.write_all(begin(what, tmp_path / "t"), 0)
    assert len(score_table.opened(tmp_path / "t").source()) == 10
    Image.new("RGB", (12, 12), "red").save(tmp_path / "set/00003.png")
    with pytest.raises(InputError, match="has changed since it was scored"):
        score_table.opened(tmp_path / "t").source()
    with pytest.raises(InputError, match="holds a table whose fingerprint is"):
        begin(what, tmp_path / "t")


def test_damaged_and_doubled_parts_are_refused(what, tmp_path):
    score_table.write_all(begin(what, tmp_path / "t"), 0)
    first, second, _ = sorted((tmp_path / "t").glob("part-*"))
    good = second.read_bytes()
    second.write_bytes(first.read_bytes())
    with pytest.raises(InputError, match="has not each record once"):
        score_table.opened(tmp_path / "t")
    second.write_bytes(good[:-20])
    with pytest.raises(InputError, match=r"part-00001.* cannot be read .*: remove it"):
        score_table.opened(tmp_path / "t")
    second.write_bytes(good)
    pyarrow.parquet.write_table(pyarrow.table({"index": [4, 5, 6, 7]}), second)
    with pytest.raises(InputError, match=r"part-00001.* cannot be read .*rejected.*: remove it"):
        score_table.opened(tmp_path / "t").read()
    (tmp_path / "t/table.json").write_text('{"version": 1, "set": 3}')
    with pytest.raises(InputError, match=r"table.json has no set; remove it"):
        score_table.opened(tmp_path / "t")
    (tmp_path / "t/table.json").write_text('{"version": 9}')
    with pytest.raises(InputError, match="is no table of `glide-jax data score`"):
        score_table.opened(tmp_path / "t")


def test_two_processes_do_not_write_one_table(what, tmp_path):
    job = begin(what, tmp_path / "t")
    with files.held(tmp_path / "t/.lock", "it"), pytest.raises(InputError, match="is in use by"):
        score_table.write_all(job, 0)


def test_a_column_that_the_table_lacks_is_named_with_its_option(what, tmp_path):
    score_table.write_all(begin(what, tmp_path / "t"), 0)
    with pytest.raises(InputError, match=r"no column caption_features: .* --caption-features"):
        score_table.opened(tmp_path / "t").vectors("caption_features")


@pytest.mark.slow
def test_worker_processes_write_the_same_bytes(what, tmp_path):
    for workers in (0, 2):
        job = begin(what, tmp_path / f"{workers}", features="pixels")
        score_table.write_all(job, workers)
    assert contents(tmp_path / "0") == contents(tmp_path / "2")


def records(path, count):
    """Captions without pictures."""
    columns = {"image": pyarrow.nulls(count, pyarrow.binary()),
               "caption": [f"number {k}" for k in range(count)]}  # fmt: skip
    pyarrow.parquet.write_table(pyarrow.table(columns), path, row_group_size=512)
    return str(path)


def score(what, out):
    command = [sys.executable, "-m", "glide_jax", "data", "score", what, str(out), "--workers", "2"]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["parent", "worker"])
def test_kills_lose_no_row_and_double_none(tmp_path, victim):
    """The smaller version of the measurement in docs/data.md."""
    what, out, chance = records(tmp_path / "x.parquet", 40_000), tmp_path / "t", random.Random(0)
    for _ in range(3):
        before = len(list(out.glob("part-*")))
        run = score(what, out)
        while len(list(out.glob("part-*"))) <= before and run.poll() is None:
            time.sleep(0.02)
        time.sleep(chance.uniform(0.0, 0.2))
        assert run.poll() is None, run.stderr and run.stderr.read()
        os.kill(run.pid if victim == "parent" else worker_of(run.pid), signal.SIGKILL)
        _, err = run.communicate()
        assert run.returncode == (-signal.SIGKILL if victim == "parent" else 2)
        assert "Traceback" not in err
        assert ("a worker process was ended from outside" in err) == (victim == "worker")
    run = score(what, out)
    _, err = run.communicate()
    assert run.returncode == 0, err
    assert not [path for path in out.iterdir() if path.name.startswith(".")]
    rows = score_table.opened(out).read()
    assert np.array_equal(rows["index"], np.arange(40_000))
    assert rows["captions"][39_999].as_py() == ["number 39999"]


def worker_of(parent):
    """One of a process's children that compute, by /proc."""
    found = []
    for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            name, rest = stat.read_text().rsplit(")", 1)
            line = (stat.parent / "cmdline").read_bytes()
        except OSError:
            continue
        if int(rest.split()[1]) == parent and b"spawn_main" in line:
            found.append(int(name.split(" ")[0]))
    return max(found)
