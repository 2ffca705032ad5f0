"""The loop and what hangs on it, on a state of one number: everything can be reckoned by hand."""

import json
import os
import signal
import threading
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from glide_jax import InputError
from glide_jax.training import flops, hooks, loop, writers
from glide_jax.training.step import TrainState

TX = optax.sgd(0.5)


def start() -> TrainState:
    return TrainState.create({"w": jnp.float32(0.0)}, TX)


@jax.jit
def step_fn(state, batch, key):
    """The loss is the batch; a batch of NaN is skipped."""
    bad = jnp.isnan(batch)
    metrics = {"loss": batch, "grad_norm": batch * 2, "nonfinite": bad.astype(jnp.float32)}
    return state._replace(step=state.step + 1, params={"w": state.params["w"] + 1}), metrics


def batches(values):
    return iter(jnp.float32(value) for value in values)


def make_log(n, last, out, **options):
    own = {name: options.pop(name) for name in ("skipped",) if name in options}
    say = options.pop("say", lambda line: None)
    options = {"lr": lambda k: 0.1 * k, "images": 2} | options
    return hooks.Log(hooks.LogOptions(n, last, **options), out, say, **own)


def run(values, hooks_, last=None, state=None, **options):
    last = len(values) if last is None else last
    state = start() if state is None else state
    return loop.fit(
        step_fn,
        state,
        batches(values),
        hooks_,
        key=jax.random.key(0),
        num_steps=last,
        **options,
    )


class Kept:
    def __init__(self):
        self.lines = []

    def write(self, line):
        self.lines.append(dict(line))

    def picture(self, step, pixels): ...

    def close(self): ...


def numbers(lines):
    return [{k: v for k, v in line.items() if k not in hooks.SPEEDS} for line in lines]


def test_a_line_is_the_mean_of_the_steps_since_the_one_before():
    out = Kept()
    state = run([1, 3, 5, 7, 9], [make_log(2, 5, [out])])
    assert int(state.step) == 5
    assert [line["step"] for line in out.lines] == [2, 4, 5]
    assert [line["loss"] for line in out.lines] == [2, 6, 9]
    assert [line["grad_norm"] for line in out.lines] == [4, 12, 18]
    assert [line["lr"] for line in out.lines] == pytest.approx([0.1, 0.3, 0.4])


def test_a_line_tells_speed_arithmetic_and_what_is_left():
    out, told = Kept(), []
    log = make_log(2, 4, [out], flops=3e12, peak_flops=1e15, say=told.append)
    run([1, 2, 3, 4], [log])
    for line in out.lines:
        steps_per_second = line["images_per_s"] / 2
        assert line["tflops"] == pytest.approx(3 * steps_per_second)
        assert line["mfu"] == pytest.approx(3e12 * steps_per_second / 1e15)
    assert out.lines[0]["eta_s"] > 0
    assert out.lines[-1]["eta_s"] == 0
    assert told[0].startswith("2/4  loss 1.5000")
    assert "TFLOP/s" in told[0]
    assert told[-1].endswith("0 s left")


def test_steps_that_are_not_finite_are_counted_and_left_out_of_the_means():
    out = Kept()
    run([1, np.nan, 3, np.nan], [make_log(2, 4, [out])])
    assert [line["loss"] for line in out.lines] == [1, 3]
    assert [line["skipped"] for line in out.lines] == [1, 2]


def test_a_run_of_steps_that_are_not_finite_stops():
    out = Kept()
    log = make_log(2, 8, [out], most_nonfinite=3, skipped=(5, 0))
    with pytest.raises(InputError, match="not finite in 3 steps in a row, the last of them 4"):
        run([1, np.nan, np.nan, np.nan, 1, 1, 1, 1], [log])
    assert [line["skipped"] for line in out.lines] == [6, 8]
    assert out.lines[-1]["loss"] is None


def test_a_window_that_is_kept_makes_the_same_lines_as_a_run_that_never_stopped():
    values = np.random.default_rng(0).standard_normal(12).astype(np.float32)
    whole, first, second = Kept(), Kept(), Kept()
    run(values, [make_log(5, 12, [whole])])
    log = make_log(5, 12, [first])
    state = run(values[:7], [log], last=7)
    window = json.loads(json.dumps(log.gathered()))  # as a checkpoint holds it
    log = make_log(5, 12, [second])
    log.window = window
    run(values[7:], [log], last=12, state=state)
    assert numbers(whole.lines) == numbers([*first.lines, *second.lines])


def test_actions_come_at_each_nth_step_and_at_the_last():
    seen = []
    action = lambda step, state: seen.append((step, int(state.step)))
    run([0.0] * 7, [hooks.every(3, action, 7), hooks.every(0, lambda *_: 1 / 0, 7)])
    assert seen == [(3, 3), (6, 6), (7, 7)]


