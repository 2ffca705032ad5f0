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
# # A PyTorch checkpoint, layer by layer
#
# `glide-jax import base upsample` turns the released checkpoints into a model directory. This page does the same with a
# tiny network, step by step: a file in PyTorch's format is written and read without PyTorch, its tensors become
# parameters, and the output of each layer is compared with what PyTorch put out.
#
# The released files have 1.5 GB each, so a small network stands for them here. It has the reference's names and
# shapes, and weights made by a rule. PyTorch ran it once; what came out of each block is kept in `tests/golden` of the
# repository, which this page needs.

# %%
import pathlib
import sys
import tempfile

import jax
import matplotlib.pyplot as plt
import numpy as np

import glide_jax
from glide_jax.checkpoints.torch import names, reader, writer
from glide_jax.model_dir import importing

root = pathlib.Path(glide_jax.__file__).parents[1]
sys.path.insert(0, str(root))
from tests.golden import taps, weights
from tests.golden.files import read_json, read_npz

case = "t01_like_released"
golden = root / "tests" / "golden" / "data" / "tiny"
described = read_json(golden, "configs")[case]
state = weights.RuleState(described["params"], described["salt"])
print(f"{len(state)} tensors, {sum(np.prod(shape) for shape in state.shapes.values()):,} numbers")

# %% [markdown]
# ## A file without PyTorch
#
# PyTorch's files are ZIP archives of raw numbers beside a pickle, and a pickle may run any code when it is loaded. The
# reader here executes none: it knows the few instructions that describe tensors, and refuses all others.

# %%
path = pathlib.Path(tempfile.mkdtemp()) / "tiny.pt"
writer.write_state_dict(path, dict(state))
read = reader.read_state_dict(path)
print(importing.kind_of(read, path), f"{path.stat().st_size / 1e6:.1f} MB")
{name: read[name].shape for name in list(read)[:4]}

# %% [markdown]
# What runs code is refused in a sentence:

# %%
import pickle
import zipfile


class Harmful:
    def __reduce__(self):
        return (print, ("this would have run",))


harmful = path.with_name("harmful.pt")
with zipfile.ZipFile(path) as good, zipfile.ZipFile(harmful, "w") as bad:
    for entry in good.infolist():
        data = good.read(entry)
        if entry.filename.endswith("data.pkl"):
            data = pickle.dumps({"weight": Harmful()}, protocol=2)
        bad.writestr(entry.filename, data)
try:
    reader.read_state_dict(harmful)
except glide_jax.InputError as error:
    print(str(error).removeprefix(str(harmful.parent)))

# %% [markdown]
# ## Names and layouts
#
# Each of our parameters has one tensor of the file. Kernels of convolutions change from (out, in, h, w) to
# (h, w, in, out), dense ones are transposed, and nothing else happens to a number.

# %%
config = weights.model_config(described["create_model_kwargs"])
shapes = weights.glide_shapes(config)
params = names.import_params(read, shapes)
flat = {
    jax.tree_util.keystr(p, simple=True, separator="/"): a
    for p, a in jax.tree.leaves_with_path(params)
}
for k, (ours, theirs, layout) in enumerate(names.entries(params)):
    if k % 40 == 0:
        print(f"{ours:36} {flat[ours].shape!s:18} {theirs:44} {read[theirs].shape!s:18} {layout}")
back = names.export_params(params)
print(
    "and back:",
    all(np.array_equal(back[name], read[name]) for name in back),
    len(back) == len(read),
)

# %% [markdown]
# ## Layer by layer
#
# Both networks get the same noisy pictures, timesteps and prompts. The error of a block is the largest difference to
# PyTorch's output, divided by the size (the root of the mean square) of that output.

# %%
network = weights.Glide(
    weights.zoo.glide_model(config), jax.tree.map(jax.numpy.asarray, params), config
)
stored = read_npz(golden, case)
_, entries = taps.run(network, stored, case)
layers = {e.keys[0].removeprefix("tap/"): e for e in entries if e.keys[0].startswith("tap/")}
errors = {
    name: np.abs(e.ours - stored[e.keys[0]]).max()
    / np.sqrt(np.mean(stored[e.keys[0]].astype(float) ** 2))
    for name, e in layers.items()
}
figure, axis = plt.subplots(figsize=(6, 0.24 * len(errors) + 0.8))
axis.barh(list(errors), list(errors.values()))
axis.invert_yaxis()
axis.axvline(
    np.finfo(np.float32).eps, color="black", linestyle="--", label="one rounding of float32"
)
axis.set_xscale("log")
axis.set_xlabel("largest error by the size of the output")
axis.legend(fontsize=7)
figure.tight_layout()

# %% [markdown]
# Errors stay at a few roundings, and grow slowly with depth. The same comparison of twelve networks that use every
# option, and of the released sizes, is part of the tests; [Parity](../parity.md) has its table.

# %%
assert max(errors.values()) < 1e-4
max(errors, key=errors.get), float(max(errors.values()))
