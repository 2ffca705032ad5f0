"""Options of commands that run on many hosts."""

import os
from collections.abc import Callable, Mapping
from typing import Any

import click

from glide_jax import checks
from glide_jax.errors import InputError

# The number of processes that Slurm gives a step, Open MPI a program and Google a set of slices.
_SIZES = ("SLURM_STEP_NUM_TASKS", "OMPI_COMM_WORLD_SIZE", "MEGASCALE_NUM_SLICES")
_TPU_HOSTS = ("TPU_WORKER_HOSTNAMES", "TPU_PROCESS_ADDRESSES")  # names joined by commas, on GKE


def options(command: Callable) -> Callable:
    """--coordinator, --num-processes, --process-id, --heartbeat-seconds, --wait-seconds."""
    for option in (
        click.option(
            "--wait-seconds", envvar="GLIDE_JAX_WAIT_SECONDS", default="300", show_default=True,
            help="How long the first host waits for the last to start.",
        ),
        click.option(
            "--heartbeat-seconds", envvar="GLIDE_JAX_HEARTBEAT_SECONDS", default="30",
            show_default=True, help="Silence after which a host is lost and the others end.",
        ),
        click.option(
            "--process-id", envvar="GLIDE_JAX_PROCESS_ID", help="This process's number, from 0."
        ),
        click.option(
            "--num-processes", envvar="GLIDE_JAX_NUM_PROCESSES",
            help="Number of processes on all hosts together.",
        ),
        click.option(
            "--coordinator", envvar="GLIDE_JAX_COORDINATOR", metavar="HOST:PORT",
            help="Process 0's host, and a port that is free on it; `auto` (or `tpu`) lets JAX find "
            "the others, `none` is alone. Slurm, Open MPI and GKE are seen without it.",
        ),
    ):  # fmt: skip
        command = option(command)
    return command


def place(
    coordinator: str | None,
    num_processes: str | None,
    process_id: str | None,
    heartbeat_seconds: str,
    wait_seconds: str,
    environment: Mapping[str, str] = os.environ,
) -> Any:
    """The `hosts.Place` that the options or the cluster give; None if this process is alone.

    Args:
        coordinator: HOST:PORT of process 0, "none", "auto", "tpu", or None, when the cluster
            decides; a number of processes without it shares work and never communicates.
        num_processes: number of processes.
        process_id: this process's number.
        heartbeat_seconds: see `hosts.Place`.
        wait_seconds: see `hosts.Place`.
        environment: variables that tell whether this is a process of a cluster.

    Raises:
        InputError: one of the options is missing or not possible.
    """
    heartbeat = checks.real("--heartbeat-seconds", heartbeat_seconds, 1.0, 86_400.0)
    wait = checks.real("--wait-seconds", wait_seconds, 1.0, 86_400.0)
    if (coordinator, num_processes, process_id) == (None, None, None):
        coordinator = "auto" if _in_cluster(environment) else "none"
    if coordinator in ("none", "auto", "tpu"):
        why = "is alone" if coordinator == "none" else "is numbered by JAX"
        _refuse_given(("num_processes", "process_id"), f"by --coordinator {coordinator} it {why}")
    if coordinator == "none":
        return None
    from glide_jax.mesh.hosts import Place  # which imports JAX

    if coordinator in ("auto", "tpu"):
        return Place(heartbeat=heartbeat, wait=wait)
    if num_processes is None or process_id is None:
        missing = "--num-processes" if num_processes is None else "--process-id"
        raise InputError(
            f"{missing} is missing; --coordinator, --num-processes and --process-id go together."
        )
    if coordinator is not None:
        _check_address(coordinator)
    count = checks.whole("--num-processes", num_processes, 1, 1 << 20)
    index = checks.whole("--process-id", process_id, 0, count - 1)
    return Place(coordinator, count, index, heartbeat, wait)


def check_waits(place: Any) -> None:
    """Refuses how long hosts wait for each other where they do not know each other.

    Args:
        place: what `place` gave.

    Raises:
        InputError: the command line has such an option.
    """
    if place is None or (place.coordinator is None and place.count is not None):
        _refuse_given(("heartbeat_seconds", "wait_seconds"), "this process waits for no other")


def _refuse_given(names: tuple[str, ...], why: str) -> None:
    """Refuses options that the command line itself has, and not a variable for many commands."""
    context = click.get_current_context(silent=True)
    for name in names:
        if context and context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE:
            option = f"--{name.replace('_', '-')}"
            raise InputError(f"{option} is given, but {why}; leave it out.")


def _check_address(coordinator: str) -> None:
    host, colon, port = coordinator.rpartition(":")
    if not (host and colon and port.isdecimal()):
        raise InputError(
            f"--coordinator is {coordinator!r}; it must be HOST:PORT of process 0, which every "
            "host reaches."
        )
    checks.whole("--coordinator's port", port, 1, 65535)


def _in_cluster(environment: Mapping[str, str]) -> bool:
    """Whether a cluster started several processes; JAX finds out which ones."""
    return any(int(environment.get(name) or 1) > 1 for name in _SIZES) or any(
        "," in environment.get(name, "") for name in _TPU_HOSTS
    )
