"""`glide-jax sample`: pictures of prompts."""

import pathlib
from typing import Any

import click

from glide_jax.cli import common
from glide_jax.errors import InputError


@click.command("sample")
@click.argument("prompts", nargs=-1)
@click.option(
    "--prompts-file", type=click.Path(path_type=pathlib.Path),
    help="A prompt a line; pictures that are there already are not drawn again.",
)  # fmt: skip
@common.sampling_options
def command(
    prompts: tuple[str, ...],
    prompts_file: pathlib.Path | None,
    model: str,
    dtype: str,
    device: str | None,
    out: pathlib.Path,
    n: str,
    **options: Any,
) -> None:
    """Draw pictures of PROMPTS (one argument each) into --out, with a contact sheet.

    Each PNG carries its parameters. The same seed gives the same pictures.
    """
    if prompts_file is not None:
        if prompts:
            raise InputError("prompts are given both as arguments and by --prompts-file; use one.")
        prompts = read_prompts(prompts_file)
    if not prompts:
        raise InputError("there is no prompt; give one, in quotes.")
    common.check_out(out)
    glide = common.load(model, dtype, device)
    draw(glide, list(prompts), out, n, options, resume=prompts_file is not None)


def read_prompts(path: pathlib.Path) -> tuple[str, ...]:
    """The lines of a UTF-8 file that are not blank.

    Raises:
        InputError: the file cannot be read or holds no prompt.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise InputError(f"{str(path)!r} is not UTF-8 text: byte {error.start}.") from None
    except OSError as error:
        raise InputError(f"--prompts-file {str(path)!r}: {error.strerror}.") from None
    prompts = tuple(line.strip() for line in lines if line.strip())
    if not prompts:
        raise InputError(f"{str(path)!r} holds no prompt.")
    return prompts


def draw(
    glide: Any,
    prompts: list[str],
    out: pathlib.Path,
    n: str,
    options: dict[str, Any],
    *,
    resume: bool = False,
) -> None:
    """Draws, writes each picture as it is finished, then a contact sheet."""
    from glide_jax import checks, images

    count = checks.whole("n", n, 1, 1_000_000)
    names = [f"{k:05d}-{common.slug(prompt)}" for k, prompt in enumerate(prompts)]
    if resume:
        todo = [k for k in range(len(prompts)) if not _finished(glide, out, names[k], k, prompts,
                                                                count, options)]  # fmt: skip
        if len(todo) < len(prompts):
            common.say(f"{len(prompts) - len(todo)} of {len(prompts)} prompts are drawn already")
    else:
        todo = list(range(len(prompts)))
    shown: list[tuple[Any, str]] = []
    with common.plain_warnings(), common.progress_bars() as progress:
        pictures = glide.pictures(
            [prompts[k] for k in todo], n=count, progress=progress, **options
        ) if todo else iter(())  # fmt: skip
        for j, picture in enumerate(pictures):
            k = todo[j // count]
            p = picture.parameters
            path = out / f"{names[k]}-s{p['seed']}-i{p['index']}.png"
            images.write_png(path, picture.image, p)
            shown.append((picture.image, p["prompt"]))
            print(path, flush=True)
    if len(shown) > 1:
        shown = shown[:100]
        sheet = images.contact_sheet([s[0] for s in shown], [s[1] for s in shown])
        images.write_png(out / "sheet.png", sheet, {"contact_sheet_of": len(shown)})
        print(out / "sheet.png")


def _finished(
    glide: Any,
    out: pathlib.Path,
    name: str,
    k: int,
    prompts: list[str],
    count: int,
    options: dict[str, Any],
) -> bool:
    """Whether all pictures of a prompt are there, drawn with the same parameters."""
    from glide_jax import images

    for expected in glide.parameters(prompts[k], n=count, **options):
        path = out / f"{name}-s{expected['seed']}-i{expected['index']}.png"
        if images.read_parameters(path) != expected:
            return False
    return True
