"""Names that other libraries have for arguments of a call, and what serves for them here."""

from collections.abc import Iterable

from glide_jax.errors import InputError, UnknownOption
from glide_jax.model_dir.schema import check_names

_OURS = "pictures have the model's sizes, glide.sizes; upsample=False gives the small one"
_THEIRS = {  # diffusers has most of these, the web tools the others
    "num_inference_steps": "its name here is steps, as in steps=50",
    "ddim_steps": "its name here is steps, as in steps=50",
    "num_images_per_prompt": "its name here is n, as in n=4",
    "batch_count": "its name here is n, as in n=4",
    "num_samples": "its name here is n, as in n=4",
    "generator": "give seed, a number, as in seed=7; noise depends on nothing else",
    "cfg_scale": "its name here is guidance_scale, as in guidance_scale=3",
    "ddim_eta": "its name here is eta, as in eta=1",
    "scheduler": "its name here is sampler, as in sampler='ddim'",
    "sampler_name": "its name here is sampler, as in sampler='ddim'",
    "height": _OURS,
    "width": _OURS,
    "size": _OURS,
    "output_type": "a picture has .image, .array and .save(path)",
    "return_dict": "a call returns a list of pictures",
    "callback": "give progress, a function of a stage's name, steps done and steps in all",
    "callback_on_step_end": "give progress, a function of a stage's name, steps done and in all",
    "image": "pictures go into glide.edit, glide.inpaint, glide.vary and glide.upscale",
    "mask_image": "its name is mask, as in glide.inpaint(image, mask, prompt)",
    "strength": "it belongs to glide.edit, glide.inpaint and glide.vary",
    "prompt": "the prompts come first, without a name",
    "num_frames": "give frames to glide.interpolate",
}


def check_options(names: Iterable[str], known: list[str]) -> None:
    """Refuses names of options that there are not.

    Args:
        names: those that were given.
        known: those that there are.

    Raises:
        UnknownOption: one is unknown; the one that serves for it is named, or the nearest.
    """
    names = list(names)
    for name in names:
        if name not in known and name in _THEIRS:
            raise UnknownOption(f"the call has no option {name!r}: {_THEIRS[name]}.")
    try:
        check_names(dict.fromkeys(names), known, "the call")
    except InputError as error:
        raise UnknownOption(str(error)) from None
