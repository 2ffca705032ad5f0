"""Real processes over loopback: stopped, killed, moved to other numbers of hosts and devices."""

import json
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from tests import processes
from tests.processes import Processes, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]
ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return processes.pictures(tmp_path_factory.mktemp("data") / "pictures")


@pytest.fixture
def train(data, tmp_path, cache):
    """`glide-jax train` on some hosts: a workdir's name and the number of hosts to processes."""

    def start(name, count=2, *more, steps=8, **options):
        words = ["train", *processes.TINY, "--config.data.path", data, "--workdir", tmp_path / name]
        words += [f"--config.train.num_steps={steps}", *more]
        return Processes(tmp_path / "logs" / name, count, words, cache=cache, **options)

    return start


def complete(train, name, count=2, *more, **options):
    with train(name, count, *more, **options) as run:
        assert run.wait(1200.0) == [0] * count, run.told()


def meta(workdir):
    newest = max(int(p.name) for p in (workdir / "checkpoints").iterdir() if p.name.isdigit())
    return json.loads((workdir / "checkpoints" / str(newest) / "meta" / "metadata").read_text())


def assert_same(a, b):
    """The whole state, by its checksum, and the model are equal bit for bit."""
    for name in ("step", "checksum", "window", "metric"):
        assert meta(a)[name] == meta(b)[name], name
    model = "model/base.safetensors"
    assert (a / model).read_bytes() == (b / model).read_bytes()


def lines(workdir):
    path = workdir / "metrics.jsonl"
    return path.read_text().count("\n") if path.exists() else 0


def test_a_signal_to_one_host_stops_all_at_the_same_step_and_they_go_on(train, tmp_path):
    complete(train, "whole", steps=30)
    with train("w", steps=30) as run:
        assert until(lambda: lines(tmp_path / "w") >= 2, run), run.told()
        run.kill(1, signal.SIGTERM)
        assert run.wait() == [75, 75], run.told()  # not done: to be started again
        assert "stopped by a signal to another host after step " in run.log(0)
    assert 4 <= meta(tmp_path / "w")["step"] < 30
    complete(train, "w", steps=30)
    assert_same(tmp_path / "whole", tmp_path / "w")


@pytest.mark.parametrize("killed", [0, 1])
def test_a_killed_host_ends_the_other_with_a_sentence_and_a_code(killed, train, tmp_path):
    with train("w", steps=1000) as run:
        assert until(lambda: lines(tmp_path / "w") >= 1, run), run.told()
        began = time.monotonic()
        run.kill(killed)
        run.wait(60.0)
        assert time.monotonic() - began < 30.0
        assert run.all[1 - killed].returncode == 75, run.told()
        log = run.log(1 - killed)
        assert "glide-jax: JAX has lost another host" in log
        assert "this host ends too, and the same command on all of them" in log
        # JAX's lines before it name the host, or its service, which is on host 0.
        named = "tasks are unhealthy (stopped sending heartbeats):\n1\n"
        assert (named if killed else "Failed to send RPC to coordination service") in log


@pytest.mark.parametrize(
    ("own", "says"),
    [
        ({0: [], 1: ["--config.optim.b2=0.5"]}, "config.optim.b2 is "),
        ({0: ["--config.seed=1"], 1: ["--config.seed=2"]}, "config.seed is 1 on host 0 ("),
    ],
)
def test_hosts_that_differ_do_not_start(own, says, train, tmp_path):
    with train("w", own=own) as run:
        assert run.wait() == [2, 2], run.told()
        assert all(says in run.log(k) for k in range(2)), run.told()


def test_hosts_whose_data_differ_do_not_start(train, data, tmp_path):
    """The same words, but a path that means another folder on another host."""
    other = tmp_path / "other"
    other.mkdir()
    for path in sorted(data.iterdir()):
        if path.stem != "3":
            (other / path.name).write_bytes(path.read_bytes())
    home = []
    for k, folder in enumerate((data, other)):
        home.append(tmp_path / f"host{k}")
        home[k].mkdir()
        (home[k] / "pictures").symlink_to(folder)
    words = ["train", *processes.TINY, "--config.data.path=pictures", "--workdir", tmp_path / "w"]
    with Processes(tmp_path / "logs", 2, words, cache=tmp_path / "cache", folders=home) as run:
        assert run.wait() == [2, 2], run.told()
        for k in range(2):
            assert "the number of examples is 8 on host 0 (" in run.log(k), run.told()
            assert "and 7 on host 1 (" in run.log(k), run.told()


def test_a_host_that_is_missing_is_missed_by_all_others(train):
    with train("w", 3, wait=15.0, missing=(1,)) as run:
        assert run.wait() == [2, 2], run.told()
        for k in (0, 2):
            assert "glide-jax: not all of the 3 hosts came to the start within 15 s" in run.log(k)


