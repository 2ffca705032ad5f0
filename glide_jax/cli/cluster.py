"""Options of commands that run on many hosts, and who the others are by flags or cluster."""

import os
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import click

from glide_jax import checks
from glide_jax.errors import InputError

TPU_PORT = 8476
_METADATA = "http://metadata.google.internal/computeMetadata/v1/instance/attributes/"


class Where(NamedTuple):
    """Which of how many processes this one is, and the address of process 0 if it is known."""

    count: int
    index: int
    coordinator: str | None = None


def options(command: Callable) -> Callable:
    """--coordinator, --num-processes, --process-id, --heartbeat-seconds, --wait-seconds."""
    for option in (
        click.option(
            "--wait-seconds", envvar="GLIDE_JAX_WAIT_SECONDS", default="300", show_default=True,
            help="How long the first host waits for the last to start.",
        ),
        click.option(
            "--heartbeat-seconds", envvar="GLIDE_JAX_HEARTBEAT_SECONDS", default="30",
            show_default=True, help="Of silence, after which a host is lost and the others end.",
        ),
        click.option(
            "--process-id", envvar="GLIDE_JAX_PROCESS_ID", help="Of this process, from 0."
        ),
        click.option(
            "--num-processes", envvar="GLIDE_JAX_NUM_PROCESSES", help="On all hosts together."
        ),
        click.option(
            "--coordinator", envvar="GLIDE_JAX_COORDINATOR", metavar="HOST:PORT",
            help="Process 0's host, and a port that it and the next are free on; `tpu` asks a TPU "
            "VM's metadata, `none` is alone. Slurm and GKE are seen without it.",
        ),
    ):  # fmt: skip
        command = option(command)
    return command


def where(
    coordinator: str | None,
    num_processes: str | None,
    process_id: str | None,
    environment: Mapping[str, str] = os.environ,
) -> Where | None:
    """Who the others are: by flags, or else by what Slurm, GKE or a TPU VM says; None if alone.

    Raises:
        InputError: one of the flags is missing or not possible.
    """
    if coordinator == "none":
        return None
    if coordinator == "tpu":
        return _of_tpu_vm()
    if (coordinator, num_processes, process_id) == (None, None, None):
        return _of_slurm(environment) or _of_gke(environment)
    if num_processes is None or process_id is None:
        missing = "--num-processes" if num_processes is None else "--process-id"
        raise InputError(
            f"{missing} is missing; --coordinator, --num-processes and --process-id go together."
        )
    count = checks.whole("--num-processes", num_processes, 1, 1 << 20)
    return Where(count, checks.whole("--process-id", process_id, 0, count - 1), coordinator)


def waits(heartbeat_seconds: str, wait_seconds: str) -> tuple[float, float]:
    """The two as numbers.

    Raises:
        InputError: one is not possible.
    """
    return (
        checks.real("--heartbeat-seconds", heartbeat_seconds, 0.5, 86_400.0),
        checks.real("--wait-seconds", wait_seconds, 0.5, 86_400.0),
    )


def address(coordinator: str | None) -> tuple[str, int]:
    """HOST:PORT in two.

    Raises:
        InputError: it is missing or has another form.
    """
    host, colon, port = (coordinator or "").rpartition(":")
    if not (host and colon and port.isdecimal()):
        raise InputError(
            f"--coordinator is {coordinator!r}; it must be HOST:PORT of process 0, which every "
            "host reaches."
        )
    return host.strip("[]"), checks.whole("--coordinator's port", port, 1, 65534)


def place(where: Where | None) -> Any:
    """A `distributed.Place` among the others, or None if there are none.

    Raises:
        InputError: nobody says where process 0 is.
    """
    if where is None or where.count == 1:
        return None
    from glide_jax.mesh import hosts  # which imports JAX

    return hosts.Place(*address(where.coordinator), where.count, where.index)


def _of_slurm(environment: Mapping[str, str]) -> Where | None:
    """A step of several tasks, by `srun`; the batch script itself is none."""
    names = ("SLURM_STEP_NUM_TASKS", "SLURM_PROCID", "SLURM_STEP_NODELIST", "SLURM_JOB_ID")
    if not all(environment.get(name) for name in names):
        return None
    count, index, nodes, job = (environment[name] for name in names)
    if int(count) == 1:
        return None
    # node[003-004,7],other: the first is node003.
    found = re.match(r"([^\[,]+)(?:\[(\w+))?", nodes)
    first = "".join(part or "" for part in found.groups()) if found else nodes
    port = 61_000 + 2 * (int(job) % 2000)  # above what Linux hands out by itself
    return Where(int(count), int(index), f"{first}:{port}")


def _of_gke(environment: Mapping[str, str]) -> Where | None:
    """TPU pods of a JobSet, of one slice or several."""
    names = environment.get("TPU_WORKER_HOSTNAMES", "").split(",")
    slices = int(environment.get("MEGASCALE_NUM_SLICES") or 1)
    count = len(names) * slices
    if count == 1 or not environment.get("TPU_WORKER_ID"):
        return None
    first = environment.get("MEGASCALE_COORDINATOR_ADDRESS", "").split(":")[0] or names[0]
    before = int(environment.get("MEGASCALE_SLICE_ID") or 0) * len(names)
    return Where(count, before + int(environment["TPU_WORKER_ID"]), f"{first}:{TPU_PORT}")


def _of_tpu_vm() -> Where:
    """What Google's metadata server tells each VM of a slice."""
    import urllib.request  # 50 ms to import

    def ask(name: str) -> str:
        request = urllib.request.Request(_METADATA + name, headers={"Metadata-Flavor": "Google"})
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.read().decode()
        except OSError as error:  # of which a URLError is one
            raise InputError(
                f"--coordinator is 'tpu', but no TPU VM's metadata is here ({error}); give "
                "HOST:PORT, --num-processes and --process-id."
            ) from None

    # Each is "name:id:ip" or a host alone.
    hosts = [each.split(":")[-1] for each in ask("worker-network-endpoints").split(",")]
    return Where(len(hosts), int(ask("agent-worker-number")), f"{hosts[0]}:{TPU_PORT}")
