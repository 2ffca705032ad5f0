"""Edits: pure functions from the pictures that go in to an `Edit` of a call."""

import dataclasses
import functools
import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image as PILImage

from glide_jax import checks, colours, images
from glide_jax.diffusion import tiling
from glide_jax.errors import InputError
from glide_jax.sampling import canvas, given, strokes
from glide_jax.sampling.call import Call, Edit
from glide_jax.sampling.loading import Loaded
from glide_jax.sampling.parsers import LAST_SEED

MOST_PIXELS = 8192  # a side of the result
AUTO = "auto"  # a margin that leaves a window no smaller than the model's pictures


def inpainting(  # noqa: PLR0913  one for each option of the command
    loaded: Loaded,
    image: given.PictureLike,
    mask: given.PictureLike | None = None,
    *,
    extend: Sequence[int] | str = (0, 0, 0, 0),
    strength: float | str = 1.0,
    repeats: int | str = 1,
    jump: int | str | None = None,
    margin: float | str = AUTO,
    upsample: bool = True,
) -> Edit:
    """Repaints the white part of a mask, see `Glide.inpaint`.

    Args:
        loaded: the model.
        image: a picture of any size, see `given.picture`.
        mask: one as large, see `strokes.read`; None with `extend` alone.
        extend: pixels to add at the left, top, right and bottom, or "0,0,64,0".
        strength: above 0 to 1.
        repeats: how often each stretch of steps is walked, 1 to 100.
        jump: steps of a stretch, 1 to 1000; 10 if not given.
        margin: "auto", or context on each side of the hole in parts of its longer side, 0 to 8.
        upsample: whether the upsampler runs, if there is one.

    Raises:
        InputError: a value is wrong, the sizes differ, or there is nothing to paint.
    """
    sides = _sides(extend)
    numbers: dict[str, Any] = dict(
        strength=_strength(strength),
        repeats=checks.whole("repeats", repeats, 1, 100),
        jump=checks.whole("jump", 10 if jump is None else jump, 1, 1000),
    )
    image = given.picture("image", image)
    inputs = {"image": canvas.identity(image, whole=True)}
    if mask is not None:
        mask, inputs["mask"] = _mask(given.picture("mask", mask), image)
    elif not any(sides):
        raise InputError("there is neither a mask nor anything to extend: nothing to paint.")
    if changes := colours.own(image).changes:
        warnings.warn(
            f"what is kept of the picture differs from its file: {', '.join(changes)}.",
            stacklevel=2,
        )
    if any(sides):
        image, mask = canvas.extended(image, mask, sides)
    assert mask is not None, "given or made by extending"
    around = None if margin == AUTO else checks.real("margin", margin, 0, 8)
    recorded = {} if around is None else {"margin": around}
    part = canvas.region(image, mask, _last_size(loaded, upsample), around)
    return Edit(
        {"kind": "inpaint", "extend": list(sides), **inputs, **numbers, **recorded},
        known=part.shown,
        mask_known=part.mask_known,
        init=part.shown if numbers["strength"] < 1.0 else None,
        finish=functools.partial(canvas.paste, part),
        **numbers,
    )


def check_repeats(repeats: int | str, jump: int | str | None) -> None:
    """Refuses the length of stretches where none is walked again.

    Raises:
        InputError: it is given, and `repeats` is 1.
    """
    if jump is not None and checks.whole("repeats", repeats, 1, 100) == 1:
        raise InputError(
            f"jump is {checks.shown(jump)}, but repeats is 1, so that no stretch is walked again; "
            "give repeats, 2 or more, or leave it out."
        )


def _mask(mask: PILImage.Image, image: PILImage.Image) -> tuple[strokes.Mask, dict[str, Any]]:
    """A mask as it is understood, and its record."""
    read = strokes.read(mask, colours.own(image).image)
    record = canvas.identity(mask, whole=True)
    if read.reading:
        warnings.warn(f"the mask is read with {read.reading}.", stacklevel=3)
        record["read"] = read.reading
    return read, record