def killed_and_resumed(train, tmp_path, count, steps, kills):
    complete(train, "whole", count, steps=steps)
    rng, done = random.Random(0), 0
    workdir = tmp_path / "w"
    while done < kills:
        with train("w", count, steps=steps) as run:
            enough = lines(workdir) + rng.randint(1, 2)
            if not until(lambda enough=enough: lines(workdir) >= enough, run):
                break
            time.sleep(rng.uniform(0.0, 0.2))
            if any(process.poll() is not None for process in run.all):
                break
            run.kill(rng.randrange(count))
            codes = run.wait(60.0)
            assert 0 not in codes, run.told()
            done += 1
    complete(train, "w", count, steps=steps)
    assert_same(tmp_path / "whole", workdir)
    assert not list((workdir / "checkpoints").glob("*tmp*"))
    return done


def test_a_kill_of_one_of_two_leaves_no_trace(train, tmp_path):
    assert killed_and_resumed(train, tmp_path, 2, 30, 1) == 1


@pytest.mark.parametrize("count", [2, 4])
def test_ten_kills_of_one_of_several_leave_no_trace(count, train, tmp_path):
    assert killed_and_resumed(train, tmp_path, count, 120, 10) == 10


def test_a_run_goes_on_with_another_number_of_processes(train, tmp_path):
    """Batches are the same; sums over devices round otherwise, so that numbers are near."""
    complete(train, "w", 2, steps=3)
    complete(train, "w", 1, steps=6)
    complete(train, "w", 2, steps=9)
    complete(train, "whole", 2, steps=9)
    losses = [
        [json.loads(line)["loss"] for line in (tmp_path / name / "metrics.jsonl").open()][-1]
        for name in ("w", "whole")
    ]
    assert abs(losses[0] - losses[1]) < 0.05 * losses[1]


def test_sheets_and_a_split_state_of_two_processes_are_those_of_one(train, tmp_path):
    more = (
        "--config.mesh.fsdp=2",
        "--config.log.sample_every_steps=4",
        "--config.log.sample_steps=2",
    )
    complete(train, "two", 2, *more, steps=4)
    complete(train, "one", 1, *more, steps=4, devices=2)
    assert_same(tmp_path / "two", tmp_path / "one")
    sheets = [
        np.asarray(Image.open(tmp_path / n / "samples/step_000004.png")) for n in ("two", "one")
    ]
    assert (sheets[0] == sheets[1]).all()


def test_the_work_inside_layers_may_go_over_hosts_which_then_read_the_same_rows(train, tmp_path):
    complete(train, "two", 2, "--config.mesh.tensor=2", steps=3)
    complete(train, "one", 1, "--config.mesh.tensor=2", steps=3, devices=2)
    assert_same(tmp_path / "two", tmp_path / "one")


def ip(*words):
    """Changes networks of this machine, which takes root."""
    return subprocess.run(["ip", *words], capture_output=True, text=True, check=True)


@pytest.fixture
def wire():
    """Two networks that only a wire joins: their names, and the first one's address.

    JAX's collectives between CPUs use the address of the host's own name, which is loopback's
    here, so each network has a hosts file of its own.
    """
    names = [f"glide{os.getpid()}n{k}" for k in (0, 1)]
    ends = [f"gl{os.getpid()}e{k}" for k in (0, 1)]
    files = [pathlib.Path("/etc/netns") / name / "hosts" for name in names]
    try:
        for name in names:
            ip("netns", "add", name)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"networks of their own need root and `ip`: {error}")
    try:
        ip("link", "add", ends[0], "type", "veth", "peer", "name", ends[1])
        for k, (name, end) in enumerate(zip(names, ends, strict=True)):
            ip("link", "set", end, "netns", name)
            ip("-n", name, "addr", "add", f"10.77.0.{k + 1}/24", "dev", end)
            for link in ("lo", end):
                ip("-n", name, "link", "set", link, "up")
            files[k].parent.mkdir(parents=True)
            files[k].write_text(f"127.0.0.1 localhost\n10.77.0.{k + 1} {socket.gethostname()}\n")
        yield names, ends, "10.77.0.1"
    finally:
        for name, file in zip(names, files, strict=True):
            subprocess.run(["ip", "netns", "del", name], capture_output=True)
            shutil.rmtree(file.parent, ignore_errors=True)


