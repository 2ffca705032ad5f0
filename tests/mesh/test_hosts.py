"""Hosts that meet, differ, are late or missing: real processes, and what their messages say."""

import json
import os
import pathlib
import socket
import subprocess
import sys

import pytest

from glide_jax.cli import cluster
from glide_jax.errors import InputError
from glide_jax.mesh.hosts import ALONE, Place, StopVote, difference, join, late_hosts
from tests import processes

ROOT = pathlib.Path(__file__).parents[2]


class Meeting:
    """Processes of `tests.meeting`; as a context it leaves none running.

    Args:
        mode: see `tests.meeting`.
        count: number of processes.
        own: a process's number to its variables; without them the processes meet at a free port.
    """

    def __init__(self, mode, count, own=None):
        port, self.all = processes.free_port(), []
        for k in range(count):
            numbers = [] if own else [str(k), str(count), str(port)]
            self.all.append(
                subprocess.Popen(
                    [sys.executable, "-m", "tests.meeting", mode, *numbers],
                    env=os.environ | {"JAX_PLATFORMS": "cpu", **(own(k) if own else {})},
                    cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                )
            )  # fmt: skip

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in self.all:
            process.kill()
            process.wait()

    def outs(self):
        """What each process printed, in the order of hosts."""
        outs = [process.communicate(timeout=200) for process in self.all]
        assert all(process.returncode == 0 for process in self.all), outs
        return [json.loads(out.splitlines()[-1]) for out, _ in outs]

    def ends(self):
        """Each process's exit code and messages."""
        errors = [process.communicate(timeout=200)[1] for process in self.all]
        return [(each.returncode, text) for each, text in zip(self.all, errors, strict=True)]


@pytest.mark.timeout(240)
def test_hosts_meet_and_each_says_who_differs_and_who_is_late():
    with Meeting("all", 3) as meeting:
        outs = meeting.outs()
    for k, seen in enumerate(outs):
        assert (seen["index"], seen["count"]) == (k, 3)
        assert seen["numbers"] == [0, 1, 4]
        assert seen["texts"] == [0, 1000, 2000]  # of unequal lengths, and not ASCII
        assert seen["equal"] == [None, None, None]  # meetings of one name follow each other
        assert seen["late"].startswith("host 1 (")
        assert "did not come to the data in time" in seen["late"]
        assert "config.optim.lr is 0.1 on host 0 (" in seen["differ"]
        assert "), host 2 (" in seen["differ"]
        assert "and 0.2 on host 1 (" in seen["differ"]
        assert "jax" not in seen["differ"]


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_the_variables_of_slurm_are_enough_for_jax_to_find_the_others():
    job = next(job for job in range(10**6) if processes.is_free(61_440 + job))
    variables = {
        "SLURM_JOB_ID": str(job), "SLURM_STEP_NODELIST": "localhost", "SLURM_NTASKS": "2",
    }  # fmt: skip
    own = lambda k: variables | {"SLURM_PROCID": str(k), "SLURM_LOCALID": str(k)}
    with Meeting("all", 2, own) as meeting:
        assert [seen["numbers"] for seen in meeting.outs()] == [[0, 1]] * 2


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize("killed", [0, 1])
def test_a_killed_host_ends_all_others_with_a_sentence_and_a_code(killed):
    with Meeting("loop", 3) as meeting:
        for process in meeting.all:
            assert "0\n" in iter(process.stdout.readline, "")  # after what Gloo prints
        meeting.all[killed].kill()
        ends = meeting.ends()
    for code, text in ends[:killed] + ends[killed + 1 :]:
        assert code == 75, text
        assert text.splitlines()[-1].startswith("glide-jax: JAX has lost another host"), text


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_fault_of_one_host_ends_it_with_its_own_code_and_the_others_as_after_a_loss():
    with Meeting("fault", 2) as meeting:
        (lost, text), (code, own) = meeting.ends()
    assert (lost, code) == (75, 2), (text, own)
    assert "glide-jax: JAX has lost another host" in text
    assert own.splitlines()[-1] == "a fault of host 1."


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_mistake_of_all_hosts_ends_each_with_its_own_message():
    with Meeting("mistake", 3) as meeting:
        ends = meeting.ends()
    assert [code for code, _ in ends] == [2, 2, 2], ends
    for k, (_, text) in enumerate(ends):
        assert text.splitlines()[-1] == f"a fault of host {k}."


def test_a_difference_beyond_what_a_message_shows_is_seen_and_a_missing_field_too():
    named = lambda k: f"host {k}"
    long = "x" * 1000
    assert difference([{"a": long}, {"a": long}], named) is None
    assert "a is" in (difference([{"a": long + "1"}, {"a": long + "2"}], named) or "")
    assert difference([{"a": 1}, {}], named) == (
        "hosts differ, so none starts: a is 1 on host 0 and absent on host 1."
    )
    many = [{f"f{n}": k for n in range(9)} for k in range(2)]
    assert "and 6 more" in (difference(many, named) or "")


def test_late_hosts_are_read_from_what_jax_says_of_a_barrier():
    text = "# of tasks that reached the barrier: 2/4.\nSome timed out task names:\n{}\n\nRPC: /x 5"
    assert late_hosts(text.format("3\n1")) == [1, 3]
    assert late_hosts(text.format("/job:jax_worker/replica:0/task:12")) == [12]
    assert late_hosts("another fault\n3") == []


