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
# # A first picture, and what happens inside
#
# This page loads the small model in the box, draws with it, and then takes the same steps one by one: the noise
# that a picture starts from, the prediction of the clean picture at each step, and what the words do.

# %%
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import glide_jax

glide = glide_jax.load("shapes")
glide

# %% [markdown]
# ## A picture
#
# A call takes prompts, a seed and numbers, and returns pictures. The same seed draws the same picture on the same
# machine, whatever else is drawn beside it.

# %%
[picture] = glide("a large red circle on a white background", seed=0, steps=50, guidance_scale=3)
picture.image

# %% [markdown]
# All that is needed to draw it again travels with it.

# %%
{name: picture.parameters[name] for name in ("prompt", "seed", "base")}

# %% [markdown]
# ## The same by hand
#
# A model is two functions and a noise schedule. `encode` turns a prompt's tokens into what the UNet reads, once for
# each prompt. `network` predicts the noise `eps` in a noisy picture `x_t`. Parameters are arguments of both.

# %%
from glide_jax.diffusion import guidance, samplers, schedules

loaded = glide.loaded
stage, params = loaded.stages["base"], loaded.params["base"]
network = stage.network(params)


def condition(prompt: str) -> glide_jax.types.Cond:
    """The text of one prompt as the UNet reads it."""
    tokens, mask = loaded.tokenizer([prompt], stage.context)
    return glide_jax.types.Cond(stage.encode(params, jnp.asarray(tokens), jnp.asarray(mask)))


prompt = "a large red circle on a white background"
cond, null = condition(prompt), condition("")
jax.tree.map(jnp.shape, cond)

# %% [markdown]
# Classifier-free guidance asks the network twice, with the prompt and without one, and goes further in the
# direction from the second answer to the first (GLIDE, equation 10):
#
# $$\hat\epsilon = \epsilon(x_t, \varnothing) + s\,\bigl(\epsilon(x_t, c) - \epsilon(x_t, \varnothing)\bigr)$$

# %%
denoise = guidance.classifier_free(network, cond, null, scale=3.0)
steps = schedules.respace(50, len(stage.alpha_bar))
schedule = schedules.from_alpha_bar(stage.alpha_bar, steps)
step = jax.jit(samplers.ddim(denoise, schedule))

keys = jax.random.split(jax.random.key(0), 1)
x_t = samplers.noise(keys, 0, (stage.image_size, stage.image_size, 3))
seen = []
for i in reversed(range(50)):
    if i % 7 == 0:
        eps = denoise(x_t, jnp.full(1, schedule.t[i])).eps
        x_0 = samplers.clip(samplers.predict_x_0(schedule.at(jnp.array([i])), x_t, eps))
        seen.append((int(schedule.t[i]), x_t[0], x_0[0]))
    x_t = step(x_t, jnp.int32(i), jnp.zeros_like(x_t))

# %% [markdown]
# The upper line is what the network sees, the lower one the clean picture that it expects at that moment. Place
# and colour are decided in the first steps, edges in the last.

# %%
figure, axes = plt.subplots(2, len(seen), figsize=(1.35 * len(seen), 3))
for column, (t, noisy, clean) in zip(axes.T, seen, strict=True):
    column[0].set_title(f"t = {t}", fontsize=8)
    for axis, pixels in zip(column, (noisy, clean), strict=True):
        axis.imshow(np.clip((np.asarray(pixels) + 1) / 2, 0, 1))
        axis.axis("off")
axes[0, 0].text(-8, 32, "x_t", ha="right", va="center")
axes[1, 0].text(-8, 32, "x_0", ha="right", va="center")
figure.tight_layout()

# %% [markdown]
# ## What the words do
#
# Each word's influence is measured by taking it away: the prompt without it is drawn from the same noise. Where the
# pictures differ, the word mattered.

# %%
words = ["large", "red", "circle", "white"]
shorter = [" ".join(w for w in prompt.split() if w != word) for word in words]
whole, *others = glide([prompt, *shorter], seed=0, steps=20, guidance_scale=3, upsample=False)
figure, axes = plt.subplots(1, 1 + len(words), figsize=(9, 2.2))
for axis, drawn, title in zip(axes, [whole, *others], ["all words", *words], strict=True):
    axis.imshow(drawn.image)
    axis.set_title(title if title == "all words" else f"without “{title}”", fontsize=8)
    axis.axis("off")
figure.tight_layout()

# %% [markdown]
# The pictures without a word are outside of what this model was trained on, so they show what it does when it has
# to guess.
