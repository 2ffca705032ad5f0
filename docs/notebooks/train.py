# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Training on twenty pictures
#
# Twenty small pictures are made, a network is trained on them from nothing, and draws what it has learned. The page is made
# on two CPU cores, so the network is tiny and the pictures are 32 pixels wide; the commands are those of a real run.

# %%
import json
import pathlib
import subprocess
import sys
import tempfile

import matplotlib.pyplot as plt
import numpy as np
from PIL import Image, ImageDraw

import glide_jax

work = pathlib.Path(tempfile.mkdtemp())
pictures = work / "pictures"
pictures.mkdir()

# %% [markdown]
# ## The pictures
#
# A picture is a file, and its caption a `.txt` file of the same name beside it. There are four things under five skies.

# %%
SKIES = {
    "blue": "#7db9e8",
    "pink": "#f4a6c0",
    "yellow": "#f6d860",
    "gray": "#9aa0a6",
    "black": "#101018",
}
THINGS = ("house", "tree", "sun", "boat")


def scene(thing: str, sky: str) -> Image.Image:
    """A thing on green ground, drawn large and shrunk to 32 x 32 pixels."""
    image = Image.new("RGB", (256, 256), SKIES[sky])
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 190, 256, 256), fill="#1f5fa8" if thing == "boat" else "#3f9142")
    match thing:
        case "house":
            draw.rectangle((78, 120, 178, 205), fill="#f3ead7")
            draw.polygon(((62, 124), (128, 62), (194, 124)), fill="#b03a2e")
        case "tree":
            draw.rectangle((116, 130, 140, 210), fill="#6b4423")
            draw.ellipse((70, 40, 186, 150), fill="#1e6b2b")
        case "sun":
            draw.ellipse((78, 50, 178, 150), fill="#ffffff", outline="#e67e22", width=16)
        case "boat":
            draw.polygon(((60, 178), (196, 178), (170, 218), (86, 218)), fill="#7b3f00")
            draw.polygon(((132, 40), (132, 168), (200, 168)), fill="#ffffff")
    return image.resize((32, 32), Image.Resampling.LANCZOS)


captions = [f"a {thing} under a {sky} sky" for thing in THINGS for sky in SKIES]
for k, caption in enumerate(captions):
    _, thing, *_, sky, _ = caption.split()
    scene(thing, sky).save(pictures / f"{k:02d}.png")
    (pictures / f"{k:02d}.txt").write_text(caption)

# %% [markdown]
# ## Looking at them first
#
# `glide-jax data look` reads the folder as a run would. It counts what is usable and names what is not.


# %%
def run(*words: object) -> None:
    """Runs `glide-jax WORDS` and prints its notes; a shell would draw progress bars, too."""
    command = [sys.executable, "-m", "glide_jax", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    notes = done.stderr.replace("\r", "\n").splitlines()
    print("\n".join(line for line in notes if line.strip() and "%|" not in line))


run("data", "look", pictures, "--out", work / "look")
[sheet] = (work / "look").glob("*sheet*.png")
Image.open(sheet)

# %% [markdown]
# ## The run
#
# `folder_64` is the config for a folder of one's own. Any field of it can be given on the command line; here they make the
# network as small as 32 pixels allow. With `folder_64:tiny` and `--config.data.path` alone, the network is the one that
# [Training](../training.md) describes.

# %%
fields = {
    "data.path": pictures, "data.source": "folder", "model.image_size": 32, "model.channels": 48,
    "model.channel_mult": "1", "model.patch": 4, "model.attention": "8", "model.head_channels": 24,
    "model.text_width": 64, "diffusion.prediction": "v", "optim.name": "muon", "optim.lr": 3e-3,
    "optim.schedule": "linear", "optim.decay_fraction": 0.5, "optim.warmup_steps": 20,
    "train.num_steps": 300, "train.batch_size": 20, "train.ema": "0.95", "log.every_steps": 20,
    "log.sample_every_steps": 0, "log.checkpoint_every_steps": 300,
}  # fmt: skip
words = [f"--config.{name}={value}" for name, value in fields.items()]
run("train", "--config", "folder_64:smoke", "--workdir", work / "run", *words)

# %% [markdown]
# A run's folder has its metrics, its checkpoints and, at the end, a model. The same command would go on where the run was
# stopped.

# %%
lines = [json.loads(line) for line in (work / "run" / "metrics.jsonl").read_text().splitlines()]
figure, axis = plt.subplots(figsize=(5, 2.6))
axis.semilogy([line["step"] for line in lines], [line["mse"] for line in lines])
axis.set_xlabel("step")
axis.set_ylabel("mean squared error")
figure.tight_layout()

# %% [markdown]
# ## What it draws
#
# The upper line has pictures of the folder, the lower one what the model draws of their captions, from noise.

# %%
glide = glide_jax.load(work / "run" / "model")
chosen = captions[::3]
drawn = glide(chosen, seed=1, steps=25, sampler="ddim", guidance_scale=2, batch_size=len(chosen))
figure, axes = plt.subplots(2, len(chosen), figsize=(9, 3.2))
for column, caption, picture in zip(axes.T, chosen, drawn, strict=True):
    column[0].imshow(Image.open(pictures / f"{captions.index(caption):02d}.png"))
    column[1].imshow(picture.image)
    column[0].set_title(caption.replace(" under", "\nunder"), fontsize=7)
    for axis in column:
        axis.axis("off")
figure.tight_layout()

# %% [markdown]
# After 300 steps the pictures are still noisy, but each is nearer to the one that it was asked for than to any other. With
# many more steps a network learns twenty pictures by heart, and can draw nothing else.

# %%
folder = np.stack([np.asarray(Image.open(p), np.float32) for p in sorted(pictures.glob("*.png"))])
for caption, picture in zip(chosen, drawn, strict=True):
    distances = np.sqrt(np.mean((folder - picture.array) ** 2, axis=(1, 2, 3)))
    own = distances[captions.index(caption)]
    print(
        f"{caption:30} {own:5.1f} of 255 to its own, {np.delete(distances, captions.index(caption)).min():5.1f} to the nearest other"
    )
