"""Drawing again from parameters that anybody may have changed."""

import copy
import json
import math
import random
import re

import numpy as np
import pytest
from PIL import Image

from glide_jax import InputError, images
from glide_jax.sampling import repeating

FEW = dict(steps=2, upsample_steps=2)
NOISE = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
ODD = (
    None, True, -1, 5, 10**30, 10**400, 0.5, math.nan, -math.inf, "", "x", "\ud800", "\x1b[31m",
    "x" * 10**5, [], [1], [[]], {}, {"a": 1}, ["ddim"], {"sampler": "ddim"},
)  # fmt: skip


@pytest.fixture(scope="module")
def records(glide):
    """Parameters of a picture, of an inpainted one and of a strip; nothing is drawn."""
    from glide_jax.sampling import edits
    from glide_jax.sampling.call import parse

    painted = edits.inpainting(glide.loaded, NOISE, np.tri(32), margin="0.5")
    strip = edits.interpolating(glide.loaded, parse(FEW), ("red", "blue"), frames=3)
    mixed = dict(mix=[("a star", 0.5)], negative_prompt="grey", guidance_interval=(100, 900))
    return [
        glide.parameters("red", seed=3, **FEW, **mixed)[0],
        glide.parameters("red", edit=painted, upsample=False, steps=2, sampler="ddim", eta=0.5)[0],
        glide.parameters(["red", "blue"], strip)[0],
    ]


def again(glide, parameters):
    """The parameters of the picture that `repeat` would draw, or why it would draw none."""
    went_in = dict(image=NOISE, mask=np.tri(32))
    prompts, call = repeating.repetition(glide.loaded, parameters, **went_in)
    drawn = glide.parameters(prompts, call)[0]
    repeating.check_same(glide.loaded, drawn, parameters)
    return drawn


def places(record, path=()):
    """The paths of all entries in a record."""
    for key, value in record.items() if isinstance(record, dict) else enumerate(record):
        yield (*path, key)
        if isinstance(value, dict | list):
            yield from places(value, (*path, key))


def changed(record, path, value=None, gone=False):
    record = copy.deepcopy(record)
    inner = record
    for key in path[:-1]:
        inner = inner[key]
    if gone:
        del inner[path[-1]]
    else:
        inner[path[-1]] = value
    return record


def test_whole_parameters_are_those_of_the_picture_again(glide, records):
    for record in records:
        assert images.drawn_alike(again(glide, json.loads(json.dumps(record))), record)


def answers(glide, cases) -> list[str]:
    """The sentences by which cases are refused; of the others each is the same picture."""
    refused = []
    for case in cases:
        try:
            drawn = again(glide, case)
        except InputError as error:
            refused.append(str(error))
            continue
        for name in drawn.keys() | case.keys():
            if name not in ("glide_jax", "model_path", "batch_size", "choice"):
                assert images.drawn_alike(drawn.get(name), case.get(name)), (name, case)
    assert all(0 < len(text) < 600 and text.isprintable() for text in refused)
    return refused


@pytest.mark.filterwarnings("ignore:version")
@pytest.mark.usefixtures("unwrapped")
def test_no_other_picture_is_passed_off_as_the_same(glide, records):
    """Each entry of each record is taken away, and is every odd value once."""
    for record in records:
        cases = [changed(record, path, gone=True) for path in places(record)]
        cases += [changed(record, path, value) for path in places(record) for value in ODD]
        cases += [{**record, "unknown": value} for value in ODD]
        cases += [{**record, "base": {**record["base"], "unknown": value}} for value in ODD]
        assert len(answers(glide, cases)) > 0.8 * len(cases)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:version")
@pytest.mark.usefixtures("unwrapped")
def test_no_traceback_of_many_changes_at_once(glide, records):
    rng = random.Random(0)
    for _ in range(10_000):
        case = rng.choice(records)
        for _ in range(rng.randint(1, 4)):
            if isinstance(case, dict) and case:
                path = rng.choice(list(places(case)))
                case = changed(case, path, rng.choice(ODD), gone=rng.random() < 0.2)
        answers(glide, [case])


@pytest.mark.parametrize("odd", [None, 5, "text", ["model"], {}, {"model": "plain"}])
def test_what_is_no_record_is_refused(glide, odd):
    with pytest.raises(InputError, match=r"the parameters (are|have no) "):
        glide.repeat(odd)


@pytest.mark.parametrize("name", ["seed", "index", "prompt", "batch_size", "dtype", "edit"])
def test_nothing_is_filled_in_for_what_is_missing(glide, records, name):
    with pytest.raises(InputError, match=f"the parameters have no '{name}'; they are not whole"):
        glide.repeat(changed(records[0], (name,), gone=True))


def test_the_picture_of_another_model_is_not_drawn(glide, records):
    with pytest.raises(InputError, match="other values of 'model'"):
        glide.repeat({**records[0], "model": "another"})
    with pytest.raises(InputError, match="other values of 'dtype'"):
        glide.repeat({**records[0], "dtype": "bfloat16"})


def test_the_picture_of_another_version_is_drawn_and_told(glide, records):
    with pytest.warns(UserWarning, match=r"version '0\.0\.1' of glide_jax drew the picture"):
        again(glide, {**records[0], "glide_jax": "0.0.1"})


def test_a_file_that_never_ends_is_not_read(glide, records):
    record = changed(records[1], ("edit", "image"), {"sha256": "x", "path": "/dev/zero"})
    with pytest.raises(InputError, match="'/dev/zero' is no file"):
        repeating.repetition(glide.loaded, record)


def test_eta_is_recorded_for_the_sampler_that_has_one(glide, records):
    assert "eta" not in records[0]["base"]
    assert records[1]["base"]["eta"] == 0.5
    # Older pictures have it of every sampler.
    old = changed(records[0], ("base", "eta"), 0.0)
    assert images.drawn_alike(again(glide, old), records[0])


def test_a_picture_with_deep_parameters_has_none(tmp_path):
    from PIL import PngImagePlugin

    info = PngImagePlugin.PngInfo()
    info.add_text(images.METADATA, "[" * 100_000)
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png", pnginfo=info)
    assert images.read_parameters(tmp_path / "a.png") is None


def test_prompts_are_left_out_and_pictures_still_told_apart(glide):
    from glide_jax.sampling import edits
    from glide_jax.sampling.call import parse

    more = dict(mix=[("a star", 0.5)], negative_prompt="grey", record_prompt=False)
    strip = edits.interpolating(
        glide.loaded, parse({**FEW, "record_prompt": False}), ("red", "blue"), frames=3
    )
    found = [
        glide.parameters("red", **FEW, **more)[0],
        glide.parameters("green", **FEW, **more)[0],
        glide.parameters("red", **FEW, **more | {"negative_prompt": "white"})[0],
        glide.parameters(["red", "blue"], strip)[0],
    ]
    assert len({record["prompt_sha256"] for record in found}) == len(found)
    for record in found:
        texts = set(re.findall(r'"([^"]*)"', json.dumps(record)))
        assert not texts & {"red", "green", "blue", "a star", "grey", "white", "prompt"}
        with pytest.raises(InputError, match="--no-record-prompt, so it does not carry its prompt"):
            repeating.check(record)
