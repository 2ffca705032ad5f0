"""The shapes set: determinism, the splits, the geometry and the grammar."""

import numpy as np
import pytest

from glide_jax.data.readers import shapes
from glide_jax.errors import InputError


def scenes(n, split="train", seed=0):
    return [shapes.sample_scene(np.random.default_rng((seed, i)), split=split) for i in range(n)]


def test_a_scene_is_a_function_of_its_seed_and_a_caption_of_no_size():
    scene, again, other = (scenes(6, seed=seed) for seed in (3, 3, 4))
    images = [np.stack([shapes.render(s, 64) for s in each]) for each in (scene, again)]
    np.testing.assert_array_equal(*images)
    assert images[0].shape == (6, 64, 64, 3)
    assert images[0].dtype == np.uint8
    captions = [[shapes.caption(s) for s in each] for each in (scene, again, other)]
    assert captions[0] == captions[1] != captions[2]


def test_train_and_held_out_never_meet():
    assert not any(map(shapes.held_out, scenes(800, "train")))
    assert all(map(shapes.held_out, scenes(300, "held_out")))
    train, held_out = set(shapes.captions("train")), set(shapes.captions("held_out"))
    assert not train & held_out
    assert train | held_out == set(shapes.captions("all"))
    assert {shapes.caption(scene) for scene in scenes(300)} <= train


def test_held_out_pairs_take_each_colour_and_each_shape_once():
    colours, kinds = zip(*shapes.HELD_OUT_PAIRS, strict=True)
    assert sorted(colours) == sorted(shapes.COLOURS)
    assert sorted(kinds) == sorted(shapes.SHAPES)


def test_held_out_fours_are_seen_in_other_counts():
    said = [c for c in shapes.captions("train") if c.startswith(("two", "three", "four"))]
    for shape in shapes.HELD_OUT_FOURS:
        assert not any(c.startswith("four") and f" {shape}s " in c for c in said)
        assert any(c.startswith("three") and f" {shape}s " in c for c in said)


def test_everything_that_the_grammar_says_is_drawn():
    drawn = scenes(1000, "all")
    assert {s.kind for s in drawn} == set(shapes.KINDS)
    assert {s.background for s in drawn} == set(shapes.BACKGROUNDS)
    assert {s.relation for s in drawn} == {*shapes.RELATIONS, None}
    assert {s.size for s in drawn} == {*shapes.SIZES, None}
    assert {len(s.objects) for s in drawn if s.kind == "count"} == {2, 3, 4}
    assert len({(o.colour, o.shape) for s in drawn for o in s.objects}) == 64


def test_objects_neither_touch_nor_leave_the_picture():
    for scene in scenes(300, "all", seed=1):
        covered = np.zeros((96, 96), int)
        for o in scene.objects:
            white = shapes.Object(o.colour, o.shape, o.x, o.y, o.radius, (255, 255, 255))
            alone = shapes.Scene("black", (white,), None, None, "single", (0, 0, 0))
            covered += shapes.render(alone, 96)[..., 0] > 0
        assert covered.max() == 1
        assert not covered[[0, -1]].any()
        assert not covered[:, [0, -1]].any()


def test_relations_hold_with_a_margin():
    for scene in scenes(400, "all", seed=2):
        if scene.relation:
            first, second = scene.objects
            right, down = second.x - first.x, second.y - first.y
            along = {
                "to the left of": right,
                "to the right of": -right,
                "above": down,
                "below": -down,
            }[scene.relation]
            assert along > 1.5 * min(abs(right), abs(down))
            assert along == max(abs(right), abs(down))


@pytest.mark.parametrize("size", [16, 33, 64, 100, 256])
def test_geometry_is_the_same_at_every_size(size):
    """The mean colour is a moment of the picture; a shifted or scaled object would change it."""
    for scene in scenes(10, "all", seed=3):
        picture, reference = shapes.render(scene, size), shapes.render(scene, 128)
        assert picture.shape == (size, size, 3)
        rows = np.linspace(0, 1, size)[:, None, None], np.linspace(0, 1, 128)[:, None, None]
        for a, b in ((1, 1), rows):
            np.testing.assert_allclose(
                (picture * a).mean((0, 1)), (reference * b).mean((0, 1)), atol=3
            )


def test_box_reduced_large_picture_is_the_small_one():
    for scene in scenes(20, "all", seed=4):
        large = shapes.render(scene, 256).reshape(64, 4, 64, 4, 3).mean((1, 3))
        error = np.abs(large - shapes.render(scene, 64))
        assert error.mean() < 0.8  # Pillow fills both ends of a span: about 1/16 pixel at 64
        assert error.max() < 48  # a fifth of an edge pixel's coverage


def test_captions_round_trip():
    everything = shapes.captions()
    assert len(set(everything)) == len(everything) == 61_440
    assert all(shapes.caption(shapes.parse(text)) == text for text in everything[::7])
    for scene in scenes(200, "all"):
        assert shapes.parse(shapes.caption(scene)) == scene.spec


def test_caption_grammar():
    parse = shapes.parse
    assert shapes.caption(parse("a small orange ring on a black background")).startswith("a small")
    assert parse("  An ORANGE star above a red cross on a gray background. ") == shapes.Spec(
        "relation", "gray", (("orange", "star"), ("red", "cross")), relation="above"
    )
    four = parse("four pink crosses on a white background")
    assert four == shapes.Spec("count", "white", (("pink", "cross"),) * 4)
    assert shapes.caption(four) == "four pink crosses on a white background"
    pair = shapes.Spec("pair", "white", (("orange", "star"), ("orange", "ring")))
    assert shapes.caption(pair) == "an orange star and an orange ring on a white background"


def test_plain_scenes_are_single_objects_of_any_size_whose_caption_does_not_say_it():
    draw = lambda i: shapes.sample_scene(np.random.default_rng(i), kinds=(shapes.PLAIN,))
    plain = [draw(i) for i in range(60)]
    assert {len(scene.objects) for scene in plain} == {1}
    sizes = [scene.objects[0].radius for scene in plain]
    assert min(sizes) < 0.16 < 0.27 < max(sizes)
    assert shapes.caption(plain[0]) not in shapes.captions()
    for scene in plain:
        spec = shapes.parse(shapes.caption(scene))
        assert spec == scene.spec
        assert (spec.kind, spec.size) == (shapes.PLAIN, None)
    assert shapes.PLAIN not in {scene.kind for scene in scenes(300, "all")}


@pytest.mark.parametrize("text", ["", "a red circle", "five red stars on a white background"])
def test_other_sentences_are_not_parsed(text):
    assert shapes.parse(text) is None


def test_wrong_values_are_named():
    with pytest.raises(InputError, match="'test'"):
        shapes.sample_scene(np.random.default_rng(0), split="test")
    with pytest.raises(InputError, match="size is 4"):
        shapes.render(scenes(1)[0], 4)
