"""`glide-jax sample`: pictures of prompts."""

import pathlib
from typing import Any

import click

from glide_jax.cli import bulk, cluster, common
from glide_jax.errors import InputError

MOST_ON_SHEET = 100


@click.command("sample")
@click.argument("prompts", nargs=-1)
@click.option(
    "--prompts-file", type=click.Path(path_type=pathlib.Path),
    help="A prompt a line; pictures that are there already are not drawn again.",
)  # fmt: skip
@click.option("--program", help="A file of `glide-jax export-program`, to spare tracing.")
@click.option(
    "--weights", default="float32", show_default=True,
    help="How parameters are kept: float32, bfloat16, int8 or float8_e4m3fn.",
)  # fmt: skip
@click.option(
    "--offload", is_flag=True, help="Keep only the stage that draws in the device's memory."
)
@common.sampling_options
@cluster.options
def command(
    prompts: tuple[str, ...],
    prompts_file: pathlib.Path | None,
    program: str | None,
    offload: bool,
    weights: str,
    model: str,
    dtype: str,
    device: str | None,
    out: pathlib.Path,
    n: str,
    coordinator: str | None,
    num_processes: str | None,
    process_id: str | None,
    heartbeat_seconds: str,
    wait_seconds: str,
    **options: Any,
) -> None:
    """Draw pictures of PROMPTS (one argument each) into --out, with a contact sheet.

    Each PNG carries its parameters. The same seed gives the same pictures.

    Many processes share a --prompts-file and an --out by --num-processes and --process-id alone.
    Picture k of the file has noise number k, whichever process draws it and when.
    """
    if prompts_file is not None:
        if prompts:
            raise InputError("prompts are given both as arguments and by --prompts-file; use one.")
        prompts = read_prompts(prompts_file)
    if not prompts:
        raise InputError("there is no prompt; give one, in quotes.")
    how = {"program": program, "offload": offload, "weights": weights}
    make = lambda: common.load_glide(model, dtype, device, **how)
    place = cluster.place(coordinator, num_processes, process_id, heartbeat_seconds, wait_seconds)
    if prompts_file is None:
        if place is not None and place.count != 1:
            raise InputError("--num-processes share a --prompts-file; without one, draw alone.")
        common.check_out(out)
        draw(make(), list(prompts), out, n, options)
        return
    bulk.draw(make, list(prompts), out, n, options, place)


def read_prompts(path: pathlib.Path) -> tuple[str, ...]:
    """The lines of a UTF-8 file that are not blank.

    Raises:
        InputError: the file cannot be read or holds no prompt.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")  # U+2028 and the like are text
    except UnicodeDecodeError as error:
        raise InputError(
            f"--prompts-file {str(path)!r} is not UTF-8 text (byte {error.start}); save it as that."
        ) from None
    except OSError as error:
        raise InputError(f"--prompts-file {str(path)!r}: {error.strerror}.") from None
    prompts = tuple(line.strip() for line in lines if line.strip())
    if not prompts:
        raise InputError(f"--prompts-file {str(path)!r} holds no prompt; write one a line.")
    return prompts


def draw(
    glide: Any,
    prompts: list[str],
    out: pathlib.Path,
    n: str,
    options: dict[str, Any],
) -> None:
    """Draws, writes each picture as it is finished, then a contact sheet."""
    from glide_jax import checks, images

    count = checks.whole("n", n, 1, 1_000_000)
    each = checks.whole("keep", options["keep"], 1, count) if options.get("keep") else count
    drawn = []
    with common.progress_bars() as progress:
        pictures = glide.pictures(prompts, n=count, progress=progress, **options)
        for j, picture in enumerate(pictures):
            path = out / file_name(j // each, picture.parameters)
            images.write_png(path, picture.image, picture.parameters)
            common.result(path)
            drawn.append((path, picture.parameters["prompt"]))
    write_sheet(out, drawn)


def write_sheet(out: pathlib.Path, drawn: list[tuple[pathlib.Path, str]]) -> None:
    """A contact sheet of several pictures, each a path and a prompt."""
    from glide_jax import images

    if len(drawn) > 1:
        shown = [images.read(path) for path, _ in drawn[:MOST_ON_SHEET]]
        captions = [prompt for _, prompt in drawn[:MOST_ON_SHEET]]
        sheet = images.contact_sheet(shown, captions)
        images.write_png(out / "sheet.png", sheet, {"contact_sheet_of": len(shown)})
        common.result(out / "sheet.png")


def file_name(number: int, p: dict[str, Any]) -> str:
    """Of a picture of the prompt with this number; an edit's end tells it from other edits'."""
    import hashlib
    import json

    name = f"{number:05d}-{common.slug(p['prompt'])}-s{p['seed']}-i{p['index']}"
    if p["edit"] is not None:
        hashes = {
            key: value.get("sha256") for key, value in p["edit"].items() if type(value) is dict
        }
        said = json.dumps({**p["edit"], **hashes}, sort_keys=True)
        name += f"-{hashlib.sha256(said.encode()).hexdigest()[:8]}"
    return f"{name}.png"
