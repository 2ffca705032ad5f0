"""Hooks of the loop: averaged numbers are written, actions are due, signals stop the run."""

import contextlib
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from glide_jax.errors import InputError
from glide_jax.training import quartiles as averages
from glide_jax.training.loop import Hook, Metrics
from glide_jax.training.step import TrainState
from glide_jax.training.throughput import Timing, spread

Line = dict[str, Any]
# Timing fields. Every other field of a line is the same in each run of the same config.
SPEEDS = (
    "images_per_s", "tflops", "mfu", "eta_s", "step_s", "stall", "checkpoint_s", "step_s_min",
    "host_s_min", "host_s", "slowest_host",
)  # fmt: skip


class Writer(Protocol):
    """Receives lines and pictures; see `writers`."""

    def write(self, line: Mapping[str, Any]) -> None:
        """Takes a line of the log."""

    def picture(self, step: int, pixels: np.ndarray) -> None:
        """Takes a sheet of samples: uint8 (h, w, 3)."""

    def close(self) -> None:
        """Finishes what was taken."""


def every(n: int, action: Callable[[int, TrainState], None], last: int) -> Hook:
    """A hook that acts now and then.

    Args:
        n: steps between two actions; 0 for never.
        action: takes the step and the state.
        last: the run's last step, at which it acts too.
    """

    def hook(step: int, state: TrainState, metrics: Metrics) -> None:
        if n and (step % n == 0 or step == last):
            action(step, state)

    return hook


class LogOptions(NamedTuple):
    """How often a run is logged, and the numbers that its speed is computed from."""

    every: int  # steps a line
    last: int  # the run's last step, which has a line too
    lr: Callable[[int], Any]  # the learning rate after so many updates
    images: int  # in a step
    flops: float = 0.0  # in a step
    peak_flops: float | None = None  # FLOP/s of all devices together, if known
    most_nonfinite: int = 10  # steps in a row that may be skipped


class Log:
    """Gathers each step's metrics on the device, and writes their means at each n-th step.

    `window` is what was gathered since the last line. A checkpoint holds it, so that a resumed
    run writes the lines that it would have written anyway.

    Args:
        options: see `LogOptions`.
        writers: get each line.
        say: gets each line as text.
        skipped: steps skipped so far, in all and in a row.
        gather: a host's numbers to those of all hosts, each of which has a log.
    """

    def __init__(
        self,
        options: LogOptions,
        writers: Sequence[Writer],
        say: Callable[[str], None],
        *,
        skipped: tuple[int, int] = (0, 0),
        gather: Callable[[list[float]], list[list[float]]] = lambda own: [own],
    ):
        self.options, self.writers, self._say, self._gather = options, writers, say, gather
        self._skipped, self._in_a_row = skipped
        self.timing = Timing()
        self.window: list[Any] = []
        self.loss = math.inf  # the last line's
        self._clock: float | None = None  # start of the steps that are being timed
        self._steps = 0
        self._began, self._first = time.monotonic(), 0

    def __call__(self, step: int, state: TrainState, metrics: Metrics) -> None:
        """Takes a step's metrics, and writes a line where one is due."""
        self.window.append(metrics)
        if self._clock is None:  # the first step has been compiled by now, and is just starting
            self._clock = self._began = time.monotonic()
            self._first = step - 1
        self._steps += 1
        if step % self.options.every == 0 or step == self.options.last:
            self._write(step)

    def gathered(self) -> list[dict[str, float]]:
        """The window as numbers, which JSON keeps exactly; a copy."""
        self.window = [
            {name: float(value) for name, value in metrics.items()}
            for metrics in jax.device_get(self.window)
        ]
        return list(self.window)

    @contextlib.contextmanager
    def paused(self, state: TrainState) -> Iterator[None]:
        """Leaves out of the speed what happens inside; waits for the steps under way before."""
        jax.block_until_ready(state.step)
        began = time.monotonic()
        try:
            yield
        finally:
            if self._clock is not None:
                self._clock += time.monotonic() - began

    def _write(self, step: int) -> None:
        window = self.gathered()
        names = {name: None for metrics in window for name in metrics}
        stacked = {
            name: jnp.array([m.get(name, 0.0) for m in window], jnp.float32) for name in names
        }
        means = {name: float(value) for name, value in averages.average(stacked).items()}
        for skipped in map(int, stacked["nonfinite"].tolist()):
            self._skipped += skipped
            self._in_a_row = self._in_a_row + 1 if skipped else 0
        # The mean over no step at all is undefined.
        self.loss = math.inf if stacked["nonfinite"].all() else means["loss"]
        line: Line = {"step": step, **{k: v for k, v in means.items() if k != "nonfinite"}}
        if math.isinf(self.loss):
            line["loss"] = None
        line["lr"] = float(self.options.lr(step - 1 - self._skipped))
        line["skipped"] = self._skipped
        line |= self._speed(step)
        for writer in self.writers:
            writer.write(line)
        self._say(describe(line, self.options.last))
        self.window = []
        if self._in_a_row >= self.options.most_nonfinite:
            raise InputError(
                f"the loss or gradient was not finite in {self._in_a_row} steps in a row, the last "
                f"of them {step}; the parameters are those before. A lower optim.lr, "
                "optim.clip_norm=1 or dtype=float32 may help."
            )

    def _speed(self, step: int) -> Line:
        now = time.monotonic()
        seconds = max(now - (self._clock or now), 1e-9)
        per_second = self._steps / seconds
        whole = (now - self._began) / max(step - self._first, 1)  # with samples and checkpoints
        o = self.options
        line: Line = {
            "images_per_s": per_second * o.images,
            "tflops": per_second * o.flops / 1e12,
            "mfu": per_second * o.flops / o.peak_flops if o.peak_flops else None,
            "eta_s": whole * (o.last - step),
        }
        waited, n = self.timing.take(), max(self._steps, 1)
        own = max(seconds - waited["device"], 0.0) / n
        mine = [seconds / n, own, min(waited["data"] / seconds, 1.0), waited["checkpoint"]]
        line |= spread(self._gather(mine))
        self._clock, self._steps = time.monotonic(), 0
        return line


