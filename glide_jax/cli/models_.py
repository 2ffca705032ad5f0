"""`glide-jax models`: the models that are here, by the names that other commands take."""

import pathlib
import re

import click

from glide_jax import checks
from glide_jax.cli import common
from glide_jax.errors import InputError

_LICENCE = re.compile(r"\*\*Licence\.\*\*\s+(.+?)[.\n]")


@click.command("models")
def command() -> None:
    """List the models in the box and those in the cache: sizes, licences and what each draws.

    Each name goes to --model. The forms are those of the captions in training; a prompt of
    another form is drawn, too, but perhaps not as it means.
    """
    from glide_jax.model_dir import reading

    cached = common.cache_folder() / "models"
    folders = [reading.BOXED / name for name in reading.boxed_models()]
    folders += sorted(path.parent for path in cached.glob("*/config.json"))
    for folder in folders:
        for line in _lines(folder):
            common.result(line)
    common.say(f"those in the box, and those in {cached}")


def _lines(folder: pathlib.Path) -> list[str]:
    """A model's name and facts, the forms indented below it."""
    from glide_jax.model_dir import reading

    try:
        stages = reading.stage_configs(folder)
        forms = reading.read_forms(folder)
    except InputError as error:
        return [f"{folder.name}  cannot be used: {error}"]
    sizes = " and ".join(f"{stage.model.image_size}" for stage in stages.values())
    inpaints = any(stage.model.inpaint for stage in stages.values())
    facts = [f"{sizes} pixels", *["paints into pictures"] * inpaints, _licence(folder)]
    lines = [f"{folder.name}  {'; '.join(facts)}"]
    if forms is None:
        return lines
    lines += [f"    {forms.about}"] if forms.about else []
    lines += [f"    {form}" for form in forms.forms]
    return lines + [
        f"        {{{slot}}}: {', '.join(words)}" for slot, words in forms.words.items()
    ]


def _licence(folder: pathlib.Path) -> str:
    """The licence by the model's card."""
    try:
        found = _LICENCE.search((folder / "README.md").read_text("utf-8", "replace")[: 1 << 16])
    except OSError:
        found = None
    return f"licence: {checks.printable(found[1], 60)}" if found else "its card has no licence"
