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
# # Guidance scales, and what they cost
#
# A larger guidance scale follows the prompt more closely, and takes variety and natural colours away (GLIDE, figure
# 6). Here the shapes model draws the same prompts at several scales, and the exact judge of the shapes set reads
# the pictures back.

# %%
import matplotlib.pyplot as plt
import numpy as np

import glide_jax
from glide_jax.evaluation import shapes_judge

glide = glide_jax.load("shapes")
prompts = [
    "a large green heart on a gray background",
    "three green stars on a black background",
    "a blue square and a pink heart on a gray background",
    "a yellow ring above a purple cross on a white background",
]
scales = [1, 2, 3, 5, 8]
drawn = {
    scale: list(
        glide(prompts, n=4, seed=0, steps=20, guidance_scale=scale, upsample=False, batch_size=8)
    )
    for scale in scales
}

# %% [markdown]
# One column for each scale, one line for each prompt, all from the same noise.

# %%
figure, axes = plt.subplots(len(prompts), len(scales), figsize=(7, 5.8))
for column, scale in zip(axes.T, scales, strict=True):
    column[0].set_title(f"scale {scale}", fontsize=8)
    for axis, picture in zip(column, drawn[scale][::4], strict=True):
        axis.imshow(picture.image)
        axis.axis("off")
figure.tight_layout()

# %% [markdown]
# ## Fidelity and saturation
#
# The judge counts a picture where number, colours, shapes and relations of the caption hold. Beside it is the share
# of channel values at the end of the range: strong guidance pushes pixels there.

# %%
right, clipped = [], []
for scale in scales:
    verdicts = [
        shapes_judge.judge_caption(picture.array, picture.parameters["prompt"]).all
        for picture in drawn[scale]
    ]
    pixels = np.stack([picture.array for picture in drawn[scale]])
    right.append(100 * np.mean(verdicts))
    clipped.append(100 * np.mean((pixels <= 1) | (pixels >= 254)))

figure, axis = plt.subplots(figsize=(5, 3))
axis.plot(scales, right, "o-", label="caption holds, % of 16")
axis.plot(scales, clipped, "s--", label="values at an end of the range, %")
axis.set_xlabel("guidance scale")
axis.set_ylim(0, 105)
axis.legend()
figure.tight_layout()

# %% [markdown]
# Sixteen pictures a scale are few: `glide-jax sweep` draws as many as an interval needs and writes the table with
# the curves. A guided step evaluates the network twice, at any scale but 1; with a
# `guidance_interval` it is evaluated once in the steps outside of that.

# %%
counts = {}
for interval in (None, (100, 900)):
    limited = {} if interval is None else {"guidance_interval": interval}
    pictures = glide(prompts, n=4, seed=0, steps=20, upsample=False, guidance_scale=3, **limited)
    counts[str(interval)] = sum(
        shapes_judge.judge_caption(p.array, p.parameters["prompt"]).all for p in pictures
    )
counts
