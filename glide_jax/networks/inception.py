"""Inception-v3 as FID uses it: the network of 2015-12-05, for inference only.

Its convolutions have a bias in place of batch normalisation, which the importer folds into them.
It differs from torchvision's in three ways, all of which change the distance: average pools leave
the padding out of the count, the last block pools by maximum, and there are 1008 classes.
"""

from collections.abc import Callable

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

SIDE = 299
_SPATIAL_CHANNELS = 7  # the first of 192: 17 x 17 x 7 numbers, about the 2048 pooled

Conv = Callable[..., Float[Array, "b h w c"]]


class InceptionV3(nn.Module):
    """Pictures (b, 299, 299, 3), (x - 128) / 128, to pooled and spatial features and logits.

    Args:
        narrow: divides every width, for tests.
    """

    narrow: int = 1

    @nn.compact
    def __call__(self, x: Float[Array, "b h w 3"]) -> tuple[Array, Array, Array]:
        def conv(x, name, width, kernel=(1, 1), stride=1, padding="SAME"):
            layer = nn.Conv(
                width // self.narrow, kernel, stride, padding, precision="highest", name=name
            )
            return nn.relu(layer(x))

        x = conv(x, "Conv2d_1a_3x3", 32, (3, 3), 2, "VALID")
        x = conv(x, "Conv2d_2a_3x3", 32, (3, 3), 1, "VALID")
        x = _shrink(conv(x, "Conv2d_2b_3x3", 64, (3, 3)))
        x = conv(x, "Conv2d_3b_1x1", 80)
        x = _shrink(conv(x, "Conv2d_4a_3x3", 192, (3, 3), 1, "VALID"))
        for name, pooled in (("Mixed_5b", 32), ("Mixed_5c", 64), ("Mixed_5d", 64)):
            x = _block_35(conv, x, name, pooled)
        x = _reduce_35(conv, x, "Mixed_6a")
        spatial = x
        for name, width in (
            ("Mixed_6b", 128),
            ("Mixed_6c", 160),
            ("Mixed_6d", 160),
            ("Mixed_6e", 192),
        ):
            x, first = _block_17(conv, x, name, width)
            spatial = first if name == "Mixed_6d" else spatial
        x = _reduce_17(conv, x, "Mixed_7a")
        x = _block_8(conv, x, "Mixed_7b", _average)
        x = _block_8(conv, x, "Mixed_7c", _maximum)
        pool = x.mean(axis=(1, 2))
        # The original score multiplies by the last matrix and leaves its bias out.
        logits = nn.Dense(1008 // self.narrow, use_bias=False, precision="highest", name="fc")(pool)
        spatial = spatial[..., :_SPATIAL_CHANNELS].reshape(len(x), -1)
        return pool, spatial, logits


def _shrink(x: Array) -> Array:
    return nn.max_pool(x, (3, 3), (2, 2), "VALID")


def _average(x: Array) -> Array:
    return nn.avg_pool(x, (3, 3), (1, 1), "SAME", count_include_pad=False)


def _maximum(x: Array) -> Array:
    return nn.max_pool(x, (3, 3), (1, 1), "SAME")


def _join(*parts: Array) -> Array:
    return jnp.concatenate(parts, axis=-1)


def _block_35(conv: Conv, x: Array, name: str, pooled: int) -> Array:
    """At 35 x 35 pixels: 1 x 1, 5 x 5, twice 3 x 3, and a pool."""
    five = conv(conv(x, f"{name}.branch5x5_1", 48), f"{name}.branch5x5_2", 64, (5, 5))
    three = conv(x, f"{name}.branch3x3dbl_1", 64)
    three = conv(three, f"{name}.branch3x3dbl_2", 96, (3, 3))
    three = conv(three, f"{name}.branch3x3dbl_3", 96, (3, 3))
    return _join(
        conv(x, f"{name}.branch1x1", 64),
        five,
        three,
        conv(_average(x), f"{name}.branch_pool", pooled),
    )


def _reduce_35(conv: Conv, x: Array, name: str) -> Array:
    three = conv(x, f"{name}.branch3x3dbl_1", 64)
    three = conv(three, f"{name}.branch3x3dbl_2", 96, (3, 3))
    three = conv(three, f"{name}.branch3x3dbl_3", 96, (3, 3), 2, "VALID")
    return _join(conv(x, f"{name}.branch3x3", 384, (3, 3), 2, "VALID"), three, _shrink(x))


def _block_17(conv: Conv, x: Array, name: str, width: int) -> tuple[Array, Array]:
    """At 17 x 17: 1 x 1, 7 x 7 in two strips, that twice, and a pool. Also the 1 x 1 alone."""
    first = conv(x, f"{name}.branch1x1", 192)
    seven = conv(x, f"{name}.branch7x7_1", width)
    seven = conv(seven, f"{name}.branch7x7_2", width, (1, 7))
    seven = conv(seven, f"{name}.branch7x7_3", 192, (7, 1))
    twice = conv(x, f"{name}.branch7x7dbl_1", width)
    twice = conv(twice, f"{name}.branch7x7dbl_2", width, (7, 1))
    twice = conv(twice, f"{name}.branch7x7dbl_3", width, (1, 7))
    twice = conv(twice, f"{name}.branch7x7dbl_4", width, (7, 1))
    twice = conv(twice, f"{name}.branch7x7dbl_5", 192, (1, 7))
    pool = conv(_average(x), f"{name}.branch_pool", 192)
    return _join(first, seven, twice, pool), first


def _reduce_17(conv: Conv, x: Array, name: str) -> Array:
    three = conv(x, f"{name}.branch3x3_1", 192)
    three = conv(three, f"{name}.branch3x3_2", 320, (3, 3), 2, "VALID")
    seven = conv(x, f"{name}.branch7x7x3_1", 192)
    seven = conv(seven, f"{name}.branch7x7x3_2", 192, (1, 7))
    seven = conv(seven, f"{name}.branch7x7x3_3", 192, (7, 1))
    seven = conv(seven, f"{name}.branch7x7x3_4", 192, (3, 3), 2, "VALID")
    return _join(three, seven, _shrink(x))


def _block_8(conv: Conv, x: Array, name: str, pool: Callable[[Array], Array]) -> Array:
    """At 8 x 8: each 3 x 3 ends in two strips side by side."""
    strips = lambda x, stem: _join(
        conv(x, f"{name}.{stem}a", 384, (1, 3)), conv(x, f"{name}.{stem}b", 384, (3, 1))
    )
    three = strips(conv(x, f"{name}.branch3x3_1", 384), "branch3x3_2")
    twice = conv(x, f"{name}.branch3x3dbl_1", 448)
    twice = strips(conv(twice, f"{name}.branch3x3dbl_2", 384, (3, 3)), "branch3x3dbl_3")
    pooled = conv(pool(x), f"{name}.branch_pool", 192)
    return _join(conv(x, f"{name}.branch1x1", 320), three, twice, pooled)
