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
# # Learning, and guidance by a CLIP
#
# ## The objective
#
# Training draws a picture, a timestep and noise, and compares the network's answer with the truth. The loss is
#
# $$L_\text{hybrid} = \mathbb{E}\,\lVert \epsilon - \hat\epsilon \rVert^2 + \lambda L_\text{vlb}$$
#
# where the second term trains only the variance: the mean is held fixed in it (Nichol & Dhariwal, 2021, section
# 3.1). `losses.hybrid` computes both for each picture, and `training.objectives` draws what is random.
#
# The released models predict `eps`. The small models in the box predict $v = \sqrt{\bar\alpha_t}\,\epsilon -
# \sqrt{1 - \bar\alpha_t}\,x_0$ (Salimans & Ho, 2022): where $x_t$ is mostly noise, `eps` asks a network to copy its
# input exactly, `v` only to paint the picture. One error of $x_0$ weighs differently in each of them:

# %%
import matplotlib.pyplot as plt
import numpy as np

from glide_jax.diffusion import schedules

alpha_bar = schedules.alpha_bar("squaredcos_cap_v2")
snr = alpha_bar / (1 - alpha_bar)
figure, axis = plt.subplots(figsize=(5, 2.8))
for name, weight in (("eps", snr), ("v", snr + 1), ("x_0", np.ones_like(snr))):
    axis.semilogy(weight, label=f"loss in {name}")
axis.set(xlabel="t", ylabel="weight of the error of x_0", ylim=(1e-4, 1e5))
axis.legend()
figure.tight_layout()

# %% [markdown]
# ## A CLIP that has seen noise
#
# CLIP guidance moves each step towards pictures that fit the caption better (GLIDE, section 2.4):
#
# $$\hat\epsilon = \epsilon - s \sqrt{1 - \bar\alpha_t}\; \nabla_{x_t} \bigl( f(x_t, t) \cdot g(c) \bigr)$$
#
# An ordinary CLIP fails here, because it has never seen a noisy picture. GLIDE trains one on $x_t$ with the timestep
# as an input. The model in the box has such a CLIP: here is how well it tells the right caption from three
# others, at growing noise.

# %%
import jax
import jax.numpy as jnp

import glide_jax
from glide_jax.data.readers import shapes

glide = glide_jax.load("shapes")
clip, params = glide.loaded.clip, glide.loaded.params["clip"]
base = glide.loaded.stages["base"]

scenes = [shapes.sample_scene(np.random.default_rng(i)) for i in range(32)]
pictures = jnp.asarray(np.stack([shapes.render(s, 64) for s in scenes]) / 127.5 - 1, jnp.float32)
tokens, mask = glide.loaded.clip_tokenizer([shapes.caption(s) for s in scenes], clip.context)
texts = clip.encode(params, jnp.asarray(tokens), jnp.asarray(mask))
noise = jax.random.normal(jax.random.key(0), pictures.shape)
fit = jax.jit(clip.log_prob)
at = (0, 200, 400, 600, 800, 950)
right = []
for t in at:
    signal = base.alpha_bar[t]
    x_t = np.sqrt(signal) * pictures + np.sqrt(1 - signal) * noise
    scores = [
        fit(params, x_t, jnp.full(32, t), text_embedding=jnp.roll(texts, k, 0)) for k in range(4)
    ]
    right.append(100 * float(jnp.mean(jnp.argmax(jnp.stack(scores), 0) == 0)))
figure, axis = plt.subplots(figsize=(5, 2.6))
axis.plot(at, right, "o-")
axis.axhline(25, linestyle=":", label="chance")
axis.set(xlabel="t", ylabel="own caption preferred, %", ylim=(0, 105))
axis.legend()
figure.tight_layout()

# %% [markdown]
# The gradient of that score is taken through the CLIP alone, and `samplers.estimate` adds it to `eps`. GLIDE's own
# comparison found classifier-free guidance better (section 5.1). What this small CLIP changes under every sampler is
# in [a table of its own](../results/clip-guidance.md).
