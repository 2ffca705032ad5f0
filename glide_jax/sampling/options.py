"""What a call of the pipeline may choose."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

# Told a stage's name, its steps done and its steps in all, over all batches.
Progress = Callable[[str, int, int], None]


@dataclasses.dataclass(frozen=True)
class Edit:
    """A picture that goes in, as the stages take it; pixels are those of the last stage.

    Attributes:
        record: what the parameters of pictures say of it, JSON-able.
        known: (h, w, 3) in [-1, 1].
        mask_known: (h, w, 1), 1 where `known` is kept.
        init: (h, w, 3) in [-1, 1], noised and then drawn from.
        strength: how much it is noised, 0 to 1.
        jump: steps of a stretch that is walked several times, with `known` only.
        repeats: how often.
        low_res: (h, w, 3) in [-1, 1], given to the upsampler; the base then does not run.
        weights: of frames between a first and a last prompt, 0 to 1.
        to_seed: whose starting noise the last frame has.
        finish: makes the result of what the last stage drew, a Pillow picture each.
    """

    record: dict[str, Any]
    known: np.ndarray | None = None
    mask_known: np.ndarray | None = None
    init: np.ndarray | None = None
    strength: float = 1.0
    jump: int = 10
    repeats: int = 1
    low_res: np.ndarray | None = None
    weights: np.ndarray | None = None
    to_seed: int | None = None
    finish: Callable[[Any], Any] = lambda picture: picture


@dataclasses.dataclass(frozen=True)
class Options:
    """What a call may choose; None is the model's own default (its config.json).

    Attributes:
        n: pictures of each prompt.
        seed: image i of a seed is the same whatever the batch, `n` or the other prompts.
        first_index: draws images first_index ... first_index + n - 1 of the seed.
        number_on: counts on from prompt to prompt, so that no two have the same starting noise.
        preset: "fast", "balanced" or "reference" choose sampler, grid and steps of every stage;
            what is chosen besides goes first.
        steps: of the base: 1 to its 1000, or a respacing ("fast27", "ddim50", "10,10,3,2,2").
        guidance_scale: classifier-free; 1 is none.
        sampler: of the base: "ddpm", "ddim", "plms", "heun", "dpmpp_2m", "dpmpp_2m_sde", "unipc".
        grid: which timesteps the base's steps visit: "uniform", "logsnr", "karras"; "" leaves it
            to the respacing.
        eta: of DDIM, 0 to 1; 1 is as random as DDPM.
        negative_prompt: what classifier-free guidance keeps away from, instead of the empty prompt.
        mix: more prompts with weights, [("a blue star", 0.5)] or ["0.5:a blue star"], mixed into
            each prompt, whose own weight is 1; negative weights steer away.
        guidance_interval: timesteps (low, high), or "low,high", outside which nothing guides and
            a step costs half.
        guidance_power: guidance that grows towards clean pictures; 0 is constant, 1 linear.
        guidance_rescale: 0 to 1, how far guided pictures keep the spread of unguided ones.
        dynamic_threshold: quantile of |x_0|, such as 0.995, at which it is clipped and scaled.
        apg_parallel: 0 to 1, how much of the guidance along the picture itself is kept.
        apg_radius: longest change of x_0 by guidance, Euclidean over an image; 0 is no bound.
        cfgpp_scale: 0 to 1, CFG++ with this scale in place of guidance_scale; DDIM only.
        autoguidance_model: a smaller or earlier model, directory or name, to push away from
            *instead of* the empty prompt, unless a guidance_scale is given too.
        autoguidance_scale: how far; 1 is not at all.
        upsample: whether to run the upsampler, if the model has one.
        upsample_steps: as `steps`, of the upsampler.
        upsample_sampler: as `sampler`, of the upsampler.
        upsample_grid: as `grid`, of the upsampler.
        temperature: of the upsampler's starting noise.
        clip_guidance_scale: guides by the model's noise-aware CLIP *instead of* the empty prompt,
            unless a guidance_scale is given too.
        clip_guidance_on: "x_t", as the CLIP is trained; or "x_0", where it sees the predicted
            clean picture as a CLIP that knows no noise has to, and gradients cross the network.
        score: a JAX function of your own whose value guidance raises: of pictures x_0 in [-1, 1],
            (b, h, w, 3), to (b,). Pass the same function each time: a new one compiles anew.
        score_scale: times its gradient.
        score_on: "x_0"; or "x_t" for a function (x_t, t) that knows noisy pictures, t 0 to 999.
        batch_size: pictures drawn at once; the last batch is padded, so nothing recompiles.
            "auto" is as many as fit the device's memory, see `Glide.largest_batch`.
        keep: of each prompt's `n` pictures only these many, the best by the model's CLIP.
        edit: a picture to start from or to paint in; `sampling.edits` makes it.
        progress: called with (stage, steps done, steps in all).
    """

    n: int = 1
    seed: int = 0
    first_index: int = 0
    number_on: bool = False
    preset: str | None = None
    steps: str | int | None = None
    guidance_scale: float | None = None
    sampler: str | None = None
    grid: str | None = None
    eta: float | None = None
    negative_prompt: str | None = None
    mix: Sequence[Any] = ()
    guidance_interval: Sequence[float] | str | None = None
    guidance_power: float | None = None
    guidance_rescale: float | None = None
    dynamic_threshold: float | None = None
    apg_parallel: float | None = None
    apg_radius: float | None = None
    cfgpp_scale: float | None = None
    autoguidance_model: str | None = None
    autoguidance_scale: float = 2.0
    upsample: bool = True
    upsample_steps: str | int | None = None
    upsample_sampler: str | None = None
    upsample_grid: str | None = None
    temperature: float | None = None
    clip_guidance_scale: float | None = None
    clip_guidance_on: str = "x_t"
    score: Callable[..., Any] | None = None
    score_scale: float = 1.0
    score_on: str = "x_0"
    batch_size: int | str = 4
    keep: int | None = None
    edit: Edit | None = None
    progress: Progress | None = None
