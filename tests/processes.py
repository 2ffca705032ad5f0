"""Real processes of one run over the loopback network, as tests start, signal and kill them."""

import contextlib
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time
from typing import Any, NamedTuple

from PIL import Image

from tests.data.fakes import scenes

# No sheets, which take a program of their own.
TINY = ("--config=folder_64:smoke", "--config.data.source=folder",
        "--config.log.sample_every_steps=0", "--config.log.checkpoint_every_steps=3")  # fmt: skip


def pictures(folder: pathlib.Path) -> pathlib.Path:
    """Eight pictures with captions."""
    images, captions = scenes(8, 32)
    folder.mkdir()
    for k, (pixels, caption) in enumerate(zip(images, captions, strict=True)):
        Image.fromarray(pixels).save(folder / f"{k}.png")
        (folder / f"{k}.txt").write_text(caption)
    return folder


def free_port() -> int:
    """A port that is free, below those that the kernel hands out."""
    return next(filter(is_free, range(20_000 + os.getpid() * 7 % 8000, 32_000)))


def is_free(port: int) -> bool:
    """Whether nothing listens on a port."""
    with contextlib.suppress(OSError), socket.create_server(("", port)):
        return True
    return False


class Settings(NamedTuple):
    """How processes start.

    Attributes:
        devices: virtual devices of each process.
        own: more words for some processes.
        heartbeat: --heartbeat-seconds.
        wait: --wait-seconds.
        missing: processes that are not started.
        folders: a working directory for each process.
        networks: a network namespace for each process.
        address: host 0's address.
    """

    devices: int = 1
    own: dict[int, list] | None = None
    heartbeat: float = 10.0
    wait: float = 60.0
    missing: tuple[int, ...] = ()
    folders: list[pathlib.Path] | None = None
    networks: list[str] | None = None
    address: str = "127.0.0.1"


class Processes:
    """The processes of one command; each has its log. As a context it leaves none running.

    Args:
        folder: the logs' folder.
        count: number of processes.
        words: the command.
        cache: GLIDE_JAX_CACHE.
        settings: fields of `Settings`.
    """

    def __init__(
        self,
        folder: pathlib.Path,
        count: int,
        words: list,
        *,
        cache: pathlib.Path,
        **settings: Any,
    ):
        s = Settings(**settings)
        folder.mkdir(exist_ok=True, parents=True)
        port = free_port()
        flags = f"--xla_force_host_platform_device_count={s.devices}"
        environment = os.environ | {
            "XLA_FLAGS": f"{os.environ['XLA_FLAGS']} {flags}",
            "JAX_PLATFORMS": "cpu",
            "GLIDE_JAX_CACHE": str(cache),
            "GLIDE_JAX_HEARTBEAT_SECONDS": str(s.heartbeat),
            "GLIDE_JAX_WAIT_SECONDS": str(s.wait),
            "PYTHONUNBUFFERED": "1",
        }
        self.logs = [folder / f"process_{k}.log" for k in range(count)]
        self.all: list[subprocess.Popen] = []
        for k in range(count):
            command = [sys.executable, "-m", "glide_jax", *words, *((s.own or {}).get(k, []))]
            if s.networks is not None:  # becomes the command, so signals reach it
                command = ["ip", "netns", "exec", s.networks[k], *command]
            if count > 1:
                command += ["--coordinator", f"{s.address}:{port}", "--num-processes", count]
                command += ["--process-id", k]
            if k in s.missing:
                continue
            with open(self.logs[k], "ab") as log:
                started = subprocess.Popen(
                    [*map(str, command)],
                    stdout=log,
                    stderr=log,
                    env=environment,
                    cwd=None if s.folders is None else s.folders[k],
                )
            self.all.append(started)

    def __enter__(self) -> "Processes":
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.all:
            process.kill()
            process.wait()

    def wait(self, seconds: float = 600.0) -> list[int]:
        """The exit codes."""
        end = time.monotonic() + seconds
        return [process.wait(max(end - time.monotonic(), 0.1)) for process in self.all]

    def log(self, k: int) -> str:
        """The log of process k."""
        return self.logs[k].read_text(errors="replace")

    def told(self) -> str:
        """All logs, for a failed test."""
        return "\n".join(f"== {path.name}\n{path.read_text()[-3000:]}" for path in self.logs)

    def kill(self, k: int, number: int = signal.SIGKILL) -> None:
        self.all[k].send_signal(number)


def until(condition, processes: Processes, seconds: float = 600.0) -> bool:
    """Waits for a condition; False if all processes have ended before it.

    Args:
        condition: returns whether the wait is over.
        processes: the processes that can make it true.
        seconds: how long it may take.
    """
    end = time.monotonic() + seconds
    while not condition():
        if all(process.poll() is not None for process in processes.all):
            return False
        assert time.monotonic() < end, processes.told()
        time.sleep(0.02)
    return True
