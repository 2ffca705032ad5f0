"""The parts of our networks as calls that can be timed, on random or given weights."""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from glide_jax import compiling, types
from glide_jax.model_dir import schema
from glide_jax.networks import initial, ways, zoo
from glide_jax.networks.cpu.choice import prepared
from glide_jax.sampling import cascade, settings, stages
from glide_jax.sampling.running import Running
from glide_jax.scale.gradients import noise
from glide_jax.training import flops
from glide_jax.types import Cond, Params

SEED = 0


class Inputs(NamedTuple):
    """One batch as every side gets it, numpy: tokens, x_t and t, and the small picture."""

    tokens: Any
    mask: Any
    x_t: Any
    t: Any
    low_res: Any  # None of a base


@dataclasses.dataclass(frozen=True)
class Part:
    """A network with its weights: the host's, and those it draws with."""

    name: str
    config: schema.StageConfig
    host: Params
    params: Params
    dtype: str

    @functools.cached_property
    def stage(self) -> types.Stage:
        """The network as functions."""
        return stages.stage(self.config, self.dtype)

    def network(self, params: Params, x_t: Any, t: Any, cond: Cond) -> types.Prediction:
        """One evaluation as a function of the weights, too.

        Args:
            params: plain, or prepared for drawing.
            x_t: (b, h, w, c) float32.
            t: (b,) steps of the trained diffusion.
            cond: the encoded text, and an upsampler's small pictures.
        """
        return self.stage.network(params)(x_t, t, cond)


def random_params(config: zoo.ModelConfig) -> Params:
    """Weights under which activations keep their size, none of them zero; numpy float32.

    A fresh network ends in zeros, so that two sides' outputs would agree whatever the rest.
    """
    fan_in = lambda shape: math.prod(shape[:-1]) if len(shape) > 1 else 400
    return noise(initial.shapes(config), lambda shape: fan_in(shape) ** -0.5)


def part(
    name: str, config: schema.StageConfig, host: Params, dtype: str, convolutions: str
) -> Part:
    """A network ready to be timed.

    Args:
        name: "base" or "upsample".
        config: the stage's.
        host: parameters with plain kernels.
        dtype: the compute dtype.
        convolutions: the algorithm, see `choice.prepared`.
    """
    params = jax.device_put(prepared(config.model, host, convolutions, dtype))
    return Part(name, config, host, params, dtype)