def check_window(meta: Mapping[str, Any]) -> None:
    """Checks a checkpoint's "window", what `Log.gathered` gave, and its "metric".

    Raises:
        ValueError: one of them is something else.
    """
    numbers = [value for metrics in meta["window"] for value in metrics.values()]
    numbers += [0.0 if meta["metric"] is None else meta["metric"]]
    if not all(type(value) in (int, float) for value in numbers):
        raise ValueError("its log is not what was saved")


def describe(line: Mapping[str, Any], last: int) -> str:
    """A line of the log as the terminal shows it."""
    number = lambda name, form: format(line[name], form) if line.get(name) is not None else "-"
    parts = [f"{line['step']}/{last}", f"loss {number('loss', '.4f')}"]
    for name in ("mse", "accuracy"):
        if f"{name}_q0" in line:
            quartiles = " ".join(number(f"{name}_q{k}", ".3f") for k in range(4))
            parts.append(f"{name} by t {quartiles}")
    if "explained" in line:
        parts.append(f"explained {line['explained']:.3f}")
    parts += [f"grad {number('grad_norm', '.3g')}", f"lr {number('lr', '.2g')}"]
    parts.append(f"{number('images_per_s', '.1f')} img/s  {number('tflops', '.3g')} TFLOP/s")
    if line.get("mfu") is not None:
        parts.append(f"MFU {number('mfu', '.1%')}")
    if line.get("stall", 0.0) >= 0.01:
        parts.append(f"waits for data {line['stall']:.0%}")
    if "slowest_host" in line:
        low, high = line["host_s_min"], line["host_s"]
        parts.append(f"hosts {low:.2g}-{high:.2g} s, slowest {line['slowest_host']}")
    if line.get("checkpoint_s"):
        parts.append(f"checkpoint {line['checkpoint_s']:.2g} s")
    if line.get("skipped"):
        parts.append(f"{line['skipped']} skipped")
    return "  ".join([*parts, f"{duration(line['eta_s'])} left"])


def duration(seconds: float) -> str:
    """3 h 20 min, 4 min 10 s, 12 s."""
    whole = round(seconds)
    for large, small, size in (("d", "h", 86_400), ("h", "min", 3600), ("min", "s", 60)):
        if whole >= size:
            part = {"h": 3600, "min": 60, "s": 1}[small]
            return f"{whole // size} {large} {whole % size // part} {small}"
    return f"{whole} s"


class Interrupted:
    """Whether SIGTERM, SIGHUP or SIGINT has come; the loop checks it after each step."""

    name: str | None = None

    def __call__(self) -> bool:
        """True from the first signal on."""
        return self.name is not None


@contextlib.contextmanager
def handling(
    numbers: Sequence[int], handler: Callable[..., None]
) -> Iterator[Mapping[int, Callable | int | None]]:
    """Signals call a handler inside, if this is the main thread, which alone signals reach.

    A SIGHUP that is ignored stays so, which is all that `nohup` does.

    Args:
        numbers: the signals.
        handler: takes the number and the frame.

    Yields:
        The handlers before, by signal.
    """
    old = {}
    if threading.current_thread() is threading.main_thread():
        for number in numbers:
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
                old[number] = signal.signal(number, handler)
    try:
        yield old
    finally:
        for number, before in old.items():
            signal.signal(number, before)


@contextlib.contextmanager
def interruptible() -> Iterator[Interrupted]:
    """Turns signals into a request to stop; Ctrl-C again, a second later, acts as it did before.

    SIGTERM, SIGHUP (a terminal that is gone) and SIGINT are requests. Further ones change nothing:
    `timeout` and job schedulers send SIGTERM to a process and to its group, so that one request
    arrives twice.
    """
    interrupted, first = Interrupted(), 0.0

    def request(number: int, frame: Any) -> None:
        nonlocal first
        if not interrupted():
            interrupted.name, first = signal.Signals(number).name, time.monotonic()
        elif number == signal.SIGINT and time.monotonic() - first > 1.0:
            before = old[number]
            (before if callable(before) else signal.default_int_handler)(number, frame)

    with handling((signal.SIGTERM, signal.SIGHUP, signal.SIGINT), request) as old:
        yield interrupted
