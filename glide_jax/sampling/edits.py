"""Calls that edit: each makes an `Edit` of the pictures that go in, and draws with it."""

import functools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image as PILImage

from glide_jax import checks, images
from glide_jax.diffusion import tiling
from glide_jax.errors import InputError
from glide_jax.sampling import canvas
from glide_jax.sampling.options import Edit

if TYPE_CHECKING:
    from glide_jax.sampling.glide import Glide, Picture

MOST_PIXELS = 8192  # a side, of what comes out


def inpainting(
    glide: "Glide",
    image: PILImage.Image,
    mask: PILImage.Image | None = None,
    *,
    extend: Sequence[int] | str = (0, 0, 0, 0),
    strength: float | str = 1.0,
    repeats: int | str = 1,
    jump: int | str = 10,
    upsample: bool = True,
) -> Edit:
    """The `edit` of `inpaint`."""
    sides, said = _sides(extend), {"image": canvas.identity(image)}
    if mask is not None:
        said["mask"] = canvas.identity(mask)
    elif not any(sides):
        raise InputError("there is neither a mask nor anything to extend: nothing to paint.")
    if any(sides):
        image, mask = canvas.extended(image, mask, sides)
    assert mask is not None, "given or made by extending"
    part = canvas.region(image, mask, _last_size(glide, upsample))
    how = dict(
        strength=_strength(strength),
        repeats=checks.whole("repeats", repeats, 1, 100),
        jump=checks.whole("jump", jump, 1, 1000),
    )
    return Edit(
        {"kind": "inpaint", "extend": list(sides), **said, **how},
        known=part.shown,
        mask_known=part.mask_known,
        init=part.shown if how["strength"] < 1.0 else None,
        finish=functools.partial(canvas.paste, part),
        **how,  # type: ignore[arg-type]
    )


def inpaint(
    glide: "Glide",
    image: PILImage.Image,
    mask: PILImage.Image | None,
    prompts: str | Sequence[str],
    *,
    extend: Sequence[int] | str = (0, 0, 0, 0),
    strength: float | str = 1.0,
    repeats: int | str = 1,
    jump: int | str = 10,
    **options: Any,
) -> "list[Picture]":
    """Repaints the white part of a mask in a picture of any size (GLIDE, section 4.3).

    A square around what is painted is drawn at the model's size and put back; every pixel where
    the mask is black stays as it is, so a result can be the next call's picture.

    A model without inpainting planes paints too: known pixels replace every prediction of x_0.
    That joins less well; `repeats` of 5 to 10 help, and cost as many times the steps.

    Args:
        glide: the model.
        image: of any size; transparency shows white.
        mask: as large; white is painted, black is kept, grey is blended. None with `extend`.
        prompts: as in `pictures`.
        extend: pixels to add at the left, top, right and bottom (outpainting), or "0,0,64,0".
        strength: below 1 what is painted starts from what is there, such as a sketch.
        repeats: how often each stretch of steps is walked (Lugmayr et al., 2022, RePaint).
        jump: steps of a stretch.
        **options: as in `pictures`.

    Raises:
        InputError: image and mask differ in size, or there is nothing to paint.
    """
    edit = inpainting(
        glide, image, mask, extend=extend, strength=strength, repeats=repeats, jump=jump,
        upsample=options.get("upsample", True),
    )  # fmt: skip
    return glide(prompts, edit=edit, **options)


