"""The few types every layer agrees on."""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import jax
import numpy as np
from jaxtyping import Array, Float, Int, Key, PyTree, Shaped

Image: TypeAlias = Float[Array, "b h w c"]  # channels last, values in [-1, 1]
Timestep: TypeAlias = Shaped[Array, " b"]  # the network's timesteps: 0 (clean) ... 999 (noise)
Scalar: TypeAlias = Float[Array, ""] | float  # may be traced
Keys: TypeAlias = Key[Array, " b"]  # typed PRNG keys, one per image
Params: TypeAlias = PyTree[Float[Array, "..."]]


class Prediction(NamedTuple):
    """A network's or a denoiser's output at x_t."""

    eps: Image  # the noise in x_t
    var_frac: Image  # reverse log-variance: 0 is the posterior's, 1 is beta's
    renoise: Image | None = None  # the noise that a step puts back, where that is not eps (CFG++)
    memory: Any = ()  # guidance's memory after this evaluation, see `Guide`
    kept: Any = ()  # inner features for later evaluations, see `diffusion.reuse`


class TextCond(NamedTuple):
    """A prompt as a UNet needs it; computed once per prompt, not once per step.

    `keys_values` maps the name of each attention layer to its text keys and values (axis 2).
    """

    pooled: Float[Array, "b e"]
    keys_values: dict[str, Float[Array, "b n 2 heads d"]]


class Cond(NamedTuple):
    """The condition of a network: one pytree whose leaves all lead with b.

    The null condition of classifier-free guidance differs from `cond` in its text only.
    """

    text: TextCond | None = None
    low_res: Image | None = None  # upsamplers: the small image, any size, [-1, 1]
    known: Image | None = None  # inpainting: the picture, [-1, 1]; its unknown pixels do not matter
    mask_known: Float[Array, "b h w 1"] | None = None  # 1 where `known` is to be kept
    # Where the network takes guidance: the scale, None is 1, and the pooled prompt to keep away
    # from without that of the empty one, None is the empty one.
    guidance: Float[Array, " b"] | None = None
    away: Float[Array, "b e"] | None = None


# model.apply with params bound: (x_t, t, cond) and, where features are reused, kept=
Network: TypeAlias = Callable[..., Prediction]
Denoiser: TypeAlias = Callable[[Image, Timestep], Prediction]  # a network with its condition bound
Memory: TypeAlias = Any  # a pytree that guidance hands from step to step; () is nothing
Guide: TypeAlias = Callable[[Memory], Denoiser]  # the guided denoiser, given what it remembers
Score: TypeAlias = Callable[[Image, Timestep], Image]  # grad of log p(y | x_t) in x_t
X0Fn: TypeAlias = Callable[[Image], Image]  # applied to every prediction of x_0
Step: TypeAlias = Callable[[Image, Int[Array, ""], Image], Image]  # (x_t, i, noise) -> x_{t-1}
History: TypeAlias = Any  # a solver's memory of its earlier steps, a pytree; () is nothing
Solver: TypeAlias = Callable[  # a step that remembers: (x_t, i, noise, history)
    [Image, Int[Array, ""], Image, History], tuple[Image, History]
]
Loss: TypeAlias = Callable[[Params, Any, Key[Array, ""]], tuple[Float[Array, ""], dict[str, Array]]]


class Stage(NamedTuple):
    """One model of the cascade as functions of its parameters."""

    network: Callable[[Params], Network]
    encode: Callable[..., TextCond | None]  # (params, tokens, mask)
    alpha_bar: np.ndarray  # the trained diffusion's, float64
    image_size: int
    divisor: int  # heights and widths must be multiples of it
    context: int
    upsampler: bool
    inpaint: bool
    styles: tuple[str, ...] = ()  # see `tokenizers.styles.name_style`
    guidance: tuple[float, ...] = ()  # range of the guidance scale that the network takes
    away: bool = False  # whether that network also takes a negative prompt
    distilled: int = 0  # steps that it was distilled to; 0: it was not
    # The inner features of a picture of (height, width), see `reuse`; None: it keeps none.
    inner: Callable[[int, int], jax.ShapeDtypeStruct] | None = None
