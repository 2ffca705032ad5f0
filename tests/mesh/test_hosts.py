"""Hosts that meet, differ, are missing or lost. Most of it needs sockets and threads only."""

import json
import threading
import time

import pytest

from glide_jax.cli import cluster as place
from glide_jax.errors import InputError
from glide_jax.mesh.hosts import ALONE, Together
from glide_jax.mesh.roster import Roster, difference
from tests import processes


class Pod:
    """Rosters of some hosts in threads of this process."""

    def __init__(self, count, *, heartbeat=5.0, wait=10.0, missing=(), counts=None, indices=None,
                 seconds=5.0):  # fmt: skip
        port = processes.free_port()
        self.lost = {}
        self.results = {}
        self.rosters = {}

        def run(k):
            index = (indices or {}).get(k, k)
            roster = Roster("127.0.0.1", port, (counts or {}).get(k, count), index, heartbeat,
                            lambda why: self.lost.setdefault(k, why))  # fmt: skip
            self.rosters[k] = roster
            roster.open(wait)

        self.everywhere(run, [k for k in range(count) if k not in missing], seconds)

    def everywhere(self, run, hosts=None, seconds=5.0):
        """What `run` of each host gives, or the InputError it raises.

        A host that has lost another waits for ever here, where its process would have ended.
        """
        self.results = {}

        def keep(k):
            try:
                self.results[k] = run(k)
            except InputError as error:
                self.results[k] = error

        hosts = list(self.rosters) if hosts is None else hosts
        threads = [threading.Thread(target=keep, args=(k,), daemon=True) for k in hosts]
        for thread in threads:
            thread.start()
        end = time.monotonic() + seconds
        for thread in threads:
            thread.join(max(end - time.monotonic(), 0.0))
        return self.results

    def close(self):
        for roster in self.rosters.values():
            roster.close()


@pytest.fixture
def pod(request):
    made = []

    def make(*args, **options):
        made.append(Pod(*args, **options))
        return made[-1]

    yield make
    for each in made:
        each.close()


