"""Probes: planted distributions come back with intervals that hold them; runs go on and grow."""

import dataclasses

import numpy as np
import pytest
from PIL import Image

from glide_jax.data.readers import shapes
from glide_jax.evaluation import draws, probe_families, probe_report, probes
from glide_jax.evaluation.evaluate import Evaluator
from glide_jax.evaluation.features.clip import Clip
from glide_jax.evaluation.features.extractor import Features
from glide_jax.evaluation.metrics import intervals
from glide_jax.networks import zoo
from glide_jax.tokenizers import ClipBPE
from tests import tiny
from tests.evaluation.oracle import Oracle, Picture, scene

SHAPES = probe_families.FAMILIES["shapes"]
TOYS = probe_families.FAMILIES["toys"]
COLOURS = {"pink or purple": (200, 0, 0), "blue": (0, 0, 200), "other": (0, 200, 0)}


class Planted(Oracle):
    """Draws circles whose colour depends on the prompt: half of "a circle" are blue."""

    def pictures(self, prompts, **options):
        for p in self.parameters(prompts, **options):
            self.drawn += 1
            blue = p["prompt"] == "a circle" and p["index"] // len(SHAPES.prompts) % 2
            ground = "black" if "black" in p["prompt"] else "white"
            caption = f"a large {'blue' if blue else 'red'} circle on a {ground} background"
            yield Picture(Image.fromarray(scene(caption, p["index"])), p)


def drawn(family, n, folder, drawer):
    return Evaluator(probes.probe_protocol(family, n)).run(drawer, folder, {}, batch_size=8)


def test_the_judge_finds_the_planted_shares_and_their_difference(tmp_path):
    result = drawn(SHAPES, 10, tmp_path, Planted())
    assert result["protocol"] == "probe shapes/1"
    pictures = draws.read_drawn(tmp_path, 10 * len(SHAPES.prompts))
    found = probes.answer_shares(SHAPES, 10, pictures, probes.by_shapes_judge)
    colour = found["answers"]["colour"]
    assert colour["circle"]["blue"]["right"] == 5
    assert colour["nothing"]["red"]["right"] == colour["nothing"]["red"]["n"] == 10
    assert colour["circle"]["blue"]["low"] < 0.5 < colour["circle"]["blue"]["high"]
    assert found["answers"]["background"]["black"]["black"]["right"] == 10
    assert found["answers"]["number"]["two"]["one"]["right"] == 10
    [row] = [d for d in found["differences"]
             if (d["answer"], d["of"]) == ("blue", "circle")]  # fmt: skip
    assert row["difference"] == 0.5
    assert row["low"] < 0.5 < row["high"]
    assert not any(d["question"] == "shape" and d["difference"] for d in found["differences"])


def test_a_larger_run_keeps_the_pictures_of_a_smaller_one(tmp_path):
    drawn(SHAPES, 2, tmp_path, Planted())
    more = Planted()
    drawn(SHAPES, 3, tmp_path, more)
    assert more.drawn == len(SHAPES.prompts)
    assert len(list(draws.read_drawn(tmp_path, 24))) == 24


class Eyes(Clip):
    """A CLIP that knows three colours by the words of TOYS, and one direction for all else."""

    def texts(self, captions, *, batch_size=64):
        named = {TOYS.questions["colour"][answer]: rgb for answer, rgb in COLOURS.items()}
        rows = np.float32([named.get(caption, (1, 1, 1)) for caption in captions])
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def eyes():
    apply = lambda params, x: (x.astype("float32").mean((1, 2)) + 1e-3, None, None)
    return Eyes(Features("eyes", "0" * 64, 8, {}, apply), zoo.clip_model(tiny.CLIP), 77, ClipBPE())


def test_zero_shot_answers_are_the_nearest_captions_in_the_order_of_the_prompts():
    order = [("pink or purple", "blue", "other")[k] for k in (0, 1, 2, 0, 1, 2, 0, 1, 0, 0, 1, 0)]
    pictures = [np.full((8, 8, 3), COLOURS[answer], np.uint8) for answer in order]
    read = probes.by_clip(eyes(), {"colour": TOYS.questions["colour"]})
    found = probes.answer_shares(TOYS, 4, pictures, read)
    shares = found["answers"]["colour"]
    assert shares["girls"]["pink or purple"]["share"] == 1
    assert shares["boys"]["blue"]["share"] == 1
    assert shares["children"]["other"]["share"] == 0.5
    assert found["certainty"]["colour"]["girls"] > 0.99
    [row] = [d for d in found["differences"]
             if (d["of"], d["against"], d["answer"]) == ("girls", "boys", "blue")]  # fmt: skip
    assert row["difference"] == -1
    assert row["high"] < 0


def test_the_report_has_intervals_pictures_and_what_it_cannot_tell(tmp_path):
    runs = {}
    for family, read in ((SHAPES, probes.by_shapes_judge), (TOYS, None)):
        folder, n = tmp_path / family.name, 4
        result = drawn(family, n, folder, Planted())
        read = read or probes.by_clip(eyes(), family.questions)
        pictures = draws.read_drawn(folder, n * len(family.prompts))
        found = probes.answer_shares(family, n, pictures, read)
        probes.write_probe_sheet(folder, family, n)
        reader = {"name": "someone", "sha256": ""}
        runs[family.name] = {**result, "probe": {**found, "reader": reader}}
    for page in probe_report.write_probe_report(tmp_path, "a title", runs):
        text = page.read_text()
        assert text.count("What this cannot tell") == 2
        assert "100 (40 to 100)" in text
        assert "toys for girls" in text
    assert (tmp_path / "toys" / "sheet.png").exists()
    assert (tmp_path / "shapes" / "colour.png").exists()


def test_families_are_whole_and_changed_ones_have_another_sum():
    for family in probe_families.FAMILIES.values():
        assert {value for pair in family.pairs for value in pair} <= family.prompts.keys()
        assert len(set(family.prompts.values())) == len(family.prompts) > 1
        assert all(len(set(c.values())) == len(c) > 1 for c in family.questions.values())
    other = dataclasses.replace(TOYS, prompts={**TOYS.prompts, "x": "toys"})
    assert other.sha256 != TOYS.sha256
    assert shapes.parse(SHAPES.prompts["all said"]) is not None


@pytest.mark.parametrize(("p", "q"), [(0.5, 0.5), (0.9, 0.6), (0.02, 0.1)])
def test_the_interval_of_a_difference_holds_it_often_enough(p, q):
    rng = np.random.default_rng(0)
    pairs = zip(rng.binomial(30, p, 300).tolist(), rng.binomial(30, q, 300).tolist(), strict=True)
    found = [intervals.difference_interval((a, 30), (b, 30)) for a, b in pairs]
    assert np.mean([low <= p - q <= high for low, high in found]) >= 0.95
    assert all(-1 <= low <= high <= 1 for low, high in found)