def inputs(config: zoo.ModelConfig, batch: int) -> Inputs:
    """Prompts of a dozen words, and noise."""
    rng = np.random.default_rng(SEED)
    draw = lambda side: np.float32(rng.standard_normal((batch, side, side, 3)))
    tokens = np.int32(rng.integers(0, config.vocab_size, (batch, config.text_context)))
    mask = np.broadcast_to(np.arange(config.text_context) < 12, tokens.shape).copy()
    t = np.int32(rng.integers(100, 900, batch))
    low_res = np.clip(draw(config.image_size // 4), -1, 1) if config.upsampler else None
    return Inputs(tokens, mask, draw(config.image_size), t, low_res)


def _jit(function: Callable, way: ways.Way = ways.DEFAULT) -> Callable:
    # A function of its own for every way: JAX would not trace the same one again.
    fresh = lambda *args: function(*args)
    options = (compiling.options() or {}) | dict(way.flags)
    return jax.jit(fresh, compiler_options=options or None)


def encode(part: Part, x: Inputs) -> tuple[Callable[[], Any], float]:
    """The text encoder on a batch of prompts, and its FLOPs."""
    call = _jit(part.stage.encode)
    args = (part.params, *jax.device_put((x.tokens, x.mask)))
    return lambda: jax.block_until_ready(call(*args)), flops.count(part.stage.encode, *args)


def evaluate(part: Part, x: Inputs) -> tuple[Callable[[], Any], float]:
    """One evaluation whose text is encoded already: (eps, var_frac), and FLOPs of the plain one."""
    program, args, number = evaluation(part, x)
    return lambda: jax.block_until_ready(program(*args)), number


def evaluation_flops(part: Part, x: Inputs) -> float:
    """FLOPs of the plain network's `evaluate`; compiles nothing."""
    text = jax.eval_shape(part.stage.encode, part.host, x.tokens, x.mask)
    return flops.count(part.network, part.host, x.x_t, x.t, Cond(text, low_res=x.low_res))


def evaluation(part: Part, x: Inputs, way: ways.Way = ways.DEFAULT) -> tuple[Any, tuple, float]:
    """The compiled program of `evaluate`, what it takes, and its FLOPs.

    Args:
        part: the network.
        x: the batch.
        way: the way to compute; the text is encoded by the default one.
    """
    x_t, t, low_res = jax.device_put((x.x_t, x.t, x.low_res))
    text = _jit(part.stage.encode)(part.params, *jax.device_put((x.tokens, x.mask)))
    inputs = (x_t, t, Cond(text, low_res=low_res))
    with ways.using(way):
        program = _jit(part.network, way).lower(part.params, *inputs).compile()
    return program, (part.params, *inputs), evaluation_flops(part, x)


def gradient(part: Part, x: Inputs) -> tuple[Callable[[], Any], float]:
    """Loss and gradient of a plain objective, text encoder included: three times the loss's FLOPs.

    The objective is the mean squared eps and a thousandth of the mean squared var_frac, which both
    sides can compute, without dropout. Kernels are plain, as in training.
    """
    program, args, number = gradient_program(part, x)
    return lambda: jax.block_until_ready(program(*args)), number


def gradient_program(
    part: Part, x: Inputs, way: ways.Way = ways.DEFAULT
) -> tuple[Any, tuple, float]:
    """The compiled program of `gradient`, what it takes, and its FLOPs.

    Args:
        part: the network.
        x: the batch.
        way: the way to compute.
    """

    def loss_fn(params: Params, x: Inputs) -> jax.Array:
        cond = Cond(part.stage.encode(params, x.tokens, x.mask), low_res=x.low_res)
        out = part.stage.network(params)(x.x_t, x.t, cond)
        return jnp.square(out.eps).mean() + 1e-3 * jnp.square(out.var_frac).mean()

    args = jax.device_put((part.host, x))
    with ways.using(way):
        program = _jit(jax.value_and_grad(loss_fn), way).lower(*args).compile()
    return program, args, 3.0 * flops.count(loss_fn, *args)


def half_guided(part: Part, sampling: settings.StageSettings) -> settings.StageSettings:
    """The same chain, guided in the middle half of its steps alone."""
    schedule = cascade.schedule_of(part.stage, sampling)
    t, n = np.asarray(schedule.t), int(schedule.num_steps)
    low, high = t[n // 4], t[n // 4 + n // 2 - 1]
    return dataclasses.replace(sampling, guidance_interval=(float(low), float(high)))


def draw(part: Part, x: Inputs, sampling: settings.StageSettings) -> tuple[Callable[[], Any], int]:
    """Whole chains of a batch from encoded text, and how many steps they have.

    Args:
        part: the network.
        x: the batch.
        sampling: the sampler's settings.
    """
    stage = part.stage
    schedule = cascade.schedule_of(stage, sampling)
    keys = cascade.image_keys(SEED, np.arange(len(x.x_t)), 0)
    text = cascade.encode_text(stage.encode, part.params, x.tokens, x.mask)
    null = None
    if sampling.guidance_scale != 1.0 and not stage.guidance:
        empty = np.zeros_like(x.tokens[:1]), np.zeros_like(x.mask[:1])
        null = cascade.encode_text(stage.encode, part.params, *empty)
    cond = Cond(text, low_res=None if x.low_res is None else jnp.asarray(x.low_res))
    inputs = cascade.Inputs(part.params, keys, cond, null)
    run = lambda: Running(stage, inputs, sampling).finish().block_until_ready()
    return run, int(schedule.num_steps)
