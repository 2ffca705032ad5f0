"""The cascade: stages as compiled programs, run a few steps at a time."""

import functools
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial
from jaxtyping import Array

from glide_jax import compiling
from glide_jax.diffusion import constraints, grids, guidance, repaint, samplers, schedules, solvers
from glide_jax.diffusion.schedules import Schedule
from glide_jax.types import (
    Cond,
    Denoiser,
    History,
    Image,
    Keys,
    Network,
    Params,
    Scalar,
    Score,
    Stage,
    TextCond,
    X0Fn,
)

# Told the steps done, the steps in all and x_t on its way; called often enough for a progress bar.
Progress = Callable[[int, int, Image], None]
_SECONDS_BETWEEN_REPORTS = 0.5


class Settings(NamedTuple):
    """What may change from call to call without compiling anything.

    A None is not in the program: to switch it on compiles, to change its value does not.
    """

    guidance_scale: Scalar = 3.0
    eta: Scalar = 0.0  # DDIM only
    threshold: Scalar | None = None  # `constraints.dynamic_threshold` instead of clipping
    extras: guidance.Extras = guidance.Extras()


DEFAULTS = Settings()


class Pull(NamedTuple):
    """A log-probability whose gradient guides, such as a CLIP's; its arrays are traced."""

    log_prob: Partial  # (x_t, t) or, where it is given x_0, (x_0), to (b,)
    scale: Scalar


class Mix(NamedTuple):
    """More prompts, and the weights of the first and these, of sum 1."""

    texts: tuple[TextCond, ...]
    weights: Array


class Weak(NamedTuple):
    """The worse model of autoguidance."""

    network: Partial  # `Stage.network` with its parameters
    text: TextCond | None
    scale: Scalar


class Guides(NamedTuple):
    """What guides besides the prompt; what is empty or None is not in the program."""

    on_x_t: tuple[Pull, ...] = ()  # noise-aware
    on_x_0: tuple[Pull, ...] = ()  # asked about the predicted x_0
    mix: Mix | None = None
    weak: Weak | None = None


NO_GUIDES = Guides()


class Edit(NamedTuple):
    """What a chain does otherwise when a picture is edited."""

    init: Image | None = None  # it starts from this picture
    strength: float = 1.0  # share of the diffusion that it is noised by; 1 leaves nothing of it
    resampling: repaint.Resampling = repaint.Resampling()  # with known pixels only

    def bounds(self, stage: Stage, schedule: Schedule) -> tuple[int, int]:
        """The numbers of the chain's first step and of the one after its last."""
        first = 0
        if self.init is not None:
            first = repaint.skipped(schedule, len(stage.alpha_bar), self.strength)
        return first, int(repaint.length(schedule, first, self.resampling))


NO_EDIT = Edit()


def schedule_of(stage: Stage, steps: str | int, grid: str = "") -> Schedule:
    """The stage's schedule, padded so that every length is one program.

    `steps` is a respacing or, with a grid (one of `grids.GRIDS`), a number.
    """
    if grid:
        t = grids.timesteps(grid, int(steps), stage.alpha_bar)
    else:
        t = schedules.respace(steps, len(stage.alpha_bar))
    return schedules.from_alpha_bar(stage.alpha_bar, t, pad_to=len(stage.alpha_bar))


def image_keys(seed: int, indices: Array | np.ndarray, stage_number: int) -> Keys:
    """Keys of the images of a seed: image i depends on (seed, i) alone, whatever its batch."""
    draw = lambda i: jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), i), stage_number)
    return jax.vmap(draw)(jnp.asarray(indices))


@functools.cache
def _programs() -> tuple[Callable, Callable, Callable, Callable]:
    """The jitted functions; made on first use, since options depend on the backend."""
    jit = functools.partial(jax.jit, compiler_options=compiling.options())
    encode = jit(lambda params, tokens, mask, *, encode: encode(params, tokens, mask),
                 static_argnames="encode")  # fmt: skip
    start = jit(_start, static_argnames="shape")
    return encode, start, steps(compiling.options()), jit(repaint.noised)


