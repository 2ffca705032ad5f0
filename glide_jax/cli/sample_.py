"""`glide-jax sample`: pictures of prompts."""

import pathlib
import sys
from typing import Any

import click

from glide_jax.cli import bulk, cluster, common
from glide_jax.cli.drawing import Drawing, draw_to_files, drawing_command
from glide_jax.errors import InputError

_MOST_BYTES = 1 << 28


@click.command("sample")
@click.argument("prompts", nargs=-1)
@click.option(
    "--prompts-file", type=common.PATH,
    help="A prompt a line, or - for standard input; pictures that are there already are not drawn "
    "again.",
)  # fmt: skip
@click.option(
    "--program",
    type=common.PLACE,
    help="A file of `glide-jax export-program`, to spare tracing.",
)
@click.option(
    "--weights", default="float32", show_default=True,
    help="How parameters are kept: float32, bfloat16, int8 or float8_e4m3fn.",
)  # fmt: skip
@click.option(
    "--offload", is_flag=True, help="Keep only the stage that draws in the device's memory."
)
@drawing_command()
@cluster.options
def command(
    prompts: tuple[str, ...],
    prompts_file: pathlib.Path | None,
    drawing: Drawing,
    coordinator: str | None,
    num_processes: str | None,
    process_id: str | None,
    heartbeat_seconds: str,
    wait_seconds: str,
    **how: Any,
) -> None:
    """Draw pictures of PROMPTS (one argument each) into --out, with a contact sheet.

    Each PNG carries its parameters. The same seed gives the same pictures.

    Many processes share a --prompts-file and an --out by --num-processes and --process-id alone.
    Picture k of the file has noise number k, whichever process draws it and when.
    """
    if prompts == ("-",):
        prompts, prompts_file = (), pathlib.Path("-")
    if prompts_file is not None:
        if prompts:
            raise InputError("prompts are given both as arguments and by --prompts-file; use one.")
        prompts = read_prompts(prompts_file)
    if not prompts:
        raise InputError("there is no prompt; give one, in quotes.")
    place = cluster.place(coordinator, num_processes, process_id, heartbeat_seconds, wait_seconds)
    cluster.check_waits(place)
    if prompts_file is None:
        if place is not None and place.count != 1:
            raise InputError("--num-processes share a --prompts-file; without one, draw alone.")
        glide, drawing = drawing.load(prompts, **how)
        draw_to_files(glide, prompts, drawing)
        return
    load = lambda: drawing.load_only(prompts, **how)[0]
    bulk.draw_share(load, prompts, drawing, place)


def read_prompts(path: pathlib.Path) -> tuple[str, ...]:
    """The lines of a UTF-8 file that are not blank; `-` is standard input.

    Raises:
        InputError: the file cannot be read or holds no prompt.
    """
    try:
        with sys.stdin.buffer if str(path) == "-" else open(path, "rb") as file:
            data = file.read(_MOST_BYTES + 1)
        if len(data) > _MOST_BYTES:
            raise InputError(
                f"--prompts-file {str(path)!r} has over {_MOST_BYTES >> 20} MB; cut it into "
                "several."
            )
        text = data.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
        lines = text.split("\n")  # U+2028 and the like are text
    except UnicodeDecodeError as error:
        raise InputError(
            f"--prompts-file {str(path)!r} is not UTF-8 text (byte {error.start}); save it as that."
        ) from None
    except IsADirectoryError:
        raise InputError(
            f"--prompts-file {str(path)!r} is a folder; give a text file with a prompt a line."
        ) from None
    except OSError as error:
        raise InputError(f"--prompts-file {str(path)!r}: {error.strerror}.") from None
    prompts = tuple(line.strip() for line in lines if line.strip())
    if not prompts:
        raise InputError(f"--prompts-file {str(path)!r} holds no prompt; write one a line.")
    return prompts
