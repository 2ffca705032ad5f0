"""Runs of a protocol: resumed anywhere, computed from files, reported."""

import dataclasses
import json

import numpy as np
import pytest

from glide_jax import images
from glide_jax.data.example import Example
from glide_jax.data.readers import shapes
from glide_jax.data.readers.coco import Coco
from glide_jax.data.recipes import emoji
from glide_jax.errors import InputError
from glide_jax.evaluation import (
    distances,
    draws,
    protocols,
    run_report,
    setup,
    shapes_judge,
    shapes_scores,
    sweeps,
)
from glide_jax.evaluation.evaluate import Evaluator, write_sheet
from glide_jax.evaluation.features import clip
from glide_jax.evaluation.features.extractor import collect, extract
from glide_jax.tokenizers import ClipBPE
from launch.studies import defects
from tests import tiny
from tests.data.readers import test_coco
from tests.data.readers.test_folder import put
from tests.evaluation.oracle import Oracle, scene, statistics


@pytest.fixture(scope="module")
def protocol():
    return protocols.shapes_protocol(3)


def evaluate(drawer, protocol, folder, features=None, **options):
    return Evaluator(protocol, features).run(drawer, folder, options, batch_size=5)


def test_the_shapes_protocol_is_frozen():
    found = protocols.shapes_protocol(2)
    assert found.prompts_sha256[:16] == FROZEN, found.prompts_sha256
    assert len(found.prompts) == len(set(found.prompts)) == 16
    for prompt, group in zip(found.prompts, found.groups, strict=True):
        spec = shapes.parse(prompt)
        assert group == f"{'held_out' if shapes.held_out(spec) else 'train'}/{spec.kind}"


FROZEN = "0ff66c9b0b56ff93"


def test_the_emoji_protocol_tells_seen_from_withheld(monkeypatch):
    grey = dict(zip(emoji.SPLITS, (range(200, 201), range(100, 104), range(9)), strict=True))

    def open_source(name, *, split, image_size, data_dir):
        picture = lambda k: np.full((image_size, image_size, 3), k, np.uint8)
        return [
            Example(picture(k), (f"{k}", f"a noto emoji of {k}"), f"noto/{k}") for k in grey[split]
        ]

    monkeypatch.setattr(protocols.catalogue, "open_source", open_source)
    found = protocols.open_protocol("emoji", n=3)
    assert found.groups == ("train",) * 3 + ("held_out_pairs",) * 3 + ("held_out_concepts",)
    shown = [int(reference[-1, -1, 0]) for reference in found.reference(256)]
    assert [int(prompt.split()[-1]) for prompt in found.prompts] == shown
    assert len(set(shown)) == 7
    assert found == dataclasses.replace(
        protocols.open_protocol("emoji", n=3), reference=found.reference
    )


def test_a_clips_findings_are_told_by_group_too(protocol, tmp_path):
    eyes = clip.noised_clip("tiny", tiny.CLIP, ClipBPE(), tiny.weights(tiny.CLIP))
    result = Evaluator(protocol, clip=eyes).run(Oracle(), tmp_path / "w", {}, batch_size=5)
    found, groups = result["clip"], result["clip"]["by_group"]
    assert list(groups) == list(dict.fromkeys(protocol.groups))
    first = [group["own_caption_first"] for group in groups.values()]
    assert sum(share["n"] for share in first) == len(protocol.prompts)
    right = sum(share["right"] for share in first)
    assert right / len(protocol.prompts) == pytest.approx(found["r_precision"])
    scores = [group["clip_score"] for group in groups.values()]
    assert np.average(scores, weights=[s["n"] for s in first]) == pytest.approx(found["clip_score"])
    write_sheet(tmp_path / "w", protocol.prompts)
    text = run_report.write_run_report(tmp_path, "groups", {"w": result})[0].read_text("utf-8")
    assert "whose own caption is nearer than 23 others" in text


