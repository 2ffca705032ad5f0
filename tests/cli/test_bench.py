"""`glide-jax bench` on a model of a second."""

import json

import pytest


@pytest.mark.slow
def test_bench_times_every_row_of_a_model_and_writes_them(cli, tiny_model, tmp_path):
    out = tmp_path / "bench"
    done = cli("bench", "--model", tiny_model, "--rounds", "1", "--batch-sizes", "1,2",
               "--what", "text,evaluation,gradient,image,interval,operations",
               "--out", out)  # fmt: skip
    assert done.code == 0, done.err
    found = json.loads((out / "bench.json").read_text())
    names = [row["name"] for row in found["rows"]]
    for stage in ("base", "upsample"):
        for what in ("text, batch 1", "evaluation, batch 1", "evaluation, batch 2", "gradient"):
            assert any(name.startswith(f"{stage}: {what}") for name in names), (stage, what)
        assert any(name.startswith(f"{stage}: fast") for name in names)
    halves = [row for row in found["rows"] if "half of them guided" in row["name"]]
    assert [row["name"].split(":")[0] for row in halves] == ["base"]  # upsamplers are not guided
    assert list(halves[0]["ratios"]) == ["guided at every step"]
    evaluations = [row for row in found["rows"] if ": evaluation" in row["name"]]
    assert all(row["flops"] > 0 for row in evaluations)
    assert evaluations[1]["flops"] == 2 * evaluations[0]["flops"]
    assert "| base: evaluation, batch 2 | glide_jax |" in done.out
    profiles = [row["operations"] for row in found["rows"] if "operations" in row]
    assert [profile["direct convolutions"] > 0 for profile in profiles] == [True, True]
    assert "| base: operations of an evaluation, batch 1 | ms | share |" in done.out


@pytest.mark.slow  # two processes that compile as users' do
def test_a_start_is_timed_with_an_empty_and_with_a_filled_cache(cli, tiny_model, tmp_path):
    done = cli("bench", "--model", tiny_model, "--rounds", "1", "--what", "limits",
               "--start", tiny_model, "--out", tmp_path)  # fmt: skip
    assert done.code == 0, done.err
    start = json.loads((tmp_path / "bench.json").read_text())["start"]
    assert set(start) == {"cold", "warm"}
    assert all(seconds > 0 for seconds in start["warm"].values())


def test_a_reference_that_is_not_one_is_said_in_a_sentence(cli, tiny_model, tmp_path):
    done = cli("bench", "--model", tiny_model, "--reference", tmp_path, "--out", tmp_path / "b")
    assert done.code == 2
    assert "--reference" in done.err
    assert "Traceback" not in done.err
    assert not (tmp_path / "b").exists()


def test_ways_to_compute_are_timed_in_turn_and_what_a_device_lacks_is_told(
    cli, tiny_model, tmp_path
):
    done = cli("bench", "--model", tiny_model, "--stages", "base", "--rounds", "1", "--what",
               "ways", "--batch-sizes", "1", "--ways", "attention=jax,attention=cudnn,xla_none=1",
               "--out", tmp_path / "bench")  # fmt: skip
    assert done.code == 0, done.err
    rows = json.loads((tmp_path / "bench" / "bench.json").read_text())["rows"]
    assert [row["name"] for row in rows] == [
        f"base: {what} by {way}, batch 1"
        for what in ("an evaluation", "a gradient")
        for way in ("attention=jax", "attention=cudnn", "xla_none=1")
    ]
    for timed, *others in (rows[:3], rows[3:]):
        assert list(timed["seconds"]) == ["glide_jax", "attention=jax"]
        assert 0 < timed["error"] < 2e-4  # another program, and the same numbers
        assert [list(row["refused"]) for row in others] == [["attention=cudnn"], ["xla_none=1"]]
    assert "Not timed:\n\n- base: an evaluation by attention=cudnn, batch 1: " in done.out


@pytest.mark.parametrize(
    ("ways", "says"),
    [
        ("attention=best", "attention is 'best'; it must be one of own, jax, cudnn"),
        ("norm", "way is 'norm'; it must be NAME=VALUE with a name of attention, norm or"),
        ("speed=fast", "way is 'speed=fast'; it must be NAME=VALUE"),
    ],
)
def test_a_way_that_is_none_is_one_sentence(ways, says, cli, tiny_model, tmp_path):
    done = cli("bench", "--model", tiny_model, "--what", "ways", "--ways", ways,
               "--out", tmp_path / "b")  # fmt: skip
    assert done.code == 2
    assert says in done.complaint
    assert not (tmp_path / "b").exists()
