"""The cascade: stages as compiled programs, run a few steps at a time."""

import functools
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from glide_jax import compiling
from glide_jax.diffusion import constraints, guidance, samplers, schedules
from glide_jax.diffusion.schedules import Schedule
from glide_jax.types import Cond, Image, Keys, Network, Params, Scalar, TextCond

# Told the steps done, the steps in all and x_t on its way; called often enough for a progress bar.
Progress = Callable[[int, int, Image], None]
_SECONDS_BETWEEN_REPORTS = 0.5


class Stage(NamedTuple):
    """One model of the cascade as functions of its parameters."""

    network: Callable[[Params], Network]
    encode: Callable[..., TextCond | None]  # (params, tokens, mask)
    alpha_bar: np.ndarray  # of the trained diffusion, float64
    image_size: int
    divisor: int  # heights and widths must be multiples of it
    context: int
    upsampler: bool
    inpaint: bool


class Settings(NamedTuple):
    """What may change from call to call without compiling anything."""

    guidance_scale: Scalar = 3.0
    eta: Scalar = 0.0  # DDIM only
    clip_scale: Scalar = 3.0  # with a `ClipTarget` only


DEFAULTS = Settings()


class ClipTarget(NamedTuple):
    """What CLIP guidance pulls towards: the CLIP's parameters and the prompts' embeddings."""

    params: Params
    text_embedding: Array


def schedule_of(stage: Stage, steps: str | int) -> Schedule:
    """The stage's schedule for a respacing, padded so that every length is one program."""
    t = schedules.respace(steps, len(stage.alpha_bar))
    return schedules.from_alpha_bar(stage.alpha_bar, t, pad_to=len(stage.alpha_bar))


def image_keys(seed: int, indices: Array | np.ndarray, stage_number: int) -> Keys:
    """Keys of the images of a seed: image i depends on (seed, i) alone, whatever its batch."""
    draw = lambda i: jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), i), stage_number)
    return jax.vmap(draw)(jnp.asarray(indices))


@functools.cache
def _programs() -> tuple[Callable, Callable, Callable]:
    """The jitted functions; made on first use, since options depend on the backend."""
    jit = functools.partial(jax.jit, compiler_options=compiling.options())
    encode = jit(lambda params, tokens, mask, *, encode: encode(params, tokens, mask),
                 static_argnames="encode")  # fmt: skip
    start = jit(_start, static_argnames="shape")
    advance = jit(
        _advance, static_argnames=("network", "sampler", "clip_log_prob"), donate_argnames="x_t"
    )
    return encode, start, advance


def encode_text(
    encode: Callable[..., Any], params: Params, tokens: Array | np.ndarray, mask: Array | np.ndarray
) -> Any:
    """A text encoder on a batch of prompts; one compiled program per batch size."""
    return _programs()[0](params, tokens, mask, encode=encode)


def _start(keys: Keys, temperature: Scalar, shape: tuple[int, int, int]) -> Image:
    return samplers.noise(keys, 0, shape) * temperature


def _advance(
    params: Params,
    x_t: Image,
    keys: Keys,
    cond: Cond,
    null_text: TextCond | None,
    schedule: Schedule,
    settings: Settings,
    clip: ClipTarget | None,
    start: Array | int,
    stop: Array | int,
    *,
    network: Callable[[Params], Network],
    sampler: str,
    clip_log_prob: Callable[..., Array] | None,
) -> Image:
    """Steps start ... stop - 1 of a chain. All but the three keyword arguments is traced."""
    bound = network(params)
    if null_text is None:
        denoise = guidance.conditional(bound, cond)
    else:
        b = x_t.shape[0]
        wide = jax.tree.map(lambda a: jnp.broadcast_to(a, (b, *a.shape[1:])), null_text)
        null = cond._replace(text=wide)
        denoise = guidance.classifier_free(bound, cond, null, settings.guidance_scale)
    x0_fn = constraints.clip
    if cond.known is not None and cond.mask_known is not None:
        known = constraints.known_pixels(cond.known, cond.mask_known)
        x0_fn = constraints.compose(known, constraints.clip)
    score = None
    if clip is not None and clip_log_prob is not None:
        log_prob = lambda x_t, t: clip_log_prob(clip.params, x_t, t, clip.text_embedding)
        score = guidance.classifier(log_prob, settings.clip_scale)
    extra: dict[str, Any] = {"eta": settings.eta} if sampler == "ddim" else {}
    step = samplers.STEPS[sampler](denoise, schedule, x0_fn=x0_fn, score=score, **extra)
    return samplers.sample(step, keys, x_t, schedule.num_steps, start, stop)


def run(
    stage: Stage,
    params: Params,
    keys: Keys,
    cond: Cond,
    null_text: TextCond | None,
    schedule: Schedule,
    settings: Settings = DEFAULTS,
    *,
    sampler: str = "ddpm",
    temperature: float = 1.0,
    size: tuple[int, int] | None = None,
    clip: ClipTarget | None = None,
    clip_log_prob: Callable[..., Array] | None = None,
    progress: Progress | None = None,
) -> Image:
    """Draws one batch with one stage (GLIDE, section 2 and the released notebooks).

    The loop over steps is compiled; it is entered a few steps at a time, so that a caller sees
    progress and can be interrupted. How the chain is cut changes nothing in the result.

    Args:
        stage: the model.
        params: its parameters.
        keys: one per image.
        cond: leading axis b; with `known` and `mask_known`, known pixels replace every x_0.
        null_text: the empty prompt, leading axis 1, for classifier-free guidance; None for none.
        schedule: from `schedule_of`.
        settings: scales, traced.
        sampler: "ddpm" or "ddim".
        temperature: of the starting noise.
        size: height and width, if not the stage's own.
        clip: with `clip_log_prob`, adds CLIP guidance.
        clip_log_prob: (params, x_t, t, text_embedding) to log-probabilities (b,).
        progress: told of steps done.

    Returns:
        x_0 in [-1, 1], (b, h, w, 3) float32.
    """
    _, begin, advance = _programs()
    height, width = size or (stage.image_size, stage.image_size)
    x_t = begin(keys, jnp.float32(temperature), shape=(height, width, 3))
    settings = Settings(*(jnp.float32(value) for value in settings))
    total, done, chunk = int(schedule.num_steps), 0, 1
    while done < total:
        began = time.monotonic()
        stop = min(done + chunk, total)
        x_t = advance(
            params, x_t, keys, cond, null_text, schedule, settings, clip,
            jnp.int32(done), jnp.int32(stop),
            network=stage.network, sampler=sampler, clip_log_prob=clip_log_prob,
        )  # fmt: skip
        if progress is not None:
            x_t.block_until_ready()
            progress(stop, total, x_t)
        if done > 0 and progress is not None:  # the first call compiled, so says nothing of speed
            per_step = (time.monotonic() - began) / (stop - done)
            chunk = max(1, int(_SECONDS_BETWEEN_REPORTS / max(per_step, 1e-6)))
        elif progress is None:
            chunk = total
        done = stop
    return x_t
