"""EfficientNet-Lite0 (Tan & Le, 2019, without squeeze-and-excitation) and its forerunner.

Batch normalisation is folded into the convolutions by the importer. Both are for inference only.
"""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

SIDE = 224
BLOCKS = (  # repeats, kernel, stride of the first, expansion, channels out
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
MOBILENET_BLOCKS = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (3, 3, 2, 6, 32),
    (4, 3, 2, 6, 64),
    (3, 3, 1, 6, 96),
    (3, 3, 2, 6, 160),
    (1, 3, 1, 6, 320),
)
_SPATIAL_CHANNELS = 40  # the first of 320: 7 x 7 x 40 numbers, about as many as pooled


class Depthwise(nn.Module):
    """A convolution of each channel by itself, with a bias.

    Written as a sum of shifted pictures, which XLA fuses: on a CPU its own grouped convolutions
    take a hundred times as long.
    """

    kernel: int
    stride: int
    even: bool = False  # pads both sides equally, like PyTorch; else "SAME", like TensorFlow

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Array:
        k, stride, (height, width, channels) = self.kernel, self.stride, x.shape[1:]
        kernel = self.param("kernel", nn.initializers.lecun_normal(), (k, k, 1, channels))
        bias = self.param("bias", nn.initializers.zeros, (channels,))
        sides = [-(-n // stride) for n in (height, width)]
        missing = [
            max(0, (m - 1) * stride + k - n) for m, n in zip(sides, x.shape[1:3], strict=True)
        ]
        pads = [(k // 2, k // 2) if self.even else (n // 2, n - n // 2) for n in missing]
        x = jnp.pad(x, ((0, 0), *pads, (0, 0)))
        reach = [(m - 1) * stride + 1 for m in sides]
        shifted = lambda i, j: x[:, i : i + reach[0] : stride, j : j + reach[1] : stride]
        terms = [shifted(i, j) * kernel[i, j] for i in range(k) for j in range(k)]
        return sum(terms[1:], terms[0]) + bias


class EfficientNetLite0(nn.Module):
    """Pictures (b, 224, 224, 3) in [-1, 1] to pooled and spatial features and ImageNet logits.

    Args:
        narrow: divides every width, for tests.
        blocks: rows as in `BLOCKS`.
        even: how strided convolutions pad; see `Depthwise`.
    """

    narrow: int = 1
    blocks: tuple[tuple[int, ...], ...] = BLOCKS
    even: bool = False

    @nn.compact
    def __call__(self, x: Float[Array, "b h w 3"]) -> tuple[Array, Array, Array]:
        def conv(x, name, width, kernel=1, stride=1):
            pads = (kernel // 2,) * 2 if self.even else "SAME"
            layer = nn.Conv(width, (kernel, kernel), stride, pads, precision="highest", name=name)
            return layer(x)

        x = nn.relu6(conv(x, "_conv_stem", 32 // self.narrow, 3, 2))
        number = 0
        for repeats, kernel, first_stride, expansion, width in self.blocks:
            for repeat in range(repeats):
                name, stride = f"_blocks.{number}", 1 if repeat else first_stride
                inner, h = x.shape[-1] * expansion, x
                if expansion > 1:
                    h = nn.relu6(conv(h, f"{name}._expand_conv", inner))
                deep = Depthwise(kernel, stride, self.even, name=f"{name}._depthwise_conv")
                h = nn.relu6(deep(h))
                h = conv(h, f"{name}._project_conv", width // self.narrow)
                x = h + x if h.shape == x.shape else h
                number += 1
        spatial = x[..., : _SPATIAL_CHANNELS // self.narrow].reshape(len(x), -1)
        pool = nn.relu6(conv(x, "_conv_head", 1280 // self.narrow)).mean(axis=(1, 2))
        logits = nn.Dense(1000, precision="highest", name="_fc")(pool)
        return pool, spatial, logits.astype(jnp.float32)


class MobileNetV2(EfficientNetLite0):
    """MobileNetV2 (Sandler et al., 2018) as torchvision has it; pictures are normalised before."""

    blocks: tuple[tuple[int, ...], ...] = MOBILENET_BLOCKS
    even: bool = True
