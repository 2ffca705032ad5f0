"""The cascade: stages as compiled programs, run a few steps at a time."""

import functools
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial
from jaxtyping import Array, Float

from glide_jax import compiling
from glide_jax.diffusion import (
    constraints,
    grids,
    guidance,
    repaint,
    samplers,
    schedules,
    scores,
    solvers,
)
from glide_jax.diffusion.schedules import Schedule
from glide_jax.sampling.settings import DEFAULTS, StageSettings, Steps
from glide_jax.types import (
    Cond,
    Guide,
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

# Called with the steps done, the steps in all and x_t, often enough for a progress bar.
Progress = Callable[[int, int, Image], None]
_SECONDS_BETWEEN_REPORTS = 0.5


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
    """Guides besides the prompt; one that is empty or None is not in the program."""

    on_x_t: tuple[Pull, ...] = ()  # noise-aware
    on_x_0: tuple[Pull, ...] = ()  # given the predicted x_0
    mix: Mix | None = None
    weak: Weak | None = None


class Inputs(NamedTuple):
    """A batch: everything that a stage draws from, apart from settings and starting noise."""

    params: Params
    keys: Keys  # one per image
    cond: Cond  # leading axis b; with `known` and `mask_known`, known pixels replace every x_0
    null_text: TextCond | None = None  # leading axis 1; None for no classifier-free guidance
    guides: Guides = Guides()


class Chain(NamedTuple):
    """The steps of a chain."""

    schedule: Schedule
    first: Array | int = 0  # steps that are left out at the noisy end
    resampling: repaint.Resampling = repaint.Resampling()  # with known pixels only


class Start(NamedTuple):
    """Where a chain starts, and how often it goes back up, when a picture is edited."""

    init: Image | None = None  # the picture to start from
    strength: float = 1.0  # share of the diffusion that `init` is noised by; 1 leaves nothing of it
    resampling: repaint.Resampling = repaint.Resampling()

    def chain(self, stage: Stage, schedule: Schedule) -> Chain:
        """The chain of a schedule that starts here; its numbers are on the host."""
        first = 0
        if self.init is not None:
            first = repaint.skipped(schedule, len(stage.alpha_bar), self.strength)
        return Chain(schedule, first, self.resampling)


PLAIN_START = Start()


def schedule_of(stage: Stage, settings: StageSettings) -> Schedule:
    """The stage's schedule, padded so that every length is one program."""
    steps, size = settings.steps, len(stage.alpha_bar)
    if settings.grid and isinstance(steps, Steps):
        t = grids.timesteps(settings.grid, steps.count, stage.alpha_bar)
    else:
        t = schedules.respace(str(steps), size)
    return schedules.from_alpha_bar(stage.alpha_bar, t, pad_to=size)


def image_keys(seed: int, indices: Array | np.ndarray, stage_number: int) -> Keys:
    """Keys of the images of a seed: image i depends on (seed, i) alone, whatever its batch.

    Args:
        seed: 0 to 2**32 - 1.
        indices: (b,) numbers of the images.
        stage_number: 0 for the base, 1 for the upsampler.
    """
    draw = lambda i: jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), i), stage_number)
    return jax.vmap(draw)(jnp.asarray(indices))


class Programs(NamedTuple):
    """The jitted functions of the cascade."""

    encode: Callable[..., Any]
    score: Callable[..., Any]
    start: Callable[..., Any]
    advance: Callable[..., Any]
    noised: Callable[..., Any]


@functools.cache
def programs() -> Programs:
    """The jitted functions; made on first use, since options depend on the backend."""
    jit = functools.partial(jax.jit, compiler_options=compiling.options())
    call = lambda params, *arrays, function: function(params, *arrays)
    return Programs(
        encode=jit(call, static_argnames="function"),
        score=jit(call, static_argnames="function"),
        start=jit(_start, static_argnames="shape"),
        advance=advance_program(compiling.options()),
        noised=jit(repaint.noised),
    )