def redrawing(
    glide: "Glide",
    image: PILImage.Image,
    mask: PILImage.Image | None = None,
    *,
    strength: float | str = 0.6,
    repeats: int | str = 1,
    jump: int | str = 10,
    upsample: bool = True,
) -> Edit:
    """The `edit` of `edit` and `vary`."""
    if mask is not None:
        how = dict(strength=strength, repeats=repeats, jump=jump, upsample=upsample)
        return inpainting(glide, image, mask, **how)  # type: ignore[arg-type]
    side, base = _last_size(glide, upsample), glide.loaded.stages["base"]
    unit = base.divisor * (side // base.image_size)
    if side != base.image_size:
        unit = math.lcm(unit, glide.loaded.stages["upsample"].divisor)
    init = images.from_uint8(np.asarray(canvas.fitted(image, side, unit)))
    strength = _strength(strength)
    record = {"kind": "edit", "image": canvas.identity(image), "strength": strength}
    return Edit(record, init=init, strength=strength)


def edit(
    glide: "Glide",
    image: PILImage.Image,
    prompts: str | Sequence[str],
    *,
    strength: float | str = 0.6,
    mask: PILImage.Image | None = None,
    **options: Any,
) -> "list[Picture]":
    """Draws prompts from a picture, such as a photo or a coloured sketch (Meng et al., 2022).

    The picture is noised and drawn from there, at every stage of the cascade (SDEdit, algorithm
    1). With a mask only its white part changes, as in GLIDE's figure 4; see `inpaint`.

    Args:
        glide: the model.
        image: of any size; without a mask its shorter side becomes the model's size.
        prompts: as in `pictures`.
        strength: above 0 to 1; small keeps the picture, 1 leaves nothing of it.
        mask: as of `inpaint`.
        **options: as in `pictures`.

    Raises:
        InputError: a value is wrong, or the picture is more than 4 times as long as wide.
    """
    redrawn = redrawing(
        glide, image, mask, strength=strength, upsample=options.get("upsample", True)
    )
    return glide(prompts, edit=redrawn, **options)


def vary(
    glide: "Glide",
    image: PILImage.Image,
    prompts: str | Sequence[str] = "",
    *,
    strength: float | str = 0.5,
    **options: Any,
) -> "list[Picture]":
    """Variations of a picture: `edit`, without a prompt if there is none, 4 unless `n` is given."""
    return edit(glide, image, prompts, strength=strength, **{"n": 4, **options})


def upscaling(glide: "Glide", image: PILImage.Image) -> Edit:
    """The `edit` of `upscale`."""
    if "upsample" not in glide.loaded.stages:
        raise InputError(f"model {glide.loaded.name!r} has no upsampler.")
    window, factor = glide.sizes["base"], glide.sizes["upsample"] // glide.sizes["base"]
    pixels = np.asarray(canvas.upright(image))
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


def upscale(
    glide: "Glide", image: PILImage.Image, prompts: str | Sequence[str] = "", **options: Any
) -> "list[Picture]":
    """Enlarges any picture by the model's upsampler, told what it shows.

    A picture larger than the base's is worked on in windows that overlap by a quarter and are
    averaged at every step, so that they are one picture; `batch_size` windows run at once.

    Args:
        glide: the model.
        image: of any size.
        prompts: what it shows; "" leaves that open.
        **options: as in `pictures`; those of the base have no effect.

    Raises:
        InputError: the model has no upsampler, or the result would be too large.
    """
    return glide(prompts, edit=upscaling(glide, image), **options)


def interpolate(
    glide: "Glide",
    first: str,
    last: str,
    *,
    frames: int | str = 8,
    to_seed: int | str | None = None,
    **options: Any,
) -> "list[Picture]":
    """Pictures on the way from one prompt to another, and from one seed to another.

    Prompts go along the arc between their encodings, starting noise along the arc between the two
    seeds' noise (Ho et al., 2020, section 4.3, does so in x_t). Noise of later steps is the first
    seed's, so with a sampler that needs none (the default here is ddim with eta 0) both ends are
    what the prompts draw alone.

    Args:
        glide: the model.
        first: the prompt of the first picture.
        last: that of the last one.
        frames: how many, at least 2.
        to_seed: the last picture's seed, if not the first's.
        **options: as in `pictures`; `n` is 1.

    Raises:
        InputError: a value is wrong.
    """
    frames = checks.whole("frames", frames, 2, 1000)
    seed = options.get("seed", 0)
    to_seed = seed if to_seed is None else to_seed
    to_seed = checks.whole("to_seed", to_seed, 0, 2**32 - 1)
    record = {"kind": "interpolate", "from": first, "to": last, "frames": frames}
    way = Edit(
        {**record, "to_seed": to_seed}, weights=np.linspace(0.0, 1.0, frames), to_seed=to_seed
    )
    defaults: dict[str, Any] = {"sampler": "ddim", "upsample_sampler": "ddim"}
    if options.get("sampler") in (None, "ddim"):
        defaults["eta"] = 0.0
    if not (options.get("upsample", True) and "upsample" in glide.loaded.stages):
        del defaults["upsample_sampler"]
    chosen = {**({} if options.get("preset") else defaults), **options, "n": 1}
    return glide([first, last], edit=way, **chosen)


def _last_size(glide: "Glide", upsample: bool) -> int:
    return glide.sizes["upsample" if upsample and "upsample" in glide.sizes else "base"]


def _strength(value: Any) -> float:
    strength = checks.real("strength", value, 0.0, 1.0)
    if strength == 0.0:
        raise InputError(f"strength is {checks.shown(value)}; it must be above 0, up to 1.")
    return strength


def _sides(extend: Sequence[int] | str) -> tuple[int, int, int, int]:
    parts = extend.split(",") if isinstance(extend, str) else list(extend)
    if len(parts) != 4:
        raise InputError(
            f"extend is {checks.shown(extend)}; it must be four numbers of pixels: left, top, "
            "right and bottom, such as 0,0,64,0."
        )
    left, top, right, bottom = (
        checks.whole("a side of extend", part, 0, MOST_PIXELS) for part in parts
    )
    return left, top, right, bottom
