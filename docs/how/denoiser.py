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
# # The denoiser and its guidance
#
# A UNet predicts the noise in $x_t$. It is told the timestep, and it reads the prompt in two ways (GLIDE, section
# 3.1): the last token's features are added to the embedding of the timestep, and the features of all tokens are
# keys and values of every attention layer, beside those of the picture itself.
#
# Text is encoded once for each prompt, not once for each step: `encode` returns a `TextCond`, which holds the pooled
# vector and the keys and values by layer. `docs/decisions` says why.

# %%
import collections

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import glide_jax
from glide_jax.diffusion import schedules

glide = glide_jax.load("shapes")
loaded = glide.loaded
stage, params = loaded.stages["base"], loaded.params["base"]
tokens, mask = loaded.tokenizer(["two blue stars on a black background"], stage.context)
text = stage.encode(params, jnp.asarray(tokens), jnp.asarray(mask))
{"pooled": text.pooled.shape, **{name: kv.shape for name, kv in text.keys_values.items()}}

# %% [markdown]
# Where the parameters are:

# %%
sizes = collections.Counter()
for path, leaf in jax.tree_util.tree_flatten_with_path(params)[0]:
    names = [getattr(key, "key", "") for key in path]
    sizes["text" if "text" in names[:2] else names[-2].split("_")[0]] += np.size(leaf)
figure, axis = plt.subplots(figsize=(6, 2.6))
axis.barh(list(sizes), [size / 1e3 for size in sizes.values()])
axis.set_xlabel("thousands of parameters")
figure.tight_layout()

# %% [markdown]
# ## The learned variance
#
# A step back from $x_t$ is a Gaussian. Its mean follows from `eps`; its variance lies between two bounds,
# $\beta_t$ and the posterior's $\tilde\beta_t$, and the network says where, a number $v$ for each pixel and channel
# (Nichol & Dhariwal, 2021, equation 15):
#
# $$\log \Sigma = v \log \beta_t + (1 - v) \log \tilde\beta_t$$
#
# The bounds differ only in the cleanest steps, and there it matters: they decide most of the likelihood. In the
# code $v$ is `Prediction.var_frac`, and `samplers.p_mean_variance` computes the Gaussian.

# %%
tables = schedules.tables(stage.alpha_bar)
figure, axis = plt.subplots(figsize=(5, 2.8))
axis.plot(tables["log_var_max"], label="log of beta")
axis.plot(tables["log_var_min"], "--", label="log of the posterior's variance")
axis.set_xscale("symlog", linthresh=10)
axis.set_xlabel("t")
axis.legend()
figure.tight_layout()

# %% [markdown]
# ## Guidance without a classifier
#
# In training every fifth caption is emptied (GLIDE, section 2.3), so one network knows both $\epsilon(x_t, c)$ and
# $\epsilon(x_t, \varnothing)$. Sampling extrapolates from the second to the first. Both evaluations run in one batch
# (`guidance.together`), and `guidance.extrapolate` is the formula. Everything that is built on it, such as limits in
# time, rescaling and projections, is a function over a denoiser too, so it combines with every sampler.
#
# How strongly the two answers differ depends on the timestep. Where they agree, guidance does nothing and may be
# left out:

# %%
network = stage.network(params)
conds = [glide_jax.types.Cond(text)]
empty = jnp.asarray(loaded.tokenizer([""], stage.context)[0])
conds.append(glide_jax.types.Cond(stage.encode(params, empty, jnp.zeros_like(empty, bool))))
[picture] = glide("two blue stars on a black background", seed=3, steps=20, upsample=False)
x_0 = jnp.asarray(picture.array / 127.5 - 1, jnp.float32)[None]
noise = jax.random.normal(jax.random.key(1), x_0.shape)
at = np.linspace(10, 990, 15).astype(int)
differences = []
for t in at:
    signal = stage.alpha_bar[t]
    x_t = np.sqrt(signal) * x_0 + np.sqrt(1 - signal) * noise
    with_text, without = (network(x_t, jnp.full(1, t), cond).eps for cond in conds)
    differences.append(float(jnp.sqrt(jnp.mean((with_text - without) ** 2))))
figure, axis = plt.subplots(figsize=(5, 2.6))
axis.plot(at, differences, "o-")
axis.set(xlabel="t", ylabel="rms difference in eps")
figure.tight_layout()
