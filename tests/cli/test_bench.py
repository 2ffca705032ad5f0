"""`glide-jax bench` on a model of a second."""

import json


def test_bench_times_every_row_of_a_model_and_writes_them(cli, tiny_model, tmp_path):
    out = tmp_path / "bench"
    done = cli("bench", "--model", tiny_model, "--rounds", "1", "--batch-sizes", "1,2",
                   "--what", "text,evaluation,gradient,image", "--start", tiny_model,
               "--out", out)  # fmt: skip
    assert done.code == 0, done.err
    found = json.loads((out / "bench.json").read_text())
    assert set(found["start"]) == {"cold", "warm"}
    assert all(seconds > 0 for seconds in found["start"]["warm"].values())
    names = [row["name"] for row in found["rows"]]
    for stage in ("base", "upsample"):
        for what in ("text, batch 1", "evaluation, batch 1", "evaluation, batch 2", "gradient"):
            assert any(name.startswith(f"{stage}: {what}") for name in names), (stage, what)
        assert any(name.startswith(f"{stage}: fast") for name in names)
    evaluations = [row for row in found["rows"] if "evaluation" in row["name"]]
    assert all(row["flops"] > 0 for row in evaluations)
    assert evaluations[1]["flops"] == 2 * evaluations[0]["flops"]
    assert "| base: evaluation, batch 2 | glide_jax |" in done.out


def test_a_reference_that_is_not_one_is_said_in_a_sentence(cli, tiny_model, tmp_path):
    done = cli("bench", "--model", tiny_model, "--reference", tmp_path, "--out", tmp_path / "b")
    assert done.code == 2
    assert "--reference" in done.err
    assert "Traceback" not in done.err
    assert not (tmp_path / "b").exists()
