"""The fields of the page as calls of the model."""

import dataclasses
import secrets
from collections.abc import Mapping
from typing import Any

from PIL import Image

from glide_jax import checks
from glide_jax.errors import InputError
from glide_jax.sampling import edits, notes, repeating
from glide_jax.sampling.call import NO_EDIT, Edit, parse
from glide_jax.sampling.glide import Glide
from glide_jax.sampling.parsers import LAST_SEED
from glide_jax.sampling.settings import PRESETS, StageSettings, option_of
from glide_jax.serving import sent
from glide_jax.serving.page_masks import softened
from glide_jax.serving.protocol import Limits, Wish

PREVIEWS = 6
LARGEST = 1 << 18  # pixels of a picture that is enlarged: others wait while its windows are drawn
FRAMES = 24  # between two prompts
_STAGE = {field.name: field for field in dataclasses.fields(StageSettings)}
PRESET_NAMES = {"the model's own": None, **{name: name for name in PRESETS}}


class Maker:
    """Makes wishes for a model.

    Args:
        glide: the model.
        limits: those that hold for a request.
    """

    def __init__(self, glide: Glide, limits: Limits):
        self.glide, self.limits = glide, limits

    @property
    def enlarges(self) -> bool:
        """Whether there is an upsampler."""
        return "upsample" in self.glide.sizes

    def options(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Options of a call by their names, of the page's fields; empty ones are left out.

        Raises:
            InputError: one is beyond the limits.
        """
        text = lambda name: str(fields.get(name) or "").strip()
        steps = text("steps") or None
        if steps is not None:
            steps = checks.whole("steps", steps, 1, self.limits.steps)
        return {
            "batch_size": 1,
            "upsample": self.enlarges,
            "negative_prompt": self.prompt(text("negative_prompt")) or None,
            "seed": text("seed") or secrets.randbelow(LAST_SEED + 1),
            "preset": PRESET_NAMES.get(str(fields.get("preset"))),
            "steps": steps,
            "guidance_scale": text("guidance_scale") or None,
        }

    def prompt(self, text: str) -> str:
        """A prompt within the limits.

        Raises:
            InputError: it is too long.
        """
        return sent.prompt("the prompt", text, self.limits.prompt)

    def draw(self, fields: Mapping[str, Any], edit: Edit = NO_EDIT) -> Wish:
        """Pictures of a prompt.

        Args:
            fields: those of a tab: prompt, negative_prompt, n, seed, preset, steps and
                guidance_scale.
            edit: the picture that goes in.

        Raises:
            InputError: a field is wrong.
        """
        prompt = self.prompt(fields.get("prompt") or "")
        n = checks.whole("n", fields.get("n") or 1, 1, self.limits.n)
        calls = sent.calls(self.glide, prompt, {**self.options(fields), "edit": edit}, n)
        told = notes.notes(self.glide.loaded, [prompt])
        return Wish("generation", prompt, calls, calls[0].seed, partial_images=PREVIEWS, notes=told)

    def repaint(
        self,
        fields: Mapping[str, Any],
        picture: Image.Image,
        mask: Image.Image,
        *,
        soft: int = 0,
        extend: tuple[int, int, int, int] = (0, 0, 0, 0),
    ) -> Wish:
        """Pictures that differ from one where a mask is white.

        Args:
            fields: see `draw`; strength, too.
            picture: any.
            mask: one as large.
            soft: pixels over which the mask's edge fades.
            extend: pixels that are added at the left, top, right and bottom.

        Raises:
            InputError: a field is wrong, or there is nothing to paint.
        """
        blank = mask.getbbox() is None
        extended = (picture.width + extend[0] + extend[2]) * (
            picture.height + extend[1] + extend[3]
        )
        if extended > self.limits.pixels:
            raise InputError(
                f"the extended picture would have {extended} pixels; it must have at most "
                f"{self.limits.pixels}."
            )
        if blank and not any(extend):
            raise InputError("nothing is painted: brush over what is to change, or extend it.")
        edit = edits.inpainting(
            self.glide.loaded,
            picture,
            None if blank else softened(mask, soft),
            extend=extend,
            strength=fields.get("strength") or 1.0,
            upsample=self.enlarges,
        )
        return self.draw(fields, edit)

    def edit(self, fields: Mapping[str, Any], picture: Image.Image) -> Wish:
        """Pictures that are drawn from one.

        Args:
            fields: see `draw`; strength, too.
            picture: with a sketch upon it, say.

        Raises:
            InputError: a field is wrong.
        """
        edit = edits.redrawing(
            self.glide.loaded, picture, strength=fields["strength"], upsample=self.enlarges
        )
        return self.draw(fields, edit)

    def enlarge(self, fields: Mapping[str, Any], picture: Image.Image) -> Wish:
        """A picture by the upsampler.

        Args:
            fields: see `draw`.
            picture: a small one.

        Raises:
            InputError: a field is wrong, or the picture is too large.
        """
        if picture.width * picture.height > LARGEST:
            raise InputError(
                f"the picture has {picture.width} x {picture.height} pixels; this page enlarges "
                f"pictures of at most {LARGEST}."
            )
        return self.draw({**fields, "n": 1}, edits.upscaling(self.glide.loaded, picture))

    def between(self, fields: Mapping[str, Any], last: str, frames: Any) -> Wish:
        """Pictures on the way from a prompt to another.

        Args:
            fields: see `draw`; the prompt is the first.
            last: the last prompt.
            frames: pictures.

        Raises:
            InputError: a field is wrong.
        """
        ends = self.prompt(fields.get("prompt") or ""), self.prompt(last)
        frames = checks.whole("frames", frames, 2, FRAMES)
        call = parse(self.options(fields))
        call = edits.interpolating(self.glide.loaded, call, ends, frames=frames)
        self.glide.parameters(ends, call)
        told = notes.notes(self.glide.loaded, ends)
        return Wish("generation", ends, (call,), call.seed, partial_images=PREVIEWS, notes=told)

    def again(
        self,
        parameters: Mapping[str, Any],
        picture: Image.Image | None,
        mask: Image.Image | None,
    ) -> Wish:
        """A picture from the parameters that it carries, drawn alone.

        Args:
            parameters: those of a PNG.
            picture: what went in, if something did.
            mask: its mask, if it had one.

        Raises:
            InputError: the parameters are not whole, are another model's, or something that went
                in is missing.
        """
        p = _alone(repeating.check(parameters))
        prompts, call = repeating.repetition(self.glide.loaded, p, picture, mask)
        repeating.check_same(self.glide.loaded, self.glide.parameters(prompts, call)[0], p)
        base = p.get("base") or {}
        if str(base.get("steps", "")).isdigit():
            checks.whole("steps", base["steps"], 1, self.limits.steps)
        weights = call.edit.weights
        if weights is not None:
            checks.whole("frames", len(weights), 2, FRAMES)
        if call.edit.low_res is not None and call.edit.low_res[..., 0].size > 4 * LARGEST:
            raise InputError("the picture that was enlarged is too large for this page.")
        prompt = prompts[0] if weights is None else (prompts[0], prompts[1])
        return Wish("generation", prompt, (call,), call.seed, partial_images=PREVIEWS)


def _alone(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters without what would make this machine read files of its own.

    Raises:
        InputError: another model took part.
    """
    if "autoguidance_model" in parameters:
        raise InputError(
            "the picture was guided by another model, too; draw it again with `glide-jax repeat`."
        )
    out = {**parameters, "batch_size": 1}
    record = parameters.get("edit")
    if isinstance(record, Mapping):
        bare = lambda v: (
            {k: w for k, w in v.items() if k != "path"} if isinstance(v, Mapping) else v
        )
        out["edit"] = {name: bare(value) for name, value in record.items()}
    return out


def parameters_in(picture: Image.Image) -> dict[str, Any]:
    """The parameters that a picture carries.

    Raises:
        InputError: there are none.
    """
    found = sent.parameters(picture)
    if found is None:
        raise InputError("the picture carries no parameters; drop a PNG that was drawn here.")
    return found


def fields_of(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The page's fields that parameters fill in, as texts."""
    base = parameters.get("base")
    base = base if isinstance(base, Mapping) else {}
    steps = str(base.get("steps", ""))
    return {
        "prompt": str(parameters.get("prompt") or ""),
        "negative_prompt": str(parameters.get("negative_prompt") or ""),
        "seed": str(parameters.get("seed", "")),
        "steps": steps if steps.isdigit() else "",
        "guidance_scale": str(base.get("guidance_scale", "")),
    }


def changed(parameters: Mapping[str, Any], fields: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters with what a visitor has changed since `fields_of`.

    Args:
        parameters: those of a picture.
        fields: the page's, see `Maker.draw`.

    Raises:
        InputError: a field has no meaning for the picture.
    """
    out, old = dict(parameters), fields_of(parameters)
    text = lambda name: str(fields.get(name) or "").strip()
    new = {name: text(name) for name in old if text(name) != old[name].strip()}
    for name, value in new.items():
        if name in ("steps", "guidance_scale"):
            if not isinstance(parameters.get("base"), Mapping):
                raise InputError(f"{name} means nothing where the base does not draw; empty it.")
            check = option_of(_STAGE[name]).parse
            parsed = str(check(name, value)) if name == "steps" else check(name, value)
            out["base"] = {**out["base"], name: parsed}
        elif name == "seed":
            out[name] = checks.whole(name, value, 0, LAST_SEED)
        elif name == "negative_prompt" and not value:
            del out[name]
        else:
            out[name] = value
    edit = parameters.get("edit")
    if "prompt" in new and isinstance(edit, Mapping) and edit.get("kind") == "interpolate":
        out["edit"] = {**edit, "from": new["prompt"]}
    return out