def test_ten_kills_change_nothing(protocol, tmp_path):
    whole = evaluate(Oracle(), protocol, tmp_path / "whole")
    for kill in range(10):
        with pytest.raises(KeyboardInterrupt):
            evaluate(Oracle(stop_at=kill // 2 + 1), protocol, tmp_path / "cut")
    last = Oracle()
    pieces = evaluate(last, protocol, tmp_path / "cut")
    assert last.drawn < len(protocol.prompts)
    assert {**pieces, "seconds": 0} == {**whole, "seconds": 0}
    again = Oracle()
    evaluate(again, protocol, tmp_path / "cut")
    assert again.drawn == 0


def test_other_options_have_other_folders():
    name = lambda **run: setup.run_name(run)
    assert name(guidance_scale="1.5", steps="fast27") == "w1p5-stepsfast27"
    assert name() == "default"
    assert name(guidance_scale="-1") == "wm1" != name(guidance_scale="1")
    long = "10," * 20
    assert name(steps=long + "3") != name(steps=long + "2")
    assert len(name(steps=long)) <= 53


def test_a_damaged_or_changed_picture_is_drawn_again(protocol, tmp_path):
    whole = evaluate(Oracle(), protocol, tmp_path)
    draws.path_of(tmp_path, 7).write_bytes(b"half")
    other = images.read(draws.path_of(tmp_path, 3))
    images.write_png(draws.path_of(tmp_path, 8), other, {"prompt": "another"})
    mended = evaluate(Oracle(), protocol, tmp_path)
    assert mended["samples_sha256"] == whole["samples_sha256"]
    assert evaluate(Oracle(), protocol, tmp_path, seed=1)["sampling"]["seed"] == 1


def test_machines_that_share_a_run_draw_what_one_would(protocol, tmp_path):
    parts = [Oracle(), Oracle()]
    for k, drawer in enumerate(parts):
        draws.draw_missing(
            drawer, protocol.prompts, tmp_path / "two", {}, batch_size=5, part=(k, 2)
        )
    assert all(drawer.drawn > 0 for drawer in parts)
    n = len(protocol.prompts)
    assert len(list(draws.read_drawn(tmp_path / "two", n))) == n
    draws.draw_missing(Oracle(), protocol.prompts, tmp_path / "one", {}, batch_size=5)
    for two, one in zip(
        draws.read_drawn(tmp_path / "two", n), draws.read_drawn(tmp_path / "one", n), strict=True
    ):
        np.testing.assert_array_equal(two, one)


def test_a_reference_of_smaller_pictures_is_refused_after_one_batch(protocol, tmp_path):
    small = dataclasses.replace(protocol, reference=lambda side: iter(()))
    with pytest.raises(InputError, match="no picture of the reference has 64 pixels a side"):
        evaluate(Oracle(), small, tmp_path, statistics())
    assert sum(draws.path_of(tmp_path, i).exists() for i in range(len(protocol.prompts))) == 5


def test_a_missing_picture_is_no_smaller_set(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        list(draws.read_drawn(tmp_path, 1))


def test_an_exact_model_is_right_in_everything_with_an_interval(protocol, tmp_path):
    found = evaluate(Oracle(), protocol, tmp_path)["shapes"]
    assert found["*"]["all"]["right"] == found["*"]["all"]["n"] == 24
    assert 0.8 < found["*"]["all"]["low"] < found["*"]["all"]["high"] == 1
    assert found["train/relation"]["relation"]["n"] == 3
    assert "relation" not in found["train/single"]


def test_the_judge_has_an_accuracy_of_its_own():
    found = shapes_scores.judge_accuracy(40)
    assert all(found[name]["right"] >= 39 for name in shapes_scores.DISTORTIONS)
    assert found["another's caption"]["right"] <= 1


def test_a_result_names_its_extractor_and_a_stand_in_is_never_fid(protocol, tmp_path):
    result = evaluate(Oracle(), protocol, tmp_path, statistics())
    found = result["features"]
    assert found["extractor"]["name"] == "statistics"
    assert {"frechet_distance", "kernel_distance", "spatial_frechet_distance", "class_score",
            "precision", "recall"} <= found.keys()  # fmt: skip
    assert not {"fid", "sfid", "inception_score"} & found.keys()
    assert len(result["reference_sha256"]) == 64
    assert json.loads((tmp_path / "result.json").read_text()) == result
    write_sheet(tmp_path, protocol.prompts)
    runs = {"w1": result, "w2": result}
    pages = run_report.write_run_report(tmp_path, "a title", runs, shapes_scores.judge_accuracy(4))
    for page in pages:
        text = page.read_text()
        assert all(word in text for word in ("statistics", "kernel distance", "Held out", "100.0"))
    assert (tmp_path / "shapes-held_out.png").exists()


def test_a_sweep_draws_the_curves_of_what_was_measured(protocol, tmp_path):
    results = {}
    for scale in (2.0, 1.0):
        folder = tmp_path / f"w{scale:g}"
        result = evaluate(Oracle(), protocol, folder, statistics(), guidance_scale=scale)
        write_sheet(folder, protocol.prompts)
        results[folder.name] = ({"guidance_scale": scale}, result)
    paths = {path.name for path in sweeps.write_sweep_report(tmp_path, "a sweep", results)}
    assert {"recall-precision.png", "frechet_distance-class_score.png", "sweep.json", "report.md",
            "over-scale-all_right.png"} <= paths  # fmt: skip
    assert all((tmp_path / name).exists() for name in paths)


def test_a_folder_is_compared_with_captions_chosen_by_name(tmp_path):
    for k in range(6):
        put(tmp_path, f"{k}.png", f"picture {k}\nthe same, {k}", grey=40 * k)
    found = protocols.open_protocol("folder", path=str(tmp_path), n=4)
    assert len(set(found.prompts)) == 4
    assert found.prompts == protocols.open_protocol("folder", path=str(tmp_path)).prompts[:4]
    reference = list(found.reference(16))
    assert [int(x[0, 0, 0]) for x in reference] == [40 * k for k in range(6)]
    with pytest.raises(InputError, match="--path"):
        protocols.open_protocol("coco30k")


def test_coco_has_a_frozen_list_of_captions_and_all_pictures_as_reference(tmp_path):
    (tmp_path / "annotations").mkdir()
    (tmp_path / "val2014").mkdir()
    (tmp_path / "annotations/captions_val2014.json").write_text(json.dumps(test_coco.notes()))
    for k in range(3):
        (tmp_path / f"val2014/{k:012}.jpg").write_bytes(test_coco.picture(k))
    found = protocols.coco_protocol(Coco(tmp_path, "val", year=2014), 3)
    assert len(set(found.prompts)) == 3
    assert all(text.startswith("caption ") for text in found.prompts)
    assert [int(x[0, 0, 0]) for x in found.reference(8)] == [0, 1, 2]
    assert found.name == "coco30k/1 (the first 3)"
    assert found.sampling == {"steps": "250"}


@pytest.fixture(scope="module")
def planted():
    """Numbers of 240 exact pictures with each defect, next to 240 other ones."""
    protocol = protocols.shapes_protocol(30)
    fresh = np.stack([scene(p, 1000 + i) for i, p in enumerate(protocol.prompts)])
    pictures = np.stack([scene(p, i) for i, p in enumerate(protocol.prompts)])
    features, found = statistics(), {}
    reference = collect(extract(features, fresh, batch_size=60))
    for defect in defects.DEFECTS:
        spoilt = defect.spoil(pictures)
        captions = defect.mislabel(protocol.prompts)
        summary = collect(extract(features, spoilt, batch_size=60))
        numbers = distances.compare_sets(features, summary, reference)
        right = [
            shapes_judge.judge_caption(x, c).all for x, c in zip(spoilt, captions, strict=True)
        ]
        found[defect.name] = {**numbers, "right": np.mean(right)}
    return found


def test_swapped_captions_are_seen_by_the_judge_and_by_no_distance(planted):
    none, bad = planted["none"], planted["captions swapped"]
    assert none["right"] > 0.99
    assert bad["right"] < 0.05
    assert bad["frechet_distance"] == pytest.approx(none["frechet_distance"])


@pytest.mark.parametrize("name", ["blur, sigma 1 pixel", "half size by nearest pixel"])
def test_spoilt_pixels_are_seen_by_distances(planted, name):
    none, bad = planted["none"], planted[name]
    assert bad["frechet_distance"] > 2 * none["frechet_distance"]
    assert bad["kernel_distance"] > none["kernel_distance"] + 3 * none["kernel_distance_error"]


def test_duplicates_are_seen_by_recall_and_distance_but_not_by_precision(planted):
    none, bad = planted["none"], planted["a tenth, ten times"]
    assert bad["recall"] < 0.5 * none["recall"]
    assert bad["frechet_distance"] > 2 * none["frechet_distance"]
    assert bad["precision"] > none["precision"] - 0.1
    assert bad["right"] > 0.99


def test_a_kind_of_shapes_with_fewer_captions_than_asked_for_has_them_all():
    protocol = protocols.open_protocol("shapes", n=60, path=None, data_dir=None)
    groups = list(protocol.groups)
    assert groups.count("held_out/single") == 48  # 8 pairs, 3 backgrounds, 2 sizes
    assert groups.count("train/single") == 60
    assert len(set(protocol.prompts)) == len(protocol.prompts)
