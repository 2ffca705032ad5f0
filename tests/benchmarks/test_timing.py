"""What the benchmark says, shown on sides whose times are known."""

import json

import numpy as np
import pytest

from glide_jax.benchmarks import bench, summary
from glide_jax.benchmarks.timing import Times, in_turn
from glide_jax.errors import InputError


class Clock:
    """Time that passes only when something takes it."""

    def __init__(self):
        self.now, self.order = 0.0, []

    def __call__(self) -> float:
        return self.now

    def takes(self, name, *seconds):
        """A call that takes each of these in turn, then the last for ever."""
        left = list(seconds)

        def call():
            self.order.append(name)
            self.now += left.pop(0) if len(left) > 1 else left[0]

        return call


def test_sides_run_in_turn_and_the_first_round_is_not_counted():
    clock, ticks = Clock(), []
    calls = {"a": clock.takes("a", 100.0, 1.0), "b": clock.takes("b", 100.0, 2.0)}
    times = in_turn(calls, 3, tick=lambda: ticks.append(1), clock=clock)
    assert clock.order == ["a", "b"] * 4
    assert len(ticks) == 8
    assert times["a"].seconds == (1.0, 1.0, 1.0)
    assert times["b"].seconds == (2.0, 2.0, 2.0)


def test_a_planted_slowdown_shows_in_the_ratio():
    ratios = []
    for slowdown in (1.0, 1.25):
        clock = Clock()
        calls = {"ours": clock.takes("ours", slowdown), "theirs": clock.takes("theirs", 3.0)}
        times = in_turn(calls, 5, clock=clock)
        ratios.append(times["ours"].ratio(times["theirs"])[0])
    assert ratios == [pytest.approx(3.0), pytest.approx(2.4)]


def test_what_slows_the_machine_for_a_while_leaves_the_ratio():
    ours, theirs = Times((1.0, 5.0, 1.0, 1.0)), Times((2.0, 10.0, 2.0, 2.0))
    assert ours.ratio(theirs) == (2.0, 2.0, 2.0)
    assert ours.spread > 0.5


class Planted:
    """A reference that says what it is told."""

    device = "cpu"

    def __init__(self, outputs):
        self.outputs = outputs

    def evaluate(self, x, *, cached):
        return lambda: self.outputs

    def output(self, out):
        return out


def test_outputs_that_differ_stop_the_benchmark_and_rounding_does_not():
    ours = np.full((1, 4, 4, 6), 0.5, np.float32)
    call = lambda: (ours[..., :3], ours[..., 3:])
    agrees = bench.agreement("base", call, Planted(ours + 1e-5), None, "float32")
    assert agrees == pytest.approx(1e-5, rel=0.05)
    wrong = ours.copy()
    wrong[0, 1, 2, 5] += 1e-3  # one number of one pixel's variance
    with pytest.raises(InputError, match=r"differ from the reference's by 0\.001"):
        bench.agreement("base", call, Planted(wrong), None, "float32")
    with pytest.raises(InputError, match="by nan"):
        bench.agreement("base", call, Planted(ours * np.nan), None, "float32")


def test_the_report_has_each_side_its_share_of_the_limit_and_its_ratio(tmp_path):
    ours, theirs = Times((1.0, 1.0, 1.0)), Times((2.0, 2.0, 2.0))
    rows = [
        bench.Row("limit: product", {bench.OURS: ours}, 4e12),
        bench.Row("base: evaluation", {bench.OURS: ours, bench.THEIRS: theirs}, 2e12, 1e-6),
    ]
    lines = summary.markdown(rows).split("\n")
    assert "| base: evaluation | glide_jax | 1 | 0% | 2 | 50% |  | 1.0e-06 |" in lines
    assert "| base: evaluation | reference | 2 | 0% | 1 | 25% | 2.00 (2.00 to 2.00) |  |" in lines
    paths = summary.write_summary(tmp_path / "bench", rows, {"device": "a test"})
    assert [path.name for path in paths] == ["bench.json", "bench.md", "bench.png"]
    found = json.loads(paths[0].read_text())
    assert found["limit_tflops"] == 4.0
    assert found["rows"][1]["ratios"]["reference"]["median"] == 2.0
    assert "- device: a test" in paths[1].read_text()


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("what", ("speed",), "what is 'speed'; it must be one of limits, text"),
        ("presets", ("quick",), "preset is 'quick'; it must be one of fastest, fast"),
        ("rounds", 0, "rounds is 0; it must be a whole number from 1"),
        ("batch_sizes", (0,), "batch_size is 0; it must be a whole number from 1"),
        ("dtype", "int8", "dtype is 'int8'; it must be one of float32"),
    ],
)
def test_what_cannot_be_measured_is_refused(field, value, message):
    with pytest.raises(InputError, match=message):
        bench.Options(**{field: value})
