"""The model in the box: what ships works, and what made it still runs."""

import os
import pathlib
import shutil
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import glide_jax
from glide_jax import images
from glide_jax.data.readers import shapes
from glide_jax.diffusion import samplers, schedules
from glide_jax.evaluation import shapes_judge
from glide_jax.model_dir import reading
from glide_jax.sampling import edits, loading
from launch.studies import inpainting

ROOT = pathlib.Path(__file__).parents[2]


@pytest.mark.parametrize("name", reading.boxed_models())
def test_a_boxed_model_is_small_and_has_a_card(name):
    folder = reading.BOXED / name
    assert sum(path.stat().st_size for path in folder.iterdir()) < 16e6
    card = (folder / "README.md").read_text()
    assert "Licence" in card
    assert "configs/" in card


def test_the_box_stays_small():
    assert sum(path.stat().st_size for path in reading.BOXED.rglob("*.*")) < 60e6


@pytest.mark.parametrize("name", ["shapes", "shapes-few"])
def test_a_boxed_model_draws_the_colour_of_the_background_and_of_the_object(name):
    glide = glide_jax.load(name, cache=None)
    prompts = [
        "a large red circle on a white background",
        "a large blue square on a black background",
    ]
    red, blue = (p.array.astype(float) for p in glide(prompts, batch_size=2, upsample=False))
    assert np.median(red[:, :4]) > 200
    assert np.median(blue[:, :4]) < 55
    middle = lambda a: a[20:44, 20:44].reshape(-1, 3).mean(axis=0)
    assert middle(red).argmax() == 0
    assert middle(blue).argmax() == 2


@pytest.mark.slow
def test_the_boxed_emoji_are_of_the_colour_that_the_caption_says_on_white():
    glide = glide_jax.load("emoji", cache=None)
    prompts = ["a noto emoji of red apple", "a blob emoji of crying face"]
    drawn = glide(prompts, batch_size=2, preset="fast", upsample=False)
    red, yellow = (p.array.astype(float) for p in drawn)
    for picture in (red, yellow):
        assert np.median(picture[[0, 0, -1, -1], [0, -1, 0, -1]]) > 230
    middle = lambda a: np.median(a[16:48, 16:48].reshape(-1, 3), axis=0)
    r, g, b = middle(red)
    assert r > 1.5 * max(g, b)
    r, g, b = middle(yellow)
    assert min(r, g) > 1.5 * b


@pytest.mark.slow
def test_the_boxed_inpainting_model_puts_back_what_was_erased_and_nothing_else():
    glide = glide_jax.load("shapes-inpaint", cache=None)
    outcomes = []
    for case in list(inpainting.cases(4))[1:]:
        picture, mask = Image.fromarray(case.image), case.mask
        edit = edits.inpainting(glide.loaded, picture, mask, upsample=False)
        [drawn] = glide(case.caption, edit=edit, preset="fast", upsample=False)
        assert inpainting.kept(case, drawn.array)
        outcomes.append(inpainting.outcome(case, drawn.array))
    assert sum(outcome.object for outcome in outcomes) >= 2


@pytest.mark.slow
def test_the_boxed_clip_knows_which_caption_is_a_scenes_also_through_noise():
    found = loading.load(reading.BOXED / "shapes")
    clip, tokenizer, params = found.clip, found.clip_tokenizer, found.params["clip"]
    assert clip is not None
    assert tokenizer is not None
    scenes = [shapes.sample_scene(np.random.default_rng(i), kinds=("single",)) for i in range(16)]
    x_0 = images.from_uint8(np.stack([shapes.render(scene) for scene in scenes]))
    encode, log_prob = jax.jit(clip.encode), jax.jit(clip.log_prob)
    texts = encode(params, *tokenizer([*map(shapes.caption, scenes)], clip.context))
    eps = jax.random.normal(jax.random.key(0), x_0.shape)
    schedule = schedules.from_alpha_bar(found.stages["base"].alpha_bar)
    for t in (0, 500):
        timesteps = jnp.full(16, t)
        x_t = samplers.q_sample(schedule.at(timesteps), x_0, eps)
        by_text = [
            log_prob(params, x_t, timesteps, jnp.repeat(texts[k : k + 1], 16, axis=0))
            for k in range(16)
        ]
        assert (np.argmax(by_text, axis=0) == np.arange(16)).sum() >= 12


@pytest.mark.slow
def test_most_single_objects_are_what_the_caption_says():
    rng = np.random.default_rng(0)
    words = lambda *options: str(rng.choice(options))
    prompts = [
        f"a large {words('red', 'green', 'blue', 'purple', 'pink', 'cyan')} "
        f"{words('circle', 'square', 'star')} on a {words('white', 'black', 'gray')} background"
        for _ in range(24)
    ]
    pictures = glide_jax.load("shapes")(prompts, batch_size=8, upsample=False)
    verdicts = [shapes_judge.judge_caption(p.array, p.parameters["prompt"]) for p in pictures]
    assert np.mean([v.background for v in verdicts]) > 0.9
    assert np.mean([v.all for v in verdicts]) > 0.7  # of larger samples, 0.97


@pytest.mark.slow
@pytest.mark.parametrize("name", ["shapes", "emoji"])
def test_training_packing_and_drawing_run_from_one_end_to_the_other(name, tmp_path):
    for folder in ("configs", "launch", f"glide_jax/boxed/{name}"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    program = pathlib.Path(sys.executable).with_name("glide-jax")
    subprocess.run(
        ["launch/train_boxed.sh", name, program],
        cwd=tmp_path,
        env=os.environ | {"SIZE": ":smoke", "XLA_FLAGS": ""},  # the script's own
        check=True,
    )
    glide = glide_jax.load(tmp_path / "runs" / f"{name}-smoke", cache=None)
    [picture] = glide("a red ring on a white background", steps=2, upsample_steps=2)
    assert picture.image.size == picture.small.size == (16, 16)
