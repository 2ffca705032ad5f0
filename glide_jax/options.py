"""What a call of the pipeline may choose."""

import dataclasses
from collections.abc import Callable

import numpy as np

# Told a stage's name, its steps done and its steps in all, over all batches.
Progress = Callable[[str, int, int], None]


@dataclasses.dataclass(frozen=True)
class Options:
    """What a call may choose; None is the model's own default (its config.json).

    Attributes:
        n: pictures of each prompt.
        seed: image i of a seed is the same whatever the batch, `n` or the other prompts.
        first_index: draws images first_index ... first_index + n - 1 of the seed.
        steps: of the base: 1 to its 1000, or a respacing ("fast27", "ddim50", "10,10,3,2,2").
        guidance_scale: classifier-free; 1 is none.
        sampler: of the base, "ddpm" or "ddim".
        eta: of DDIM, 0 to 1; 1 is as random as DDPM.
        upsample: whether to run the upsampler, if the model has one.
        upsample_steps: as `steps`, of the upsampler.
        temperature: of the upsampler's starting noise.
        clip_guidance_scale: guides by the model's noise-aware CLIP *instead of* the empty prompt,
            unless a guidance_scale is given too.
        batch_size: pictures drawn at once; the last batch is padded, so nothing recompiles.
        known: (h, w, 3) in [-1, 1] at the last stage's size, for inpainting.
        mask_known: (h, w, 1), 1 where `known` is kept.
        progress: called with (stage, steps done, steps in all).
    """

    n: int = 1
    seed: int = 0
    first_index: int = 0
    steps: str | int | None = None
    guidance_scale: float | None = None
    sampler: str | None = None
    eta: float | None = None
    upsample: bool = True
    upsample_steps: str | int | None = None
    temperature: float | None = None
    clip_guidance_scale: float | None = None
    batch_size: int = 4
    known: np.ndarray | None = None
    mask_known: np.ndarray | None = None
    progress: Progress | None = None
