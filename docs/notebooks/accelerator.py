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
#   language_info:
#     name: python
#     pygments_lexer: ipython3
# ---

# %% [markdown]
# # On a GPU or a TPU
#
# [![Open Colab](../_static/colab.svg)](https://colab.research.google.com/)
#
# This page is the only notebook that is not executed when the site is built: the site is built on a CPU. It has
# therefore no output, and nothing here is measured. To run it, download
# {download}`the notebook <../_build/accelerator.ipynb>`, open Colab, upload the file there, and choose a GPU or a TPU
# under *Runtime, Change runtime type*. Any other Jupyter on a machine with an accelerator will do.
#
# ## Install
#
# JAX for the accelerator is an extra of its own. Install one of the two, and restart the runtime if Jupyter asks for it.

# %%
# %pip install --quiet "glide-jax[cuda]"
# # %pip install --quiet "glide-jax[tpu]"

# %% [markdown]
# `doctor` lists the devices that JAX sees, and says which memory a model takes there.

# %%
# !glide-jax doctor --model shapes

# %% [markdown]
# ## Draw
#
# `device="gpu"` refuses to run on anything else; without it the best device is taken. The first call compiles, the second
# one does not, whatever seed, scale or number of steps it has.

# %%
import time

import jax

import glide_jax

print(jax.devices())
glide = glide_jax.load("shapes", dtype="bfloat16")
prompts = ["a large red circle on a white background", "three green stars on a black background"]
for steps in (50, 50, 100):
    start = time.perf_counter()
    pictures = glide(prompts, n=8, steps=steps, batch_size=16)
    print(f"{len(pictures)} pictures in {steps} steps: {time.perf_counter() - start:.1f} s")
pictures[0].image

# %% [markdown]
# ## The released GLIDE
#
# The released networks have 385 M and 398 M parameters. `download` fetches 3 GB and goes on where it was cut;
# `import` makes a model directory of them.

# %%
# !glide-jax download base upsample
# !glide-jax import base upsample --out released

# %%
released = glide_jax.load("released", dtype="bfloat16")
size = released.largest_batch()
[picture] = released(
    "an oil painting of a corgi", preset="balanced", seed=0, batch_size=min(size, 4)
)
picture.image

# %% [markdown]
# Where memory is short, `load(weights="int8")` keeps a byte for each weight and `load(offload=True)` only the stage that
# draws.
#
# ## Train
#
# The same commands as on a CPU, with the sizes that need an accelerator. On several devices `mesh.data` and `mesh.fsdp`
# spread the run; [Pods](../pods.md) has many hosts.

# %%
# !pip install --quiet "glide-jax[data]"
# !glide-jax train --config shapes_64 --workdir run --config.train.num_steps=200 --config.log.sample_every_steps=100

# %% [markdown]
# ## Measure
#
# `bench` compares the outputs before it times anything, and writes what it found with the versions and the device.

# %%
# !glide-jax bench --model shapes --device gpu --what limits,evaluation --dtype bfloat16 --out bench
