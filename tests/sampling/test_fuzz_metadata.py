"""Seeded damage to what pictures carry: a call that draws them again or one sentence."""

import io
import json
import random

import pytest
from PIL import Image, PngImagePlugin

from glide_jax import images
from glide_jax.errors import InputError
from glide_jax.sampling import repeating
from tests import fuzz
from tests.model_dir.test_fuzz_models import ABSURD, fields, put

EDIT = {
    "kind": "inpaint", "image": {"path": "a.png", "sha256": "0" * 64}, "mask": {"path": "b.png"},
    "extend": [0, 0, 0, 0], "strength": 1.0, "repeats": 1, "jump": 10,
}  # fmt: skip


@pytest.fixture
def parameters(glide):
    return glide.parameters("a red circle", seed=3)[0]


def ask(glide, parameters: object) -> None:
    repeating.repetition(glide.loaded, parameters)


def tries(glide, parameters: dict, path, count: int, seed: int, step: int) -> int:
    rng, before = random.Random(seed), fuzz.peak_bytes()
    info = PngImagePlugin.PngInfo()
    info.add_itxt(images.METADATA, json.dumps(parameters))
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "PNG", pnginfo=info)
    text = json.dumps(parameters).encode()
    for k, bad in enumerate(fuzz.mutations(buffer.getvalue(), count=count, seed=seed)):
        if k % 2:  # damaged text in a whole picture
            info = PngImagePlugin.PngInfo()
            damaged = fuzz.mutate(text, random.Random(f"{seed} {k}"))
            info.add_itxt(images.METADATA, damaged.decode("utf-8", "replace"))
            buffer = io.BytesIO()
            Image.new("RGB", (8, 8)).save(buffer, "PNG", pnginfo=info)
            bad = buffer.getvalue()
        path.write_bytes(bad)
        fuzz.answers(lambda: ask(glide, images.read_parameters(path)), allowed=(InputError,))
    cases = [(p, where, value) for p in (parameters, parameters | {"edit": EDIT})
             for where in fields(p) for value in ABSURD]  # fmt: skip
    chosen = rng.sample(cases, len(cases) // step)
    for p, where, value in chosen:
        changed = put(p, where, value)
        fuzz.answers(lambda changed=changed: ask(glide, changed), allowed=(InputError,))
    for value in ABSURD:
        fuzz.answers(lambda value=value: ask(glide, value), allowed=(InputError,))
    assert fuzz.peak_bytes() - before < 1 << 30
    return count + len(chosen)


def test_damaged_metadata_is_refused_or_read(glide, parameters, tmp_path):
    assert tries(glide, parameters, tmp_path / "a.png", 150, 1, 10) > 200


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_much_damaged_metadata(glide, parameters, tmp_path):
    assert tries(glide, parameters, tmp_path / "a.png", 2000, 2, 1) > 2500
