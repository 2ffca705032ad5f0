"""Commands that draw: their shared options, made from the fields of settings, and their files."""

import dataclasses
import functools
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from glide_jax.cli import common, filtering, placing, signing
from glide_jax.cli.progress import progress_bars
from glide_jax.errors import InputError
from glide_jax.sampling.call import Call, Edit, options, parse
from glide_jax.sampling.parsers import RANDOM
from glide_jax.sampling.settings import option_of

if TYPE_CHECKING:
    from PIL import Image

    from glide_jax.safety.prompt_filter import PromptFilter
    from glide_jax.sampling.glide import Glide
    from glide_jax.sampling.loading import Loaded

    EditOf = Callable[[Loaded], Edit | Call]

MOST_ON_SHEET = 100
_NO_PROMPT = (
    "--a1111 writes the prompt, which --no-record-prompt keeps out of the files; leave one of them "
    "out."
)
a1111_option = click.option(
    "--a1111", is_flag=True, help="Write the text of the AUTOMATIC1111 web UI into PNGs, too."
)


class Drawing(NamedTuple):
    """The shared options of a command that draws, checked as far as that needs no model."""

    model: str
    dtype: str
    device: str | None
    out: pathlib.Path
    call: Call
    given: dict[str, Any]  # the options of `call` as text, without those left out
    prompt_filter: "PromptFilter"
    a1111: bool  # whether pictures have the text of A1111, too

    def marked(self, image: "Image.Image", parameters: Mapping[str, Any]) -> "Image.Image":
        """A picture with the text of A1111, if the command asks for it."""
        from glide_jax.sampling import a1111

        return a1111.marked(image, parameters) if self.a1111 else image

    @property
    def at_random(self) -> bool:
        """Whether the seed was left to chance."""
        return self.given.get("seed") == RANDOM

    def load(
        self, prompts: Sequence[str], edit: "EditOf | None" = None, **how: Any
    ) -> "tuple[Glide, Drawing]":
        """The same as `load_only`, once the prompts and --out are found to be usable, too."""
        from glide_jax.sampling.request import check_prompts

        check_prompts(prompts)
        common.check_out(self.out)
        return self.load_only(prompts, edit, **how)

    def load_only(
        self, prompts: Sequence[str], edit: "EditOf | None" = None, **how: Any
    ) -> "tuple[Glide, Drawing]":
        """The model, and these options with the edit, once the options are found to be right.

        Args:
            prompts: one or several.
            edit: makes the edit, or the whole call, for the model while its weights are not read.
            **how: see `glide_jax.load`.
        """
        model = common.model_or_run(self.model, self.device)
        outline = common.outline(model, self.dtype, exported=how.get("program") is not None)
        call = self.call if edit is None else edit(outline.loaded)
        if isinstance(call, Edit):
            call = dataclasses.replace(self.call, edit=call)
        outline.check(prompts, call)
        _, found = self.prompt_filter.check(*prompts, *(text for text, _ in call.mix))
        if found:
            common.warn(f"warning: {found}")
        glide = common.load_glide(model, self.dtype, self.device, **how)
        return glide, self._replace(call=call)


def drawing_command(helps: Mapping[str, str] | None = None) -> Callable[[Callable], Callable]:
    """Gives a command the options of `Call`, which it takes together as `drawing`.

    Args:
        helps: help texts of a command that has these options alone; None is all, as they say.
    """
    texts = helps or option_helps()

    def decorate(command: Callable) -> Callable:
        def run(
            model: str,
            dtype: str,
            device: str | None,
            out: pathlib.Path,
            prompt_filter: "PromptFilter",
            a1111: bool,
            **values: Any,
        ) -> None:
            given = {name: values.pop(name) for name in texts}
            given = {name: value for name, value in given.items() if value is not None}
            call = parse(given)
            if a1111 and not call.record_prompt:
                raise InputError(_NO_PROMPT)
            drawing = Drawing(model, dtype, device, out, call, given, prompt_filter, a1111)
            if drawing.at_random:
                common.say(f"the seed is {drawing.call.seed}")
            command(drawing=drawing, **values)

        shared = [
            common.model_or_run_option, common.dtype_option, common.device_option,
            common.out_option, common.json_option, filtering.filter_option("warn"),
            signing.marks_options, a1111_option,
        ]  # fmt: skip
        flags = [_flag(name, text) for name, text in texts.items()]
        whole: Callable = functools.update_wrapper(run, command)
        for option in reversed([*flags, *shared]):
            whole = option(whole)
        return whole

    return decorate


