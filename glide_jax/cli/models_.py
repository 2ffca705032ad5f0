"""`glide-jax models`: the models that are here, by the names that other commands take."""

import dataclasses
import pathlib
import re
from collections.abc import Mapping
from typing import Any

import click

from glide_jax import checks
from glide_jax.cli import common
from glide_jax.errors import InputError

_LICENCE = re.compile(r"\*\*Licence\.\*\*\s+(.+?)[.\n]")


@click.command("models")
@common.json_option
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
        facts = _facts(folder)
        first, *more = _lines(facts)
        common.result(first, facts)
        for line in more:
            common.result(line)
    common.say(f"those in the box, and those in {cached}")


def _facts(folder: pathlib.Path) -> dict[str, Any]:
    """A model's name, and the facts about it or the reason why it cannot be used."""
    from glide_jax.model_dir import reading

    named = {"name": folder.name, "path": folder}
    try:
        stages = reading.stage_configs(folder)
        forms = reading.read_forms(folder)
    except InputError as error:
        return {**named, "error": str(error)}
    return {
        **named,
        "sizes": [stage.model.image_size for stage in stages.values()],
        "inpaints": any(stage.model.inpaint for stage in stages.values()),
        "distilled": {name: stage.distilled for name, stage in stages.items() if stage.distilled},
        "licence": _licence(folder),
        "forms": None if forms is None else dataclasses.asdict(forms),
    }


def _lines(facts: Mapping[str, Any]) -> list[str]:
    """A model's name and facts, the forms indented below it."""
    if "error" in facts:
        return [f"{facts['name']}  cannot be used: {facts['error']}"]
    licence, forms = facts["licence"], facts["forms"]
    parts = [
        f"{' and '.join(map(str, facts['sizes']))} pixels",
        *["paints into pictures"] * facts["inpaints"],
        *(f"{name} distilled to {_steps(n)}" for name, n in facts["distilled"].items()),
        "its card has no licence" if licence is None else f"licence: {licence}",
    ]
    lines = [f"{facts['name']}  {'; '.join(parts)}"]
    if forms is None:
        return lines
    lines += [f"    {forms['about']}"] if forms["about"] else []
    lines += [f"    {form}" for form in forms["forms"]]
    return lines + [
        f"        {{{slot}}}: {', '.join(words)}" for slot, words in forms["words"].items()
    ]


def _steps(n: int) -> str:
    return "1 step" if n == 1 else f"{n} steps"


def _licence(folder: pathlib.Path) -> str | None:
    """The licence by the model's card."""
    try:
        found = _LICENCE.search((folder / "README.md").read_text("utf-8", "replace")[: 1 << 16])
    except OSError:
        found = None
    return checks.printable(found[1], 60) if found else None
