"""The files of OpenAI's GLIDE release (December 2021), and where they are kept."""

import difflib
import pathlib
from collections.abc import Callable, Mapping
from typing import NamedTuple

from glide_jax.checkpoints import download
from glide_jax.errors import InputError

DEFAULT_FOLDER = "~/.cache/glide_jax"
_SOURCE = "https://openaipublic.blob.core.windows.net/diffusion/dec-2021"


class Released(NamedTuple):
    """One released file; OpenAI published neither its size nor its hash."""

    url: str
    sha256: str | None = None

    @property
    def file(self) -> str:
        return self.url.rsplit("/", 1)[1]


RELEASED: Mapping[str, Released] = {
    "base": Released(f"{_SOURCE}/base.pt"),
    "upsample": Released(f"{_SOURCE}/upsample.pt"),
    "base-inpaint": Released(f"{_SOURCE}/base_inpaint.pt"),
    "upsample-inpaint": Released(f"{_SOURCE}/upsample_inpaint.pt"),
    "clip/image-enc": Released(f"{_SOURCE}/clip_image_enc.pt"),
    "clip/text-enc": Released(f"{_SOURCE}/clip_text_enc.pt"),
}


def fetch_released(
    name: str,
    folder: str | pathlib.Path = DEFAULT_FOLDER,
    *,
    sha256: str | None = None,
    progress: Callable[[int, int | None], None] | None = None,
) -> pathlib.Path:
    """The path of a released file, downloaded into `folder` unless it is there already.

    A file that someone put there by hand, under the name it has in the release, is taken as it is.

    Raises:
        InputError: the name is unknown, or whatever `download.fetch_file` raises.
    """
    check_name(name)
    wanted = RELEASED[name]
    path = pathlib.Path(folder).expanduser() / wanted.file
    return download.fetch_file(wanted.url, path, sha256=sha256 or wanted.sha256, progress=progress)


def check_name(name: str) -> None:
    """Refuses a name that is not in the release.

    Raises:
        InputError: the nearest name is given.
    """
    if name not in RELEASED:
        near = difflib.get_close_matches(name, RELEASED, 1, 0.0)[0]
        raise InputError(
            f"{name[:80]!r} is not a released file: use {near!r}, or another of "
            f"{', '.join(RELEASED)}."
        )
