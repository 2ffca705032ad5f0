"""`glide-jax pack`: one model directory of separately trained parts."""

import pathlib

import click

from glide_jax.cli import common
from glide_jax.errors import InputError


@click.command("pack")
@click.argument("parts", nargs=-1, type=common.PATH)
@click.option("--out", required=True, type=common.PATH, help="The new directory.")
@click.option("--name", help="The model's; by default that of the directory.")
@click.option(
    "--dtype", default="float32", show_default=True, help="Dtype of the stored weights, or float16."
)
@click.option("--card", type=common.PATH, help="README.md of the new directory.")
@click.option(
    "--rest-of",
    type=common.PATH,
    help="A model directory that has what is not given, or the same: then not copied.",
)
def command(
    parts: tuple[pathlib.Path, ...],
    out: pathlib.Path,
    name: str | None,
    dtype: str,
    card: pathlib.Path | None,
    rest_of: pathlib.Path | None,
) -> None:
    """Join PARTS, as training writes them: a base, perhaps an upsampler and a CLIP."""
    if not parts:
        raise InputError("there is no part; give the directories of a base and what goes with it.")
    common.check_out(out)
    from glide_jax.model_dir import writing

    text = None
    if card is not None:
        try:
            text = card.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise InputError(
                f"--card {str(card)!r} is not UTF-8 text (byte {error.start}); save it as that."
            ) from None
        except OSError as error:
            raise InputError(f"--card {str(card)!r}: {error.strerror}.") from None
    name = name or out.resolve().name
    model = writing.pack_models(parts, out, name=name, dtype=dtype, card=text, rest_of=rest_of)
    clip = ["clip"] if model.clip else []
    common.say(f"{model.name}: {', '.join([*model.stages, *clip])}")
    common.result(out)
