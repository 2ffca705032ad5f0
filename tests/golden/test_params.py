"""The released models' tensors by name and shape, and that import and export are inverses."""

import functools
import math
import zlib

import numpy as np

from glide_jax import trees
from glide_jax.checkpoints.torch import names
from glide_jax.networks import zoo
from tests.golden import weights
from tests.golden.compare import EXACT, Entry, check, entry
from tests.golden.files import Arrays, read_json


@functools.cache
def checksum(name: str, shape: tuple[int, ...], salt: str) -> int:
    return zlib.crc32(weights.weight(name, shape, salt).tobytes())


def read(goldens, case) -> tuple[dict, Arrays]:
    """The list, and its numbers as arrays."""
    listed = read_json(goldens / "params", case)
    stored = {"total": np.array(listed["total_params"]), "tensors": np.array(listed["n_tensors"])}
    for name, shape, _, crc32 in listed["params"]:
        stored[f"{name}/shape"] = np.array(shape)
        stored[f"{name}/crc32"] = np.array(crc32)
    return listed, stored


def shapes_of(case: str, listed: dict) -> tuple[dict, object]:
    """The parameter tree of the model in the zoo, and the importer's table for it."""
    if case.startswith("clip_"):
        side = case.removeprefix("clip_")
        return weights.clip_shapes(weights.clip_config(listed["options"]))[side], _CLIP
    return weights.glide_shapes(weights.model_config(listed["options"])), _GLIDE


_CLIP, _GLIDE = names.clip_entry, names.glide_entry


def entries(listed: dict, case: str) -> list[Entry]:
    shapes, entry_of = shapes_of(case, listed)
    flat = trees.flatten(shapes)
    found = []
    for path, name, layout in names.entries(shapes, entry_of):
        shape = names.to_torch(np.empty(flat[path].shape, np.bool_), layout).shape
        found.append(entry(np.array(shape), (f"{name}/shape", EXACT)))
        crc32 = checksum(name, shape, listed["salt"])
        found.append(entry(np.array(crc32), (f"{name}/crc32", EXACT)))
    total = sum(math.prod(leaf.shape) for leaf in flat.values())
    return [
        *found,
        entry(np.array(total), ("total", EXACT)),
        entry(np.array(len(flat)), ("tensors", EXACT)),
    ]


def test_every_tensor_of_a_released_model_has_its_place(goldens, params_case):
    listed, stored = read(goldens, params_case)
    assert {row[2] for row in listed["params"]} == {"float32"}
    check(stored, entries(listed, params_case), "params")


def test_the_zoo_has_the_released_sizes(goldens, params_case):
    listed, _ = read(goldens, params_case)
    if params_case.startswith("clip_"):
        assert weights.clip_config(listed["options"]) == zoo.ClipConfig()
    elif (name := params_case.replace("_", "-")) in zoo.MODELS:
        assert weights.model_config(listed["options"]) == zoo.named(name)


def test_export_undoes_import(goldens, tiny_case):
    config = read_json(goldens / "tiny", "configs")[tiny_case]
    state = weights.RuleState(config["params"], config["salt"])
    shapes = weights.glide_shapes(weights.model_config(config["create_model_kwargs"]))
    exported = names.export_params(names.import_params(state, shapes))
    assert exported.keys() == set(state)
    for name, _, dtype, crc32 in config["params"]:
        assert exported[name].dtype == dtype
        assert zlib.crc32(exported[name].tobytes()) == crc32, name
