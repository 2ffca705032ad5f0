"""An extractor: a name, the sum of its weights, and a function of 8-bit pictures."""

import dataclasses
import functools
import itertools
import operator
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Float, UInt8

from glide_jax import compiling
from glide_jax.types import Params

FID = "inception-2015-12-05"  # the one extractor whose Fréchet distance is called FID


class Outputs(NamedTuple):
    """An extractor's features of a batch; those that it lacks are None."""

    pool: Float[np.ndarray, "b d"]  # for Fréchet and kernel distance, precision and recall
    spatial: Float[np.ndarray, "b s"] | None = None  # for sFID: the places of things in a picture
    logits: Float[np.ndarray, "b c"] | None = None  # for the Inception Score


@dataclasses.dataclass(frozen=True)
class Features:
    """An extractor.

    Attributes:
        name: goes into every result; only `FID` makes a Fréchet distance an FID.
        sha256: the sum of the file its weights came from.
        image_size: pixels a side that it looks at; pictures are resized to it inside.
        params: its weights.
        apply: (params, uint8 pictures) -> (pool, spatial or None, logits or None), traceable.
    """

    name: str
    sha256: str
    image_size: int
    params: Params
    apply: Callable[[Params, Any], Any]

    def __call__(self, images: UInt8[np.ndarray, "b h w 3"]) -> Outputs:
        """Features of a batch; each batch size and picture size is compiled once."""
        return Outputs(*jax.device_get(_program(self.apply)(self.params, images)))

    @property
    def is_fid(self) -> bool:
        """Whether its Fréchet distance may be called FID."""
        return self.name == FID


@functools.lru_cache(maxsize=8)
def _program(apply: Callable[..., Any]) -> Callable[..., Any]:
    return jax.jit(apply, compiler_options=compiling.options())


def extract(
    features: Features, images: Iterable[UInt8[np.ndarray, "h w 3"]], *, batch_size: int = 32
) -> Iterator[Outputs]:
    """Features of any number of pictures of one size, batch by batch, over this host's devices.

    The last batch is padded, so nothing is compiled for it; its padding is cut off again.

    Args:
        features: the extractor.
        images: read one by one, so that a set need not fit into memory.
        batch_size: at once; rounded up to what the devices share evenly.
    """
    devices = jax.local_devices()
    size = -(-batch_size // len(devices)) * len(devices)
    rows = NamedSharding(Mesh(np.array(devices), ("data",)), PartitionSpec("data"))
    everywhere = NamedSharding(rows.mesh, PartitionSpec())
    placed = dataclasses.replace(features, params=jax.device_put(features.params, everywhere))
    waiting = iter(images)
    while batch := list(itertools.islice(waiting, size)):
        padded = np.stack(batch + batch[-1:] * (size - len(batch)))
        outputs = placed(jax.device_put(padded, rows))
        yield jax.tree.map(operator.itemgetter(slice(len(batch))), outputs)


def collect(batches: Iterable[Outputs]) -> Outputs:
    """All batches as one, on the host."""
    return jax.tree.map(lambda *parts: np.concatenate(parts), *batches)
