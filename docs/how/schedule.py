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
# # The schedule
#
# A diffusion adds noise to a picture $x_0$ in $T = 1000$ steps, until nothing of it is left. One step keeps
# $\sqrt{1-\beta_t}$ of the picture and adds noise of variance $\beta_t$ (Ho et al., 2020). All steps up to $t$
# together are one step, with $\bar\alpha_t = \prod_{s \le t} (1 - \beta_s)$:
#
# $$x_t = \sqrt{\bar\alpha_t}\,x_0 + \sqrt{1 - \bar\alpha_t}\,\epsilon, \qquad \epsilon \sim \mathcal{N}(0, 1)$$
#
# In the code this line is `glide_jax.diffusion.samplers.q_sample`, and the tables are a
# `glide_jax.diffusion.schedules.Schedule`. They are computed in float64 and cast once: near $t = 0$ a float32
# $\bar\alpha_t$ would lose up to 6e-4 of $\sqrt{1 - \bar\alpha_t}$.

# %%
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

from glide_jax.data.readers import shapes
from glide_jax.diffusion import samplers, schedules

alpha_bars = {name: schedules.alpha_bar(name) for name in ("squaredcos_cap_v2", "linear")}
alpha_bars["squaredcos_cap_v2"].dtype

# %% [markdown]
# GLIDE's base uses the cosine schedule (Nichol & Dhariwal, 2021), its upsampler the linear one. What counts is the
# signal-to-noise ratio $\bar\alpha_t / (1 - \bar\alpha_t)$: an upsampler has the small picture before it, so it can
# spend its steps at other ratios.

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(8, 2.8))
for name, table in alpha_bars.items():
    left.plot(table, label=name)
    right.plot(np.log(table / (1 - table)), label=name)
left.set(xlabel="t", ylabel="alpha_bar")
right.set(xlabel="t", ylabel="log_snr")
left.legend()
figure.tight_layout()

# %% [markdown]
# The same picture at seven timesteps of each schedule:

# %%
scene = shapes.sample_scene(np.random.default_rng(4))
x_0 = jnp.asarray(shapes.render(scene, 64) / 127.5 - 1, jnp.float32)
at = jnp.array([0, 150, 300, 450, 600, 800, 999])
noise = jax.random.normal(jax.random.key(0), (len(at), 64, 64, 3))
figure, axes = plt.subplots(2, len(at), figsize=(9, 2.9))
for line, (name, table) in zip(axes, alpha_bars.items(), strict=True):
    s = schedules.from_alpha_bar(table).at(at)
    noisy = samplers.q_sample(s, jnp.broadcast_to(x_0, noise.shape), noise)
    for axis, pixels, t in zip(line, np.asarray(noisy), at, strict=True):
        axis.imshow(np.clip((pixels + 1) / 2, 0, 1))
        axis.set_title(f"t = {t}", fontsize=8)
        axis.axis("off")
    line[0].text(-6, 32, name, ha="right", va="center", fontsize=8)
figure.tight_layout()

# %% [markdown]
# ## Fewer steps
#
# Sampling need not visit every timestep. A respaced schedule keeps some $\bar\alpha_t$ and computes the $\beta$ that
# lie between them; the network still sees the timesteps it was trained on (`Schedule.t`). The tables are padded to
# one length, so another number of steps is other data for the same compiled program.

# %%
for spec in (27, "10,10,10,10,10", "ddim25"):
    kept = schedules.respace(spec)
    print(f"{spec!r:>18}: {len(kept)} steps, {kept[:4]} ... {kept[-2:]}")
