"""Options that would change nothing are refused by name, and before any weights are read."""

import os
import subprocess
import sys

import jax
import numpy as np
import pytest

from glide_jax import InputError
from glide_jax.networks.cpu import choice
from glide_jax.sampling import call, edits, repeating
from glide_jax.sampling.glide import load
from glide_jax.sampling.outline import read_outline

RED = "a red circle"
GRAY = np.full((16, 16, 3), 128, np.uint8)
# Options that act in every call, or by themselves say that they do not.
ALWAYS = {
    "n", "seed", "first_index", "number_on", "as_recorded", "upsample", "batch_size", "edit",
    "progress", "record_prompt", "steps", "sampler", "grid", "dynamic_threshold", "mix",
    "autoguidance_model", "clip_guidance_scale", "score", "cfgpp_scale",
}  # fmt: skip
UNGUIDED = dict(guidance_scale=1.0)
FAST = dict(preset="fast", sampler="ddim", steps="fast27", upsample_sampler="ddim")
IDLE = [  # (options, the one that does nothing, why)
    (dict(autoguidance_scale=3), "autoguidance_scale", "without autoguidance_model"),
    (dict(clip_guidance_on="x_0"), "clip_guidance_on", "without clip_guidance_scale"),
    (dict(score_scale=2), "score_scale", "without score"),
    (dict(score_on="x_t"), "score_on", "without score"),
    (dict(upsample=False, upsample_steps=3), "upsample_steps", "no upsampler runs"),
    (dict(upsample=False, upsample_grid="karras"), "upsample_grid", "no upsampler runs"),
    (dict(upsample=False, upsample_sampler="ddim"), "upsample_sampler", "no upsampler runs"),
    (dict(upsample=False, temperature=0.9), "temperature", "no upsampler runs"),
    (dict(eta=0.5), "eta", "only the sampler ddim"),
    (UNGUIDED | dict(negative_prompt="blue"), "negative_prompt", "guidance_scale is 1"),
    (UNGUIDED | dict(guidance_power=1), "guidance_power", "guidance_scale is 1"),
    (UNGUIDED | dict(guidance_rescale=0.7), "guidance_rescale", "guidance_scale is 1"),
    (UNGUIDED | dict(apg_parallel=0), "apg_parallel", "guidance_scale is 1"),
    (UNGUIDED | dict(apg_radius=2), "apg_radius", "guidance_scale is 1"),
    (UNGUIDED | dict(apg_momentum=-0.5), "apg_momentum", "guidance_scale is 1"),
    (UNGUIDED | dict(guidance_interval="200,800"), "guidance_interval", "nothing guides"),
    (dict(cfgpp_scale=0.6, sampler="ddim", guidance_scale=2), "guidance_scale", "cfgpp_scale is"),
    (dict(keep=1, n=2), "keep", "no CLIP"),
    (dict(steps=1, reuse=3), "reuse", "one step only"),
    (dict(upsample_steps=1, upsample_reuse=3), "upsample_reuse", "one step only"),
    (FAST | dict(upsample_steps=3, upsample_grid=""), "preset", "are given, too"),
    (dict(preset="fast", upsample=False, sampler="ddim", steps=3, grid=""), "preset", "given, too"),
]
ACTS = [
    dict(guidance_interval="200,800"), UNGUIDED | dict(guidance_interval="2,8", score=len),
    UNGUIDED | dict(guidance_power=0, guidance_rescale=0, apg_parallel=1, negative_prompt=""),
    dict(negative_prompt="blue"), dict(cfgpp_scale=0.6, sampler="ddim", guidance_rescale=0.7),
    dict(cfgpp_scale=0.6, sampler="ddim", negative_prompt="blue"), FAST,
    dict(preset="fast", sampler="ddim", steps=3, upsample=False), dict(mix=["0:blue"]),
    dict(autoguidance_model="shapes", autoguidance_scale=1.0) | UNGUIDED,
]  # fmt: skip


@pytest.fixture(scope="module")
def plain(tiny_model):
    return read_outline(str(tiny_model), tiny_model.parent)


@pytest.mark.parametrize(("options", "name", "why"), IDLE, ids=lambda value: str(value)[:40])
def test_an_option_that_would_do_nothing_is_refused_by_name(plain, options, name, why):
    with pytest.raises(InputError, match=rf"^{name} is ") as caught:
        plain.check(RED, call.parse(options))
    assert why in str(caught.value)


@pytest.mark.parametrize("options", ACTS, ids=str)
def test_an_option_that_does_something_is_taken(plain, options):
    if "autoguidance_model" in options:
        options |= {"autoguidance_model": str(plain.models / plain.loaded.name)}
    plain.check(RED, call.parse(options))


def test_every_option_acts_always_or_has_a_case():
    assert call.options().keys() == ALWAYS | {name for _, name, _ in IDLE}


@pytest.mark.parametrize(
    "options",
    [dict(steps=3), dict(guidance_scale=2), dict(sampler="ddim"), dict(grid="karras"),
     dict(negative_prompt="blue"), dict(mix=["1:blue"]), dict(score=len),
     dict(dynamic_threshold=0.99), dict(autoguidance_model="shapes")],
    ids=str,
)  # fmt: skip
def test_a_picture_is_enlarged_without_options_of_the_base(plain, options):
    edit = edits.upscaling(plain.loaded, GRAY)
    plain.check(RED, call.parse({"edit": edit, "upsample_steps": 3, "preset": "fast"}))
    with pytest.raises(InputError, match=rf"^{next(iter(options))} is .*upsampler alone"):
        plain.check(RED, call.parse({"edit": edit, **options}))


def test_a_picture_of_old_is_drawn_again_with_whatever_its_record_names(glide):
    idle = UNGUIDED | dict(negative_prompt="blue", guidance_rescale=0.7, upsample=False)
    as_drawn = call.parse({**idle, "as_recorded": True})
    [parameters] = glide.parameters(RED, as_drawn)
    _, again = repeating.repetition(glide.loaded, parameters)
    assert glide.parameters(RED, again) == [parameters]


def test_a_call_is_checked_without_weights_and_without_a_device(tiny_full, tmp_path):
    script = (
        "import pathlib, sys\n"
        "from glide_jax.sampling.outline import read_outline\n"
        "from glide_jax.sampling.call import parse\n"
        "outline = read_outline(sys.argv[1], pathlib.Path())\n"
        "clip = {'keep': 1, 'n': 2, 'clip_guidance_scale': 1, 'batch_size': 'auto'}\n"
        "outline.check('red', parse(clip))\n"
        "outline.check('red', parse({'autoguidance_model': sys.argv[1]}))\n"
    )
    for file in tiny_full.iterdir():
        if file.suffix != ".safetensors":
            (tmp_path / file.name).write_bytes(file.read_bytes())
    done = subprocess.run(
        [sys.executable, "-c", script, tmp_path],
        env=os.environ | {"JAX_PLATFORMS": "abacus"},  # where a device is asked for, JAX fails
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_each_parameter_counts_once_however_it_is_kept(tiny_full, cache, monkeypatch):
    monkeypatch.setattr(choice, "MIN_CHANNELS", 32)
    plain = load(tiny_full, convolutions="direct", cache=cache)
    numbers = sum(leaf.size for leaf in jax.tree.leaves(plain.loaded.params))
    assert plain.parameter_count == numbers
    wide = load(tiny_full, convolutions="winograd4", cache=cache)
    assert wide.parameter_count == numbers
    assert sum(leaf.size for leaf in jax.tree.leaves(wide.loaded.params)) > numbers  # transformed
    assert load(tiny_full, weights="int8", cache=cache).parameter_count == numbers