def until(condition, seconds=10.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_hosts_meet_and_know_what_each_brought(pod):
    three = pod(3)
    got = three.everywhere(lambda k: three.rosters[k].gather("numbers", k * k, 60.0))
    assert got == {k: [0, 1, 4] for k in range(3)}
    assert not three.lost


def test_equal_facts_pass_and_meetings_of_one_name_follow_each_other(pod):
    two = pod(2)
    for _ in range(3):
        two.everywhere(lambda k: two.rosters[k].agree("facts", {"lr": 0.1, "sizes": [1, 2]}, 5))
        assert two.results == {0: None, 1: None}


def test_every_host_says_which_field_differs_and_where(pod):
    three = pod(3)
    facts = {k: {"config.optim.lr": 0.1 if k != 1 else 0.2, "jax": "1"} for k in range(3)}
    three.everywhere(lambda k: three.rosters[k].agree("the start", facts[k], 5))
    for k in range(3):
        text = str(three.results[k])
        assert "config.optim.lr is 0.1 on host 0 (" in text
        assert "), host 2 (" in text
        assert "and 0.2 on host 1 (" in text
        assert "jax" not in text


def test_a_difference_beyond_what_a_message_shows_is_seen_and_a_missing_field_too():
    named = lambda k: f"host {k}"
    long = "x" * 1000
    assert difference({0: {"a": long}, 1: {"a": long}}, named) is None
    assert "a is" in (difference({0: {"a": long + "1"}, 1: {"a": long + "2"}}, named) or "")
    assert difference({0: {"a": 1}, 1: {}}, named) == (
        "hosts differ, so none starts: a is 1 on host 0 and absent on host 1."
    )
    many = {k: {f"f{n}": k for n in range(9)} for k in range(2)}
    assert "and 6 more" in (difference(many, named) or "")


def test_a_host_that_does_not_start_is_named_by_those_that_did(pod):
    three = pod(3, wait=1.5, missing=(1,))
    for k in (0, 2):
        assert str(three.results[k]).startswith("host 1 did not come to the start in time")


def test_a_host_that_does_not_come_to_a_meeting_is_named(pod):
    two = pod(2)
    two.everywhere(lambda k: two.rosters[k].agree("the data", {}, 1.0), [0])
    assert "host 1 (" in str(two.results[0])
    assert "did not come to the data" in str(two.results[0])


def test_no_coordinator_is_one_sentence():
    roster = Roster("127.0.0.1", processes.free_port(), 2, 1, 5.0, lambda why: None)
    with pytest.raises(InputError, match=r"host 0 does not answer at 127.0.0.1:\d+ after 0.5 s"):
        roster.open(0.5)


def test_two_hosts_of_one_number_or_of_other_numbers_are_found_out(pod):
    same = pod(3, seconds=1.0, indices={2: 1})
    until(lambda: 0 in same.lost)
    assert "--process-id is 1 on " in same.lost[0]
    other = pod(2, seconds=1.0, counts={1: 3})
    until(lambda: 0 in other.lost)
    assert "--num-processes is 3 on host 1 (" in other.lost[0]


@pytest.mark.parametrize("gone", [0, 1])
def test_a_cut_line_is_a_lost_host_for_all_others(pod, gone):
    three = pod(3)
    three.rosters[gone].close()  # what the kernel does for the dead
    others = {0, 1, 2} - {gone}
    until(lambda: others <= three.lost.keys())
    assert three.lost.keys() == others
    assert all(f"host {gone} (" in why and "was lost" in why for why in three.lost.values())


def test_a_silent_host_is_lost_after_the_heartbeat(pod):
    two = pod(2, heartbeat=1.0)
    two.rosters[1]._ended = True  # its heart stops; the line stays
    until(lambda: 0 in two.lost, 5.0)
    assert "not heard of for 1 s" in two.lost[0]


def test_what_stops_one_host_is_told_to_the_others(pod):
    two = pod(2)
    two.rosters[1].fail("the disk is full")
    until(lambda: 0 in two.lost)
    assert "stopped: the disk is full" in two.lost[0]


def test_a_stranger_at_the_port_changes_nothing(pod):
    import socket

    two = pod(2)
    with socket.create_connection(("127.0.0.1", two.rosters[0]._port)) as stranger:
        stranger.sendall(b"GET / HTTP/1.1\r\n\r\n")
        two.everywhere(lambda k: two.rosters[k].gather("numbers", k, 60.0))
    assert two.results == {0: [0, 1], 1: [0, 1]}
    assert not two.lost


def test_one_process_alone_waits_for_nobody():
    ALONE.agree("facts", {"a": 1})
    assert ALONE.gather("numbers", 3) == [3]
    assert ALONE.leads
    wish = iter([False, True])
    together = Together(lambda: next(wish), ALONE)
    assert [together(), together()] == [False, True]


SLURM = {
    "SLURM_STEP_NUM_TASKS": "4", "SLURM_PROCID": "2", "SLURM_JOB_ID": "4001",
    "SLURM_STEP_NODELIST": "tux[003-004,9],other",
}  # fmt: skip
GKE = {"TPU_WORKER_HOSTNAMES": "a-0.svc,a-1.svc", "TPU_WORKER_ID": "1"}
SLICES = {"MEGASCALE_NUM_SLICES": "2", "MEGASCALE_SLICE_ID": "1"}


@pytest.mark.parametrize(
    ("environment", "found"),
    [
        ({}, None),
        (SLURM, place.Where(4, 2, "tux003:61002")),
        (SLURM | {"SLURM_STEP_NODELIST": "one,two"}, place.Where(4, 2, "one:61002")),
        (SLURM | {"SLURM_STEP_NUM_TASKS": "1"}, None),
        (GKE, place.Where(2, 1, "a-0.svc:8476")),
        (GKE | SLICES, place.Where(4, 3, "a-0.svc:8476")),
        (GKE | SLICES | {"MEGASCALE_COORDINATOR_ADDRESS": "b-0.svc:81"},
         place.Where(4, 3, "b-0.svc:8476")),
        ({"TPU_WORKER_HOSTNAMES": "localhost", "TPU_WORKER_ID": "0"}, None),
    ],
)  # fmt: skip
def test_the_others_are_found_by_what_the_cluster_says(environment, found):
    assert place.where(None, None, None, environment) == found


def test_flags_come_before_the_cluster_and_go_together():
    assert place.where("h:1", "2", "0", SLURM) == place.Where(2, 0, "h:1")
    assert place.where("none", None, None, SLURM) is None
    assert place.address("[::1]:80") == ("::1", 80)
    for words in [("h:1", None, "0"), ("h:1", "2", None), ("h:1", "2", "2"), ("h:1", "x", "0")]:
        with pytest.raises(InputError):
            place.where(*words, {})
    for text in (None, "host", "host:", ":80", "host:99999"):
        with pytest.raises(InputError):
            place.address(text)


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


def test_who_leaves_after_the_end_is_not_lost(pod):
    for _ in range(20):
        two = pod(2)

        def leave(k, rosters=two.rosters):
            rosters[k].agree("the end", {}, 5)
            rosters[k].close()

        two.everywhere(leave)
        time.sleep(0.01)
        assert not two.lost
