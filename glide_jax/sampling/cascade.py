"""The cascade: stages as compiled programs, run a few steps at a time."""

import functools
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
    reuse,
    samplers,
    schedules,
    scores,
    solvers,
)
from glide_jax.diffusion.schedules import Schedule
from glide_jax.sampling.settings import StageSettings, Steps
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
    mix: tuple[TextCond, ...]  # its encodings of `Mix.texts`
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
    look: Callable[..., Any]
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
        look=jit(_look, static_argnames="network"),
        noised=jit(repaint.noised),
    )


def advance_program(options: dict[str, str] | None) -> Callable[..., Any]:
    """The jitted steps of a chain, see `advance_steps`; only shapes, network and sampler compile.

    Args:
        options: the compiler's.
    """
    return jax.jit(
        advance_steps,
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


def advance_steps(
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
    """Takes steps bounds[0] ... bounds[1] - 1 of a chain.

    Args:
        x_t: (b, h, w, 3), where the chain is.
        history: the memory of solver and guidance there.
        inputs: the batch.
        chain: the steps.
        knobs: traced settings.
        bounds: the first step to take, and the step to stop before.
        network: gives the network of parameters; not traced.
        sampler: one of `solvers.SAMPLERS`; not traced.

    Returns:
        x_t and the history after the steps.
    """
    unmasked, x0_fn = _constraints(inputs.cond, knobs)
    guide, score = _guided(network(inputs.params), inputs, chain.schedule, knobs, unmasked)
    if score is not None and "guidance_interval" in knobs:
        score = scores.between(score, *knobs["guidance_interval"])
    if score is not None and sampler != "ddpm":  # which shifts its mean by the score, not eps
        score = scores.where_sound(score, chain.schedule)
    extra: dict[str, Any] = {"eta": knobs["eta"]} if solvers.SAMPLERS[sampler].eta else {}
    make = functools.partial(
        solvers.SAMPLERS[sampler].make, schedule=chain.schedule, x0_fn=x0_fn, score=score, **extra
    )
    solver = solvers.remembering(make, guide)
    end = chain.schedule.num_steps
    if inputs.cond.known is not None:
        solver = repaint.resampled(
            solver, chain.schedule, inputs.keys, chain.first, chain.resampling
        )
        end = repaint.length(chain.schedule, chain.first, chain.resampling)
    return samplers.solve(solver, inputs.keys, x_t, history, end, *bounds)


def _look(
    x_t: Image,
    history: History,
    inputs: Inputs,
    chain: Chain,
    knobs: guidance.Knobs,
    done: Array,
    *,
    network: Callable[[Params], Network],
) -> Image:
    """The x_0 that the guided denoiser predicts at x_t, after `done` steps of a chain."""
    schedule, first = chain.schedule, chain.first
    unmasked, x0_fn = _constraints(inputs.cond, knobs)
    guide, _ = _guided(network(inputs.params), inputs, schedule, knobs, unmasked)
    i = repaint.step_of_walk(done - first, schedule.num_steps - first, chain.resampling)
    t = jnp.broadcast_to(schedule.t[i], x_t.shape[:1])
    return x0_fn(samplers.predict_x_0(schedule.at(i), x_t, guide(history[1])(x_t, t).eps))


def _constraints(cond: Cond, knobs: guidance.Knobs) -> tuple[X0Fn, X0Fn]:
    """The constraints on x_0 without the known pixels of an inpainting, and with them."""
    x0_fn: X0Fn = constraints.clip
    thresholded = "dynamic_threshold" in knobs
    if thresholded:
        x0_fn = constraints.dynamic_threshold(knobs["dynamic_threshold"])
    if cond.known is None or cond.mask_known is None:
        return x0_fn, x0_fn
    known = constraints.known_pixels(cond.known, cond.mask_known)
    before = (x0_fn,) if thresholded else ()
    return x0_fn, constraints.compose(*before, known, constraints.clip)


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
        texts = (guides.weak.text, *guides.weak.mix)
        worse = guidance.unguided(guides.weak.network(), [of_text(t) for t in texts], weights)
        weak = worse, guides.weak.scale
    null = None if null_text is None else of_text(null_text)
    assemble = lambda net: guidance.assemble(net, conds, weights, null, knobs, schedule, weak)
    guide, plain = assemble(network)
    if "reuse" in knobs:
        guide = reuse.remembering(lambda net: assemble(net)[0], network, knobs["reuse"])
    pulls = [scores.classifier(pull.log_prob, pull.scale) for pull in guides.on_x_t]
    for pull in guides.on_x_0:  # by the cheaper denoiser: guidance's own gradient is not needed
        pulls.append(scores.through_x_0(pull.log_prob, pull.scale, plain, schedule, x0_fn))
    return guide, scores.both(*pulls)


def fresh_history(
    sampler: str, knobs: guidance.Knobs, x_T: Image, kept: jax.ShapeDtypeStruct | None = None
) -> History:
    """The memory of solver and guidance at the start of a chain.

    Args:
        sampler: one of `solvers.SAMPLERS`.
        knobs: traced settings.
        x_T: (b, h, w, 3), where the chain starts.
        kept: an image's features, see `kept_like`; None without the setting `reuse`.
    """
    memory = guidance.fresh(knobs, x_T)
    if "reuse" in knobs:
        assert kept is not None, "this stage keeps no features"
        memory = memory, reuse.fresh(x_T, kept)
    return solvers.fresh(sampler, x_T), memory


def kept_like(stage: Stage, inputs: Inputs, x_T: Image) -> jax.ShapeDtypeStruct | None:
    """Shape and dtype of the features that an image keeps under all conditions; None if none are.

    Args:
        stage: the model.
        inputs: the batch.
        x_T: (b, h, w, 3), where the chain starts.
    """
    if stage.inner is None:
        return None
    mixed = 0 if inputs.guides.mix is None else len(inputs.guides.mix.texts)
    one = stage.inner(*x_T.shape[1:3])
    return one.update(shape=(1 + mixed + (inputs.null_text is not None), *one.shape))
