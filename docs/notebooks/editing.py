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
# # Editing pictures
#
# A model that was trained for inpainting sees what is left of a picture and paints what is missing. Here the small model
# `shapes-inpaint` repaints a part, draws from a sketch and makes variations, all of pictures that are made on this page.
# [Editing](../editing.md) describes every option.

# %%
import matplotlib.pyplot as plt
import numpy as np
from PIL import Image, ImageDraw

import glide_jax

glide = glide_jax.load("shapes-inpaint")
few = {"preset": "fast", "seed": 3, "guidance_scale": 3}
glide


def show(pictures: dict[str, object]) -> None:
    """Pictures side by side, with their names."""
    figure, axes = plt.subplots(1, len(pictures), figsize=(2.1 * len(pictures), 2.4))
    for axis, (name, picture) in zip(axes, pictures.items(), strict=True):
        axis.imshow(getattr(picture, "image", picture), cmap="gray")
        axis.set_title(name, fontsize=8)
        axis.axis("off")
    figure.tight_layout()


# %% [markdown]
# ## Repainting a part
#
# A picture with two objects, and a mask that is white where something new is to be. The prompt describes the whole
# picture as it will be.

# %%
photo = Image.new("RGB", (256, 256), "white")
draw = ImageDraw.Draw(photo)
draw.ellipse((24, 88, 104, 168), fill=(220, 40, 40))
draw.rectangle((156, 92, 228, 164), fill=(40, 160, 60))
mask = Image.new("L", photo.size, 0)
ImageDraw.Draw(mask).rectangle((140, 76, 244, 180), fill=255)

[repainted] = glide.inpaint(
    photo, mask, "a red circle to the left of a blue star on a white background", **few
)
show({"picture": photo, "mask": mask, "repainted": repainted})

# %% [markdown]
# Every pixel outside of the mask is the one that was there, so the result can go into the next edit.

# %%
kept = np.asarray(mask) == 0
bool((repainted.array[kept] == np.asarray(photo)[kept]).all())

# %% [markdown]
# ## From a sketch
#
# `edit` puts noise on a picture and draws from there (SDEdit). `strength` is how much: a small one keeps the sketch, 1
# leaves nothing of it.

# %%
sketch = Image.new("RGB", (256, 256), (236, 236, 236))
ImageDraw.Draw(sketch).polygon(
    ((40, 70), (128, 52), (206, 84), (212, 180), (120, 214), (52, 170)), fill=(60, 90, 200)
)
prompt = "a large blue square on a gray background"
strengths = (0.3, 0.6, 0.9)
edited = {f"strength {s}": glide.edit(sketch, prompt, strength=s, **few)[0] for s in strengths}
show({"sketch": sketch, **edited})

# %% [markdown]
# ## Variations
#
# `vary` is the same without a prompt that says more: pictures that resemble the one that goes in.

# %%
varied = glide.vary(repainted, "a red circle to the left of a blue star on a white background", n=3,
                    strength=0.8, **few)  # fmt: skip
show({"picture": repainted, **{f"variation {k}": p for k, p in enumerate(varied, 1)}})

# %% [markdown]
# ## Drawn again
#
# A picture's parameters hold all that drew it, and hashes of the pictures that went in. `repeat` wants these back where
# they were no files, and gives the same pixels.

# %%
again = glide.repeat(repainted.parameters, image=photo, mask=mask)
bool((again.array == repainted.array).all())