def test_a_cut_wire_ends_both_hosts_and_once_mended_they_go_on(wire, train, tmp_path):
    networks, ends, address = wire
    complete(train, "whole", steps=60)
    options = dict(steps=60, networks=networks, address=address)
    with train("w", **options) as run:
        assert until(lambda: lines(tmp_path / "w") >= 2, run), run.told()
        ip("-n", networks[1], "link", "set", ends[1], "down")
        assert run.wait(90.0) == [75, 75], run.told()
        assert run.told().count("glide-jax: JAX has lost another host") == 2, run.told()
    assert meta(tmp_path / "w")["step"] < 60
    ip("-n", networks[1], "link", "set", ends[1], "up")
    complete(train, "w", **options)
    assert_same(tmp_path / "whole", tmp_path / "w")


def restored(what, folder, devices, fsdp, port=None):
    """`tests.restored` in one process, or with a port in two."""
    flags = f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count={devices}"
    environment = os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    started = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.restored", what, str(folder), str(fsdp),
             *([] if port is None else [str(k), "2", str(port)])],
            env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT,
        )
        for k in range(1 if port is None else 2)
    ]  # fmt: skip
    outs = [process.communicate(timeout=600) for process in started]
    assert all(process.returncode == 0 for process in started), outs
    return json.loads(outs[0][0].splitlines()[-1])


@pytest.mark.parametrize("start", [(8, 8, None), (1, 1, None), (2, 4, 2)])
def test_a_checkpoint_of_any_mesh_is_restored_onto_any_other(start, tmp_path):
    """(devices, fsdp, processes): 8 to 1, 4, 2 x 2; 1 to 8; two processes to one and back."""
    port = lambda processes_: None if processes_ is None else processes.free_port()
    devices, fsdp, many = start
    saved = restored("save", tmp_path, devices, fsdp, port(many))
    assert (saved["split"] > 0) == (fsdp > 1)
    for devices, fsdp, many in [(8, 4, None), (1, 1, None), (4, 4, None), (2, 4, 2), (1, 2, 2)]:
        found = restored("load", tmp_path, devices, fsdp, port(many))
        assert found["hashes"] == saved["hashes"], (devices, fsdp, many)
        assert found["data"] == {"step": 7}
        assert (found["split"] > 0) == (fsdp > 1)


def test_a_signal_records_a_trace_of_the_next_steps(train, tmp_path):
    with train("w", 1, steps=200) as run:
        assert until(lambda: lines(tmp_path / "w") >= 1, run), run.told()
        run.kill(0, signal.SIGUSR1)
        trace = lambda: list(
            (tmp_path / "w" / "profile").glob("step_*/plugins/profile/*/*.xplane.pb")
        )
        assert until(trace, run), run.told()
        run.kill(0, signal.SIGTERM)
        assert run.wait() == [0], run.told()
    assert "profile: 3 steps into " in run.log(0)


# Bulk generation.


def draw(tmp_path, cache, model, out, prompts, k=0, n=1):
    words = ["sample", "--prompts-file", prompts, "--model", model, "--out", tmp_path / out]
    words += ["--n", 2, "--batch-size", 4, "--steps", 4, "--upsample-steps", 2]
    if n > 1:
        words += ["--num-processes", n, "--process-id", k]
    return Processes(tmp_path / "logs" / f"{out}-{k}", 1, words, cache=cache)


def drawn(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name[0] == "0"}


def test_bulk_killed_ten_times_draws_each_picture_once_and_as_the_unbroken_run(
    tmp_path, tiny_model, cache
):
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("".join(f"picture number {k}\n" for k in range(60)))
    with draw(tmp_path, cache, tiny_model, "whole", prompts) as run:
        assert run.wait(900.0) == [0], run.told()
    out, rng, kills = tmp_path / "w", random.Random(1), 0
    count = lambda: len(drawn(out)) if out.exists() else 0
    turn = 0
    while kills < 10:
        with draw(tmp_path, cache, tiny_model, "w", prompts, turn % 2, 2) as run:
            enough = count() + rng.randint(1, 4)
            if until(lambda enough=enough: count() >= enough, run):
                time.sleep(rng.uniform(0.0, 0.05))
                if run.all[0].poll() is None:
                    run.kill(0)
                    run.wait()
                    kills += 1
        turn += 1
        assert turn < 40, count()
    with (
        draw(tmp_path, cache, tiny_model, "w", prompts, 0, 2) as one,
        draw(tmp_path, cache, tiny_model, "w", prompts, 1, 2) as other,
    ):
        assert one.wait(900.0) + other.wait(900.0) == [0, 0], one.told() + other.told()
    whole, again = drawn(tmp_path / "whole"), drawn(out)
    assert len(whole) == 120
    assert again.keys() == whole.keys()
    assert again == whole
    assert not list(out.glob(".*"))  # nor half a picture
