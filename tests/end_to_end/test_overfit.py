"""Whether training works at all: a network learns eight photographs by heart and draws them."""

import json
import os
import subprocess
import sys

import matplotlib
import numpy as np
import pytest
from PIL import Image

import glide_jax
from glide_jax.data import transforms

SIDE = 32
PLACES = ("top left", "top", "top right", "left", "right", "bottom left", "bottom", "bottom right")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Eight parts of a portrait, each with a caption of its own."""
    folder = tmp_path_factory.mktemp("pictures")
    path = matplotlib.get_data_path() + "/sample_data/grace_hopper.jpg"
    photo = np.asarray(Image.open(path).convert("RGB"))
    for k, place in enumerate(PLACES):
        i, j = divmod(k, 3) if k < 4 else divmod(k + 1, 3)  # the middle of the nine is left out
        part = photo[i * 200 : i * 200 + 200, j * 170 : j * 170 + 170]
        Image.fromarray(transforms.center_crop(part, SIDE)).save(folder / f"{k}.png")
        (folder / f"{k}.txt").write_text(f"the {place} of a portrait")
    return folder


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_network_overfits_one_batch_and_gives_it_back(pictures, tmp_path):
    fields = {
        "data.source": "folder", "data.path": pictures, "model.image_size": SIDE,
        "model.channels": 64, "model.channel_mult": "1,2", "model.patch": 2, "model.attention": "8",
        "model.head_channels": 32, "model.text_width": 64, "diffusion.null_fraction": 0.0,
        "diffusion.prediction": "v", "optim.name": "muon", "optim.lr": 2e-3, "optim.b1": 0.95,
        "optim.schedule": "linear", "optim.decay_fraction": 0.5, "optim.warmup_steps": 20,
        "train.num_steps": 1000, "train.batch_size": 8, "train.ema": "0.98",
        "log.every_steps": 10, "log.sample_every_steps": 0, "log.checkpoint_every_steps": 500,
    }  # fmt: skip
    words = [f"--config.{name}={value}" for name, value in fields.items()]
    workdir = tmp_path / "w"
    command = (sys.executable, "-m", "glide_jax", "train", "--config", "folder_64:smoke")
    optimised = os.environ | {"XLA_FLAGS": ""}
    subprocess.run([*command, "--workdir", workdir, *words], check=True, env=optimised)
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    first, last = lines[0]["mse"], np.mean([line["mse"] for line in lines[-5:]])
    assert last < 0.05 * first, (first, last)

    glide = glide_jax.load(workdir / "model", cache=None)
    captions = [f"the {place} of a portrait" for place in PLACES]
    drawn = glide(captions, steps=100, sampler="ddim", guidance_scale=1.0, batch_size=8)
    for k, picture in enumerate(drawn):
        truth = np.asarray(Image.open(pictures / f"{k}.png"), np.float64)
        error = np.mean((picture.array - truth) ** 2)
        psnr = 10 * np.log10(255**2 / error)
        print(f"{captions[k]}: PSNR {psnr:.1f} dB")
        assert psnr > 30, captions[k]
