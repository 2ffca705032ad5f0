"""`glide-jax verify`: where pictures claim to come from, and whether they were altered."""

import pathlib

import click

from glide_jax import checks
from glide_jax.cli import common
from glide_jax.errors import InputError

FAULTY, NOT_OURS, ALTERED = 2, 3, 4  # exit codes


@click.command("verify")
@click.argument("files", nargs=-1, required=True, type=common.PATH)
@click.option("--trust", type=common.PATH,
              help="Certificates (PEM) that are trusted to sign; else none is.")  # fmt: skip
@common.json_option
def command(files: tuple[pathlib.Path, ...], trust: pathlib.Path | None) -> int:
    """Say where FILES claim to come from: by glide_jax or not, altered since or not, signed or not.

    The exit code is 0 where every file is a picture of glide_jax as it was written, 4 where one was
    altered since, 3 where one is no picture of glide_jax or that cannot be told, and 2 where one
    cannot be read.
    """
    from glide_jax.safety import verifying

    trusted, codes = None, {0}
    try:
        trusted = trust.read_bytes() if trust else None
    except OSError as error:
        raise InputError(
            f"--trust {checks.shown(str(trust), 200)} cannot be read: {error.strerror}."
        ) from None
    for path in files:
        try:
            verdict = verifying.verify(path, trusted)
        except InputError as error:
            common.warn(f"glide-jax: {error}")
            codes.add(FAULTY)
            continue
        common.result(f"{path}: {verdict.words}", {"path": path, **verdict._asdict()})
        if not verdict.ours or verdict.altered is None:
            codes.add(NOT_OURS)
        elif verdict.altered:
            codes.add(ALTERED)
    return next(code for code in (FAULTY, ALTERED, NOT_OURS, 0) if code in codes)