def option_helps() -> dict[str, str]:
    """The help text of every option of `Call` that the command line has, by its name."""

    def text_of(group: str, field: dataclasses.Field) -> str | None:
        meta = option_of(field)
        return meta.upsample if group == "upsampler" else meta.help

    return {name: text for name, option in options().items() if (text := text_of(*option))}


def _flag(name: str, text: str) -> Callable[[Callable], Callable]:
    """The click option of a setting. Values stay text: the fields' own parsers check them."""
    _, field = options()[name]
    flag = f"--{name.replace('_', '-')}"
    if isinstance(field.default, bool):
        return click.option(f"{flag}/--no-{flag[2:]}", default=field.default, help=text)
    if name == "mix":
        return click.option(flag, multiple=True, metavar="WEIGHT:PROMPT", help=text)
    if option_of(field).shown:
        return click.option(flag, default=str(field.default), show_default=True, help=text)
    kind = common.PLACE if name.endswith("_model") else None
    return click.option(flag, type=kind, help=text)


def draw_to_files(glide: "Glide", prompts: Sequence[str], drawing: Drawing) -> None:
    """Draws, writes each picture as it is finished, then a contact sheet.

    Args:
        glide: the model.
        prompts: one or several.
        drawing: the command's options.
    """
    call, drawn, scores, before = drawing.call, [], [], 0
    each = call.n if call.keep is None else call.keep
    with progress_bars("steps", width=9) as progress:
        pictures = glide.pictures(prompts, call, progress=progress)
        for j, picture in enumerate(pictures):
            p = picture.parameters
            image = drawing.marked(picture.image, p)
            path, found = placing.write(drawing.out, stem(j // each, p), image, p)
            common.result(path, {"path": path, "parameters": p})
            drawn.append((path, p.get("prompt", "")))
            scores.append((path.name, p.get("choice")))
            before += found == "same"
    for name, choice in scores:
        if choice is not None:
            common.say(f"{name}: {choice['score']:.2f} by the CLIP, of {choice['n']} drawn")
    if before:
        stay = f"stay as they are{signing.for_new_ones()}"
        common.say(f"{before} of {len(drawn)} pictures were there already and {stay}")
    write_sheet(drawing.out, drawn)


def write_sheet(out: pathlib.Path, drawn: list[tuple[pathlib.Path, str]]) -> None:
    """A contact sheet of several pictures, each a path and a prompt."""
    from glide_jax import colours, contact_sheets, images, provenance

    if len(drawn) > 1:
        files = [images.read(path) for path, _ in drawn[:MOST_ON_SHEET]]
        sources = {provenance.claims(file.info.get("xmp")).source for file in files}
        source = provenance.COMPOSITE if provenance.COMPOSITE in sources else provenance.TRAINED
        shown = [colours.own(file).upright for file in files]
        captions = [prompt for _, prompt in drawn[:MOST_ON_SHEET]]
        sheet = contact_sheets.contact_sheet(shown, captions)
        parameters = {"contact_sheet_of": len(shown)}
        common.result(placing.write_sheet(out, "sheet", sheet, parameters, source))


def stem(number: int, p: Mapping[str, Any]) -> str:
    """The name of a picture of the prompt with this number; see `placing.place`."""
    return f"{number:05d}-{common.slug(p.get('prompt', 'picture'))}-s{p['seed']}-i{p['index']}"
