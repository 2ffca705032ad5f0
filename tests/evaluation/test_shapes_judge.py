"""The shapes judge: accepts what the captions say, rejects everything else."""

from dataclasses import replace

import numpy as np
import pytest

from glide_jax.data.readers import shapes
from glide_jax.errors import InputError
from glide_jax.evaluation import shapes_judge

N = 200


@pytest.fixture(scope="module")
def scenes():
    return [shapes.sample_scene(np.random.default_rng((9, i)), split="all") for i in range(N)]


@pytest.fixture(scope="module")
def judged(scenes):
    return [shapes_judge.judge(shapes.render(scene)) for scene in scenes]


def other(values, value):
    values = list(values)
    return values[(values.index(value) + 1) % len(values)]


def mutations(spec):
    """Specs that differ from a spec in one statement."""
    yield replace(spec, background=other(shapes.BACKGROUNDS, spec.background))
    (colour, shape), rest = spec.objects[0], spec.objects[1:]
    changed = [(other(shapes.COLOURS, colour), shape), (colour, other(shapes.SHAPES, shape))]
    for pair in changed:
        yield replace(
            spec, objects=(pair,) * len(spec.objects) if spec.kind == "count" else (pair, *rest)
        )
    if spec.kind == "count":
        yield replace(spec, objects=(spec.objects[0],) * other((2, 3, 4), len(spec.objects)))
    if spec.size:
        yield replace(spec, size=other(shapes.SIZES, spec.size))
    if spec.relation:
        yield from (replace(spec, relation=r) for r in shapes.RELATIONS if r != spec.relation)
        yield replace(spec, objects=spec.objects[::-1])
    if len(set(spec.objects)) == 2:
        (c1, s1), (c2, s2) = spec.objects
        if c1 != c2 and s1 != s2:  # binding: the same words, swapped
            yield replace(spec, objects=((c2, s1), (c1, s2)))


def test_accepts_clean_scenes(scenes, judged):
    for scene, seen in zip(scenes, judged, strict=True):
        verdict = shapes_judge.verdict_on(seen, scene.spec)
        assert verdict.all, (shapes.caption(scene), seen)
        assert (verdict.relation is None) == (scene.relation is None)
        assert (verdict.size is None) == (scene.size is None)


def test_rejects_captions_with_one_statement_changed(scenes, judged):
    for scene, seen in zip(scenes, judged, strict=True):
        for spec in mutations(scene.spec):
            assert not shapes_judge.verdict_on(seen, spec).all, (shapes.caption(spec), seen)


def test_accepts_blurred_and_noisy_scenes(scenes):
    from scipy import ndimage

    rng = np.random.default_rng(0)
    right = 0
    for scene in scenes[:100]:
        soft = ndimage.gaussian_filter(shapes.render(scene).astype(float), (0.8, 0.8, 0))
        noisy = (soft + 8 * rng.normal(size=soft.shape)).round().clip(0, 255).astype(np.uint8)
        right += shapes_judge.judge_caption(noisy, shapes.caption(scene)).all
    assert right >= 98


def test_finds_objects_where_they_are(scenes, judged):
    for scene, seen in zip(scenes, judged, strict=True):
        places = sorted((o.x, o.y) for o in scene.objects)
        found = sorted((o.x, o.y) for o in seen.objects)
        np.testing.assert_allclose(found, places, atol=0.1)  # a triangle's centroid is off centre


@pytest.mark.parametrize("size", [64, 128, 256])
def test_size_of_the_picture_does_not_matter(scenes, size):
    for scene in scenes[:15]:
        assert shapes_judge.judge_caption(shapes.render(scene, size), shapes.caption(scene)).all


def test_verdict_names_what_is_wrong():
    caption = "a red circle to the left of a blue square on a white background"
    spec = shapes.parse(caption)
    red = shapes.Object("red", "circle", 0.3, 0.5, 0.15, shapes.COLOURS["red"])
    blue = shapes.Object("blue", "square", 0.7, 0.5, 0.15, shapes.COLOURS["blue"])

    def verdict(*objects, background="white"):
        rgb = shapes.BACKGROUNDS[background]
        scene = shapes.Scene(background, objects, spec.relation, None, "relation", rgb)
        return shapes_judge.judge_caption(shapes.render(scene), caption)

    assert verdict(red, blue).all
    assert verdict(red, blue, background="gray") == (True, False, True, True, True, True, None)
    assert verdict(red) == (False, True, False, False, False, False, None)
    mirrored = verdict(replace(red, x=0.7), replace(blue, x=0.3))
    assert mirrored == (True, True, True, True, True, False, None)
    rebound = verdict(replace(red, shape="square"), replace(blue, shape="circle"))
    assert rebound == (True, True, True, True, False, False, None)


def test_what_is_no_shape_is_unknown():
    from PIL import Image, ImageDraw

    picture = Image.new("RGB", (64, 64), "white")
    ImageDraw.Draw(picture).line([(8, 8), (8, 54), (54, 54)], fill=shapes.COLOURS["red"], width=5)
    (found,) = shapes_judge.judge(np.asarray(picture)).objects
    assert (found.colour, found.shape) == ("red", shapes_judge.UNKNOWN)


@pytest.mark.parametrize("value", [0, 128, 255])
def test_empty_and_noise_pictures_are_judged(value):
    assert shapes_judge.judge(np.full((64, 64, 3), value, np.uint8)).objects == ()
    noise = np.random.default_rng(value).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    assert not shapes_judge.judge_caption(noise, "two red stars on a gray background").all


def test_wrong_values_are_named():
    picture = np.zeros((64, 64, 3), np.uint8)
    with pytest.raises(InputError, match="'a dog'"):
        shapes_judge.judge_caption(picture, "a dog")
    for bad in (picture[:32], picture[..., :1], picture.astype(np.float32)):
        with pytest.raises(InputError, match="image"):
            shapes_judge.judge(bad)