@pytest.mark.slow
def test_hosts_that_cannot_start_are_one_sentence(tmp_path):
    words = ["train", "--config=folder_64:smoke", "--workdir", tmp_path / "w", "--process-id=0"]
    with socket.create_server(("", 0)) as taken:
        port = taken.getsockname()[1]
        for more, says in (
            ((), "JAX cannot start on several hosts (coordinator_address should be defined); "),
            (("--coordinator", f"127.0.0.1:{port}"), f"port {port} must be free on host 0 ("),
        ):
            command = [sys.executable, "-m", "glide_jax", *words, "--num-processes=2", *more]
            done = subprocess.run(list(map(str, command)), capture_output=True, text=True, cwd=ROOT)
            assert done.returncode == 2, done.stderr
            assert says in done.stderr
            assert done.stderr.count("\n") == 1


def test_one_process_alone_waits_for_nobody():
    ALONE.agree("facts", {"a": 1})
    ALONE.barrier("nothing")
    assert ALONE.gather("numbers", 3) == [3]
    assert ALONE.leads
    wants = iter([False, True])
    vote = StopVote(lambda: next(wants), ALONE)
    assert [vote(), vote()] == [False, True]
    for place in (None, Place("h:1", 1, 0)):
        with join(place, say=print) as hosts:
            assert hosts is ALONE


SLURM = {"SLURM_STEP_NUM_TASKS": "4", "SLURM_PROCID": "2", "SLURM_JOB_ID": "4001"}
GKE = {"TPU_WORKER_HOSTNAMES": "a-0.svc,a-1.svc", "TPU_WORKER_ID": "1"}
WAITS = ("30", "300")
AUTO = Place()


@pytest.mark.parametrize(
    ("environment", "found"),
    [
        ({}, None),
        (SLURM, AUTO),
        (SLURM | {"SLURM_STEP_NUM_TASKS": "1"}, None),
        ({"SLURM_NTASKS": "4", "SLURM_PROCID": "0", "SLURM_JOB_ID": "1"}, None),  # a batch script
        ({"OMPI_COMM_WORLD_SIZE": "2"}, AUTO),
        (GKE, AUTO),
        ({"TPU_WORKER_HOSTNAMES": "a-0.svc", "MEGASCALE_NUM_SLICES": "2"}, AUTO),
        ({"TPU_WORKER_HOSTNAMES": "localhost", "TPU_WORKER_ID": "0"}, None),
    ],
)  # fmt: skip
def test_a_process_of_a_cluster_is_seen_by_its_variables(environment, found):
    assert cluster.place(None, None, None, *WAITS, environment) == found


def test_flags_come_before_the_cluster_and_go_together():
    assert cluster.place("h:1", "2", "0", "5", "60", SLURM) == Place("h:1", 2, 0, 5.0, 60.0)
    assert cluster.place(None, "2", "1", *WAITS, SLURM) == Place(None, 2, 1)
    assert cluster.place("none", None, None, *WAITS, SLURM) is None
    assert cluster.place("none", "2", "0", *WAITS, {}) is None
    assert cluster.place("tpu", None, None, *WAITS, {}) == AUTO
    assert cluster.place("auto", None, None, *WAITS, {}) == AUTO
    assert cluster.place("[::1]:80", "2", "0", *WAITS, {}) == Place("[::1]:80", 2, 0)
    for words in [("h:1", None, "0"), ("h:1", "2", None), ("h:1", "2", "2"), ("h:1", "x", "0")]:
        with pytest.raises(InputError):
            cluster.place(*words, *WAITS, {})
    for address in ("host", "host:", ":80", "host:99999"):
        with pytest.raises(InputError, match="coordinator"):
            cluster.place(address, "2", "0", *WAITS, {})
    for waits in (("0", "300"), ("30", "x")):
        with pytest.raises(InputError, match="-seconds"):
            cluster.place("h:1", "2", "0", *waits, {})


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_processes_are_one_run(tmp_path, cache):
    """Two processes of one device and one of two give the same numbers, bit for bit."""
    data = processes.pictures(tmp_path / "pictures")
    for name, count in (("two", 2), ("one", 1)):
        words = ["train", *processes.TINY, "--config.data.path", data, "--workdir", tmp_path / name]
        with processes.Processes(
            tmp_path / name, count, words, cache=cache, devices=2 // count
        ) as run:
            assert run.wait() == [0] * count, run.told()
            if count == 2:
                assert "finished after step 4" in run.log(0)
                assert "step" not in run.log(1)  # only host 0 speaks
    two, one = (tmp_path / name for name in ("two", "one"))
    model = "model/base.safetensors"
    assert (two / model).read_bytes() == (one / model).read_bytes()
    lines = [(run / "metrics.jsonl").read_text().splitlines() for run in (two, one)]
    assert [json.loads(line)["loss"] for line in lines[0]] == [
        json.loads(line)["loss"] for line in lines[1]
    ]
    assert {"host_s", "host_s_min", "slowest_host", "stall"} <= json.loads(lines[0][0]).keys()
    assert len(list((two / "tensorboard").iterdir())) == 1


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_processes_of_other_configs_refuse_to_start(tmp_path, cache):
    words = ["train", *processes.TINY, "--workdir", tmp_path / "w"]
    own = {0: ["--config.optim.lr=1e-3"], 1: ["--config.optim.lr=2e-3"]}
    with processes.Processes(tmp_path / "logs", 2, words, cache=cache, own=own) as run:
        assert run.wait() == [2, 2], run.told()
        for k in range(2):
            assert "config.optim.lr is 0.001 on host 0 (" in run.log(k)
            assert "and 0.002 on host 1 (" in run.log(k)
    assert not (tmp_path / "w").exists()