def advance_program(options: dict[str, str] | None) -> Callable[..., Any]:
    """The jitted steps of a chain, see `_advance`; only shapes, network and sampler compile.

    Args:
        options: the compiler's.
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
    """A text encoder on a batch of prompts; one compiled program per batch size.

    Args:
        encode: a stage's or a CLIP's function of (params, tokens, mask).
        params: its parameters.
        tokens: int32 (b, n).
        mask: bool (b, n), True where a token is real.
    """
    return programs().encode(params, tokens, mask, function=encode)


def clip_scores(
    log_prob: Callable[..., Any], params: Params, x_0: Image, text: Float[Array, "b e"]
) -> Float[Array, " b"]:
    """A CLIP's scaled cosines of clean pictures and prompts.

    Args:
        log_prob: a function of (params, x_0, text), see `ClipStage.log_prob_clean`.
        params: the CLIP's parameters.
        x_0: (b, h, w, 3) in [-1, 1].
        text: embeddings of the prompts.
    """
    return programs().score(params, x_0, text, function=log_prob)


def _start(keys: Keys, temperature: Scalar, shape: tuple[int, int, int]) -> Image:
    return samplers.noise(keys, 0, shape) * temperature


def _advance(
    x_t: Image,
    history: History,
    inputs: Inputs,
    chain: Chain,
    knobs: guidance.Knobs,
    bounds: tuple[Array, Array],
    *,
    network: Callable[[Params], Network],
    sampler: str,
) -> tuple[Image, History]:
    """Steps bounds[0] ... bounds[1] - 1 of a chain. Only the keyword arguments are not traced."""
    x0_fn, cond = constraints.clip, inputs.cond
    thresholded = "dynamic_threshold" in knobs
    if thresholded:
        x0_fn = constraints.dynamic_threshold(knobs["dynamic_threshold"])
    guide, score = _guided(network(inputs.params), inputs, chain.schedule, knobs, x0_fn)
    if cond.known is not None and cond.mask_known is not None:
        known = constraints.known_pixels(cond.known, cond.mask_known)
        before = (x0_fn,) if thresholded else ()
        x0_fn = constraints.compose(*before, known, constraints.clip)
    extra: dict[str, Any] = {"eta": knobs["eta"]} if solvers.SAMPLERS[sampler].eta else {}
    make = functools.partial(
        solvers.SAMPLERS[sampler].make, schedule=chain.schedule, x0_fn=x0_fn, score=score, **extra
    )
    solver = solvers.remembering(make, guide)
    end = chain.schedule.num_steps
    if cond.known is not None:
        solver = repaint.resampled(
            solver, chain.schedule, inputs.keys, chain.first, chain.resampling
        )
        end = repaint.length(chain.schedule, chain.first, chain.resampling)
    return samplers.solve(solver, inputs.keys, x_t, history, end, *bounds)


def _guided(
    network: Network, inputs: Inputs, schedule: Schedule, knobs: guidance.Knobs, x0_fn: X0Fn
) -> tuple[Guide, Score | None]:
    """The guided denoiser of a memory, and the score of everything that guides."""
    cond, null_text, guides = inputs.cond, inputs.null_text, inputs.guides
    batch = inputs.keys.shape[0]
    widen = lambda a: jnp.broadcast_to(a, (batch, *a.shape[1:]))
    of_text = lambda text: cond._replace(text=jax.tree.map(widen, text))
    conds, weights, weak = [cond], None, None
    if guides.mix is not None:
        conds += [of_text(text) for text in guides.mix.texts]
        weights = guides.mix.weights
    if guides.weak is not None:
        worse = guidance.conditional(guides.weak.network(), of_text(guides.weak.text))
        weak = worse, guides.weak.scale
    null = None if null_text is None else of_text(null_text)
    guide, plain = guidance.assemble(network, conds, weights, null, knobs, schedule, weak)
    pulls = [scores.classifier(pull.log_prob, pull.scale) for pull in guides.on_x_t]
    for pull in guides.on_x_0:  # by the cheaper denoiser: guidance's own gradient is not needed
        pulls.append(scores.through_x_0(pull.log_prob, pull.scale, plain, schedule, x0_fn))
    return guide, scores.both(*pulls)


def fresh_history(sampler: str, knobs: guidance.Knobs, x_T: Image) -> History:
    """The memory of solver and guidance at the start of a chain.

    Args:
        sampler: one of `solvers.SAMPLERS`.
        knobs: traced settings.
        x_T: (b, h, w, 3), where the chain starts.
    """
    return solvers.fresh(sampler, x_T), guidance.fresh(knobs, x_T)


def run(
    stage: Stage,
    inputs: Inputs,
    settings: StageSettings = DEFAULTS,
    *,
    size: tuple[int, int] | None = None,
    start: Start = PLAIN_START,
    x_T: Image | None = None,
    progress: Progress | None = None,
) -> Image:
    """Draws one batch with one stage (GLIDE, section 2 and the released notebooks).

    The loop over steps is compiled; it is entered a few steps at a time, so that a caller sees
    progress and can be interrupted. How the chain is cut changes nothing in the result.

    Args:
        stage: the model.
        inputs: the batch.
        settings: sampler, steps, scales.
        size: height and width, if not the stage's own.
        start: where the chain starts and how often it goes back.
        x_T: (b, h, w, 3), the starting noise, if not the keys' own.
        progress: called with the steps done, the steps in all and x_t.

    Returns:
        x_0 in [-1, 1], (b, h, w, 3) float32.
    """
    compiled, keys, sampler = programs(), inputs.keys, settings.sampler
    x_t, temperature = x_T, jnp.float32(settings.temperature)
    if x_t is None:
        height, width = size or (stage.image_size, stage.image_size)
        x_t = compiled.start(keys, temperature, shape=(height, width, 3))
    chain = start.chain(stage, schedule_of(stage, settings))
    first, total = int(chain.first), int(repaint.length(*chain))
    if start.init is not None and start.strength < 1.0:
        x_t = compiled.noised(chain.schedule, start.init, x_t, jnp.int32(first))
    chain = chain._replace(
        first=jnp.int32(first), resampling=jax.tree.map(jnp.int32, chain.resampling)
    )
    knobs = jax.tree.map(jnp.float32, settings.traced())
    history = fresh_history(sampler, knobs, x_t)
    inputs = inputs._replace(guides=jax.tree.map(jnp.asarray, inputs.guides))
    done, chunk = first, 1
    while done < total:
        began = time.monotonic()
        stop = min(done + chunk, total)
        x_t, history = compiled.advance(
            x_t, history, inputs, chain, knobs, (jnp.int32(done), jnp.int32(stop)),
            network=stage.network, sampler=sampler,
        )  # fmt: skip
        if progress is None:
            chunk = total
        else:
            x_t.block_until_ready()
            progress(stop - first, total - first, x_t)
            if done > first:  # the first call compiled, so its time tells nothing about speed
                per_step = (time.monotonic() - began) / (stop - done)
                chunk = max(1, int(_SECONDS_BETWEEN_REPORTS / max(per_step, 1e-6)))
        done = stop
    return x_t