def steps(options: dict[str, str] | None) -> Callable[..., Any]:
    """The jitted steps of a chain, see `_advance`; only shapes, network and sampler compile.

    Args:
        options: of the compiler.
    """
    return jax.jit(
        _advance,
        static_argnames=("network", "sampler"),
        donate_argnames=("x_t", "history"),
        compiler_options=options,
    )


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
    history: History,
    keys: Keys,
    cond: Cond,
    null_text: TextCond | None,
    schedule: Schedule,
    settings: Settings,
    guides: Guides,
    first: Array | int,
    resampling: repaint.Resampling,
    start: Array | int,
    stop: Array | int,
    *,
    network: Callable[[Params], Network],
    sampler: str,
) -> tuple[Image, History]:
    """Steps start ... stop - 1 of a chain. All but the two keyword arguments is traced."""
    x0_fn, threshold = constraints.clip, settings.threshold
    if threshold is not None:
        x0_fn = constraints.dynamic_threshold(threshold)
    denoise, score = _guided(
        network(params), cond, null_text, schedule, settings, guides, x0_fn, x_t.shape[0]
    )
    if cond.known is not None and cond.mask_known is not None:
        known = constraints.known_pixels(cond.known, cond.mask_known)
        before = () if threshold is None else (x0_fn,)
        x0_fn = constraints.compose(*before, known, constraints.clip)
    extra: dict[str, Any] = {"eta": settings.eta} if solvers.SAMPLERS[sampler].eta else {}
    solver = solvers.SAMPLERS[sampler].make(denoise, schedule, x0_fn=x0_fn, score=score, **extra)
    end = schedule.num_steps
    if cond.known is not None:
        solver = repaint.resampled(solver, schedule, keys, first, resampling)
        end = repaint.length(schedule, first, resampling)
    return samplers.solve(solver, keys, x_t, history, end, start, stop)


def _guided(
    network: Network,
    cond: Cond,
    null_text: TextCond | None,
    schedule: Schedule,
    settings: Settings,
    guides: Guides,
    x0_fn: X0Fn,
    batch: int,
) -> tuple[Denoiser, Score | None]:
    """The denoiser and the score of everything that guides."""
    widen = lambda a: jnp.broadcast_to(a, (batch, *a.shape[1:]))
    of_text = lambda text: cond._replace(text=jax.tree.map(widen, text))
    conds, weights, weak = [cond], None, None
    if guides.mix is not None:
        conds += [of_text(text) for text in guides.mix.texts]
        weights = guides.mix.weights
    if guides.weak is not None:
        worse = guidance.conditional(guides.weak.network(), of_text(guides.weak.text))
        weak = worse, guides.weak.scale
    denoise, plain = guidance.assemble(
        network,
        conds,
        weights,
        None if null_text is None else of_text(null_text),
        settings.guidance_scale,
        settings.extras,
        schedule,
        weak,
    )
    scores = [guidance.classifier(pull.log_prob, pull.scale) for pull in guides.on_x_t]
    for pull in guides.on_x_0:  # by the cheaper denoiser: guidance's own gradient is not needed
        scores.append(guidance.through_x_0(pull.log_prob, pull.scale, plain, schedule, x0_fn))
    return denoise, guidance.both(*scores)


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
    guides: Guides = NO_GUIDES,
    edit: Edit = NO_EDIT,
    x_T: Image | None = None,
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
        null_text: the empty or negative prompt, leading axis 1, for classifier-free guidance;
            None for none.
        schedule: from `schedule_of`.
        settings: scales, traced.
        sampler: one of `solvers.SAMPLERS`.
        temperature: of the starting noise.
        size: height and width, if not the stage's own.
        guides: what else guides, such as a CLIP.
        edit: where the chain starts and how often it goes back.
        x_T: the starting noise, if not the keys' own.
        progress: told of steps done.

    Returns:
        x_0 in [-1, 1], (b, h, w, 3) float32.
    """
    _, begin, advance, noised = _programs()
    height, width = size or (stage.image_size, stage.image_size)
    x_t = begin(keys, jnp.float32(temperature), shape=(height, width, 3)) if x_T is None else x_T
    first, total = edit.bounds(stage, schedule)
    if edit.init is not None and edit.strength < 1.0:
        x_t = noised(schedule, edit.init, x_t, jnp.int32(first))
    resampling = jax.tree.map(jnp.int32, edit.resampling)
    history = solvers.fresh(sampler, x_t)
    settings, guides = jax.tree.map(jnp.asarray, (jax.tree.map(jnp.float32, settings), guides))
    done, chunk = first, 1
    while done < total:
        began = time.monotonic()
        stop = min(done + chunk, total)
        x_t, history = advance(
            params, x_t, history, keys, cond, null_text, schedule, settings, guides,
            jnp.int32(first), resampling, jnp.int32(done), jnp.int32(stop),
            network=stage.network, sampler=sampler,
        )  # fmt: skip
        if progress is not None:
            x_t.block_until_ready()
            progress(stop - first, total - first, x_t)
        if (
            done > first and progress is not None
        ):  # the first call compiled, so says nothing of speed
            per_step = (time.monotonic() - began) / (stop - done)
            chunk = max(1, int(_SECONDS_BETWEEN_REPORTS / max(per_step, 1e-6)))
        elif progress is None:
            chunk = total
        done = stop
    return x_t
