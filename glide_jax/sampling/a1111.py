"""A picture's parameters as the text that the AUTOMATIC1111 web UI writes, for tools that show it.

Source: `create_infotext` and `parse_generation_parameters` of stable-diffusion-webui 1.10.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

from PIL import Image

from glide_jax import images
from glide_jax.errors import InputError
from glide_jax.sampling import settings

_SAMPLERS = {  # their names for the same samplers; another keeps its own
    "ddpm": "DDPM", "ddim": "DDIM", "plms": "PLMS", "heun": "Heun", "dpmpp_2m": "DPM++ 2M",
    "dpmpp_2m_sde": "DPM++ 2M SDE", "unipc": "UniPC",
}  # fmt: skip


def marked(image: Image.Image, parameters: Mapping[str, Any]) -> Image.Image:
    """A copy of a picture whose PNG also has the text chunk `parameters`.

    Args:
        image: the picture, which is as large as the text states.
        parameters: the picture's.

    Raises:
        InputError: the parameters do not hold the prompt.
    """
    image = image.copy()
    image.info[images.A1111] = text(parameters, image.size)
    return image


def text(parameters: Mapping[str, Any], size: tuple[int, int]) -> str:
    """The prompt, the negative prompt if there is one, and a line of settings.

    Args:
        parameters: a picture's.
        size: width and height in pixels.

    Raises:
        InputError: the parameters do not hold the prompt.
    """
    if "prompt" not in parameters:
        raise InputError(
            "the prompt is not recorded, and the text for A1111 begins with it; leave out a1111, "
            "or record the prompt."
        )
    lines = [_line(parameters["prompt"])]
    if parameters.get("negative_prompt"):
        lines.append(f"Negative prompt: {_line(parameters['negative_prompt'])}")
    fields = {name: value for name, value in _fields(parameters, size).items() if value is not None}
    return "\n".join([*lines, ", ".join(f"{name}: {_quoted(v)}" for name, v in fields.items())])


def _fields(p: Mapping[str, Any], size: tuple[int, int]) -> dict[str, Any]:
    """The settings by their names there; None is left out."""
    edit, mix, base = p.get("edit") or {}, p.get("mix") or [], p.get("base")
    stage = base or p["upsample"]
    return {
        "Steps": _count(stage["steps"]),
        "Sampler": _SAMPLERS.get(stage["sampler"], stage["sampler"]),
        "Schedule type": "Karras" if stage["grid"] == "karras" else None,
        "CFG scale": f"{base['guidance_scale']:g}" if base else None,
        "Seed": p["seed"],
        "Size": f"{size[0]}x{size[1]}",
        "Model": p["model"],
        "Denoising strength": f"{edit['strength']:g}" if "strength" in edit else None,
        "Image index": p["index"] or None,  # where one seed has several
        "Mixed with": "; ".join(f"{weight:g} {_line(words)}" for words, weight in mix) or None,
        "To prompt": _line(edit["to"]) if "to" in edit else None,
        "Version": f"glide_jax {p['glide_jax']}",
    }


def _count(steps: str) -> int:
    """A number of steps, also where the record names a respacing."""
    from glide_jax.diffusion import schedules

    parsed = settings.parse_steps("steps", steps)
    if isinstance(parsed, settings.Steps):
        return parsed.count
    return len(schedules.respace(parsed.text, settings.NUM_TIMESTEPS))


def _line(prompt: str) -> str:
    """A prompt as one line, since a line break could begin another part of the text."""
    return " ".join(re.split(r"[\r\n]+", prompt)).strip()


def _quoted(value: Any) -> str:
    """A value, quoted where it holds what separates fields."""
    plain = not re.search(r'[,:\n"]', str(value))
    return str(value) if plain else json.dumps(str(value), ensure_ascii=False)