def test_the_loop_stays_at_most_two_steps_ahead_of_the_device():
    waited = []

    class Number:
        def __init__(self, step):
            self.step = step

        def block_until_ready(self):
            waited.append(self.step)

    def slow(state, batch, key):
        return state._replace(step=state.step + 1), {"loss": Number(int(state.step) + 1)}

    done = []
    loop.fit(
        slow,
        start(),
        batches([0.0] * 5),
        [lambda step, *_: done.append((step, list(waited)))],
        key=jax.random.key(0),
        num_steps=5,
    )
    assert done == [(1, []), (2, []), (3, []), (4, [1]), (5, [1, 2])]


def test_a_signal_that_comes_twice_lets_the_step_end():
    """As `timeout` sends it, to the process and to its group."""
    before = signal.getsignal(signal.SIGTERM)
    with hooks.interruptible() as interrupted:
        hit = lambda step, *_: [
            os.kill(os.getpid(), signal.SIGTERM) for _ in range(2 * (step == 3))
        ]
        state = run([0.0] * 9, [hit], stopping=interrupted)
        assert int(state.step) == 3
        assert interrupted.name == "SIGTERM"
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_second_ctrl_c_after_a_while_acts_at_once():
    with hooks.interruptible() as interrupted:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)  # still the first wish
        assert interrupted.name == "SIGINT"
        time.sleep(1.1)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_a_terminal_that_goes_away_is_a_request_to_stop_unless_nohup_ignores_it():
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # a suite under nohup ignores it
    try:
        with hooks.interruptible() as interrupted:
            os.kill(os.getpid(), signal.SIGHUP)
            assert interrupted.name == "SIGHUP"
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_DFL
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        with hooks.interruptible() as interrupted:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not interrupted()
            os.kill(os.getpid(), signal.SIGTERM)
            assert interrupted.name == "SIGTERM"
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_signals_are_left_alone_in_a_thread():
    found = []

    def body():
        with hooks.interruptible() as interrupted:
            found.append(interrupted())

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    assert found == [False]


def test_lines_that_a_resumed_run_writes_again_are_dropped(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 2, "loss": 1.0}\n{"step": 4, "loss": 0.5}\n{"step": 6, "lo')
    out = writers.JsonLines(path, step=3)
    out.write({"step": 4, "loss": 0.25})
    out.close()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert lines == [{"step": 2, "loss": 1.0}, {"step": 4, "loss": 0.25}]


def test_tensorboard_files_hold_curves_and_pictures(tmp_path):
    out = writers.TensorBoard(tmp_path, step=0)
    out.write({"step": 2, "loss": 0.125, "mfu": None})
    out.picture(2, np.zeros((4, 4, 3), np.uint8))
    out.close()
    [file] = tmp_path.iterdir()
    data = file.read_bytes()
    assert b"loss" in data
    assert b"samples" in data
    assert b"\x89PNG" in data
    assert b"mfu" not in data


def test_without_tensorboard_its_absence_is_an_import_error(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "tensorboardX", None)
    with pytest.raises(ImportError):
        writers.TensorBoard(tmp_path)


def test_arithmetic_is_counted_through_loops_branches_and_gradients_of_ones_own():
    a, b = jnp.ones((4, 8)), jnp.ones((8, 16))
    product = 2 * 4 * 8 * 16
    assert flops.count(lambda a, b: a @ b, a, b) == product
    assert flops.count(jax.jit(lambda a, b: jax.checkpoint(jnp.matmul)(a, b)), a, b) == product
    scan = lambda a, b: jax.lax.scan(lambda c, _: (c, a @ b), 0.0, None, length=5)
    assert flops.count(scan, a, b) == 5 * product
    branch = lambda a, b: jax.lax.cond(a.sum() > 0, lambda: a @ b, lambda: jnp.zeros((4, 16)))
    assert flops.count(branch, a, b) == product
    image, kernel = jnp.ones((2, 8, 8, 6)), jnp.ones((3, 3, 6, 10))
    conv = lambda x, k: jax.lax.conv_general_dilated(
        x, k, (2, 2), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    assert flops.count(conv, image, kernel) == 2 * (2 * 4 * 4 * 10) * (3 * 3 * 6)


@pytest.mark.parametrize(
    ("kind", "peak"),
    [
        ("NVIDIA H100 80GB HBM3", 989.0),
        ("NVIDIA A100-SXM4-40GB", 312.0),
        ("NVIDIA L4", 121.0),
        ("TPU v5 lite", 197.0),
        ("TPU v5", 459.0),
        ("TPU v4", 275.0),
        ("cpu", None),
    ],
)
def test_the_peak_of_a_device_is_known_by_its_name(kind, peak):
    assert flops.peak_tflops(kind) == peak


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (75, "1 min 15 s"), (12_060, "3 h 21 min"), (90_000, "1 d 1 h")],
)
def test_a_duration_is_told_in_two_units(seconds, text):
    assert hooks.duration(seconds) == text
