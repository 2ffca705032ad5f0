"""The options by which commands sign and mark the pictures that they write."""

import pathlib
from collections.abc import Callable

import click

from glide_jax.cli import common


def _sign(who: str | None) -> None:
    from glide_jax import provenance

    if who is None:  # and not whom an earlier command of this process took
        provenance.sign_by(None)
        return
    from glide_jax.safety import credentials

    path, new = pathlib.Path(who), False
    if who == credentials.SELF_MADE:
        path, new = credentials.self_made(common.cache_folder())
    provenance.sign_by(credentials.signer(path))
    if new:
        common.say(
            f"note: {path} is a new certificate, for which nobody vouches: it shows that pictures "
            "were not altered, and not who drew them."
        )


def _mark(wanted: bool) -> None:
    from glide_jax import provenance

    provenance.mark_pixels(wanted)  # or not, whatever an earlier command of this process did


_sign_option = click.option(
    "--sign", type=common.PLACE, metavar="PEM", expose_value=False,
    callback=lambda ctx, param, value: _sign(value),
    help="Sign pictures (C2PA) by a file with certificates and key; `self` makes one.",
)  # fmt: skip
_watermark_option = click.option(
    "--watermark/--no-watermark", default=False, show_default=True, expose_value=False,
    callback=lambda ctx, param, value: _mark(value),
    help="Mark pictures invisibly, so that `verify` knows them without their records.",
)  # fmt: skip


def marks_options(command: Callable) -> Callable:
    """A command with the options by which pictures are signed and marked."""
    return _sign_option(_watermark_option(command))


def for_new_ones() -> str:
    """A note, after a semicolon, for pictures that stay without the marks now asked for."""
    from glide_jax import provenance

    asked = {"--sign": provenance.signs(), "--watermark": provenance.marks()}
    wanted = " and ".join(flag for flag, is_asked in asked.items() if is_asked)
    return f"; {wanted} would be for new ones" if wanted else ""