def redrawing(
    loaded: Loaded,
    image: given.PictureLike,
    mask: given.PictureLike | None = None,
    *,
    strength: float | str = 0.6,
    upsample: bool = True,
) -> Edit:
    """Draws from a picture, see `Glide.edit`; with a mask its white part alone.

    Args:
        loaded: the model.
        image: a picture; without a mask its shorter side becomes the model's size.
        mask: a picture as large.
        strength: above 0 to 1.
        upsample: whether the upsampler runs, if there is one.

    Raises:
        InputError: a value is wrong, or the picture is more than 4 times as long as wide.
    """
    if mask is not None:
        return inpainting(loaded, image, mask, strength=strength, upsample=upsample)
    image = _opaque(given.picture("image", image))
    side, base = _last_size(loaded, upsample), loaded.stages["base"]
    unit = base.divisor * (side // base.image_size)
    if side != base.image_size:
        unit = math.lcm(unit, loaded.stages["upsample"].divisor)
    init = images.from_uint8(np.asarray(canvas.fitted(image, side, unit)))
    strength = _strength(strength)
    record = {"kind": "edit", "image": canvas.identity(image), "strength": strength}
    return Edit(record, init=init, strength=strength)


def _opaque(image: PILImage.Image) -> PILImage.Image:
    if colours.own(image).image.mode == "RGBA":
        warnings.warn("what is transparent in the picture is white in the result.", stacklevel=3)
    return image


def upscaling(loaded: Loaded, image: given.PictureLike) -> Edit:
    """Enlarges a picture by the upsampler, see `Glide.upscale`.

    Raises:
        InputError: there is no upsampler, or the result would be too large.
    """
    if "upsample" not in loaded.stages:
        raise InputError(f"model {loaded.name!r} has no upsampler.")
    image = _opaque(given.picture("image", image))
    window = loaded.stages["base"].image_size
    factor = loaded.stages["upsample"].image_size // window
    pixels = np.asarray(colours.own(image).upright)
    height, width = pixels.shape[:2]
    if max(height, width) * factor > MOST_PIXELS:
        raise InputError(
            f"the picture is {width} x {height}; {factor} times as large, it would be over "
            f"{MOST_PIXELS} pixels a side."
        )
    more = [tiling.covered(n, window, window // 4) - n for n in (height, width)]
    padded = np.pad(pixels, ((0, more[0]), (0, more[1]), (0, 0)), mode="edge")
    box = (0, 0, width * factor, height * factor)
    return Edit(
        {"kind": "upscale", "image": canvas.identity(image)},
        low_res=images.from_uint8(padded),
        finish=lambda picture: picture.crop(box),
    )


def interpolating(
    loaded: Loaded,
    call: Call,
    ends: tuple[str, str],
    *,
    frames: int | str = 8,
    to_seed: int | str | None = None,
) -> Call:
    """The call for pictures on the way between two prompts, see `Glide.interpolate`.

    Args:
        loaded: the model.
        call: the other options; without a preset or samplers of its own, steps draw no noise.
        ends: the first and the last prompt.
        frames: number of pictures, 2 to 1000.
        to_seed: the last picture's seed, if not the first's.

    Raises:
        InputError: a value is wrong.
    """
    frames = checks.whole("frames", frames, 2, 1000)
    to_seed = checks.whole("to_seed", call.seed if to_seed is None else to_seed, 0, LAST_SEED)
    record = {"kind": "interpolate", "from": ends[0], "to": ends[1], "frames": frames}
    edit = Edit(
        {**record, "to_seed": to_seed}, weights=np.linspace(0.0, 1.0, frames), to_seed=to_seed
    )
    base, upsampler = dict(call.base), dict(call.upsampler)
    if call.preset is None:
        base = {"sampler": "ddim", **base}
        if base["sampler"] == "ddim":
            base = {"eta": 0.0, **base}
        if call.upsample and "upsample" in loaded.stages:
            upsampler = {"sampler": "ddim", **upsampler}
    return dataclasses.replace(call, n=1, base=base, upsampler=upsampler, edit=edit)


def _last_size(loaded: Loaded, upsample: bool) -> int:
    last = "upsample" if upsample and "upsample" in loaded.stages else "base"
    return loaded.stages[last].image_size


def _strength(value: Any) -> float:
    strength = checks.real("strength", value, 0.0, 1.0)
    if strength == 0.0:
        raise InputError(f"strength is {checks.shown(value)}; it must be above 0, up to 1.")
    return strength


def _sides(extend: Sequence[int] | str) -> tuple[int, int, int, int]:
    parts = extend.split(",") if isinstance(extend, str) else extend
    if not isinstance(parts, Sequence) or len(parts) != 4:
        raise InputError(
            f"extend is {checks.shown(extend)}; it must be four numbers of pixels: left, top, "
            "right and bottom, such as 0,0,64,0."
        )
    left, top, right, bottom = (
        checks.whole("a side of extend", part, 0, MOST_PIXELS) for part in parts
    )
    return left, top, right, bottom
