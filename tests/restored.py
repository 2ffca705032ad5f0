"""A train state saved on one mesh and read on another: prints a hash of every array, as JSON.

python -m tests.restored save|load FOLDER FSDP [INDEX COUNT PORT], with XLA_FLAGS for the devices
"""

import dataclasses
import hashlib
import json
import pathlib
import sys
import zlib

import jax
import numpy as np

from glide_jax.checkpoints.store import Store
from glide_jax.mesh.hosts import Place, join, whole
from glide_jax.training.config import read_config
from glide_jax.training.run import prepare_run

MIN_SIZE = 512  # so that a tiny model is split as a large one is
STEP = 7


def filled(like):
    """Numbers that differ in every place of every array, whoever holds which part."""

    def fill(path, leaf):
        rng = np.random.default_rng(zlib.crc32(jax.tree_util.keystr(path).encode()))
        numbers = np.asarray(rng.integers(0, 1000, leaf.shape)).astype(leaf.dtype)
        return jax.make_array_from_callback(leaf.shape, leaf.sharding, lambda part: numbers[part])

    return jax.tree_util.tree_map_with_path(fill, like)


def hashes(state):
    """{path: hash of the values}, and how many arrays are split."""
    leaves = jax.tree_util.tree_leaves_with_path(state)
    split = sum(not leaf.is_fully_replicated for _, leaf in leaves)
    found = {
        jax.tree_util.keystr(path): hashlib.sha256(
            np.ascontiguousarray(whole(leaf)).tobytes()
        ).hexdigest()
        for path, leaf in leaves
    }
    return found, split


def main() -> None:
    """See above."""
    what, folder, fsdp, *more = sys.argv[1:]
    place = None
    if more:
        index, count, port = map(int, more)
        place = Place(f"127.0.0.1:{port}", count, index)
    with join(place, say=lambda text: print(text, file=sys.stderr)) as hosts:
        config = read_config("folder_64:smoke", [f"mesh.fsdp={fsdp}", "data.source=shapes_endless"])
        plan = dataclasses.replace(prepare_run(config).plan, min_size=MIN_SIZE)
        with Store(pathlib.Path(folder), hosts=hosts) as store:
            if what == "save":
                state, meta = filled(plan.state_like), {"data": {"step": STEP}}
                store.save(STEP, state, meta)
                store.wait()
            else:
                restored = store.restore(plan.state_like)
                assert restored is not None
                state, meta = restored
        found, split = hashes(state)
        if hosts.leads:
            print(json.dumps({"hashes": found, "split": split, "data": meta["data"]}))


if __name__ == "__main__":
    main()
