"""The files of OpenAI's GLIDE release (December 2021); neither sizes nor hashes were published."""

import difflib
import pathlib
from collections.abc import Mapping

from glide_jax.checkpoints import download
from glide_jax.errors import InputError

SOURCE = "https://openaipublic.blob.core.windows.net/diffusion/dec-2021"
RELEASED: Mapping[str, str] = {
    "base": "base.pt",
    "upsample": "upsample.pt",
    "base-inpaint": "base_inpaint.pt",
    "upsample-inpaint": "upsample_inpaint.pt",
    "clip/image-enc": "clip_image_enc.pt",
    "clip/text-enc": "clip_text_enc.pt",
}


def fetch_released(
    name: str,
    folder: pathlib.Path,
    *,
    sha256: str | None = None,
    progress: download.Progress | None = None,
) -> pathlib.Path:
    """The path of a released file, downloaded into `folder` unless it is there already.

    A file that was put there by hand, under the name it has in the release, is accepted.

    Args:
        name: one of RELEASED.
        folder: the folder of the file.
        sha256: the hash that the file must have.
        progress: receives the bytes done, and their final number or None.

    Raises:
        InputError: the name is unknown, or see `download.fetch_file`.
    """
    check_name(name)
    file = RELEASED[name]
    return download.fetch_file(f"{SOURCE}/{file}", folder / file, sha256=sha256, progress=progress)


def find_file(given: pathlib.Path, folder: pathlib.Path) -> pathlib.Path:
    """The path of a checkpoint: of a file, or of one in `folder` by its name.

    Args:
        given: a path, a name of RELEASED or the name of a file in `folder`.
        folder: where `fetch_released` puts files.

    Raises:
        InputError: it is the name of a released file that is not there, or not whole.
    """
    if given.exists() and not given.is_dir():
        return given
    name = given.as_posix()
    file = RELEASED.get(name, name)
    if (path := folder / file).is_file() and (name in RELEASED or given.name == name):
        return path
    names = {file: name for name, file in RELEASED.items()}
    if file in names:
        state = "not downloaded whole" if path.with_name(f"{file}.part").exists() else "not here"
        raise InputError(
            f"{name!r} is {state}: `glide-jax download {names[file]}` fetches it, or give the path "
            "of the file."
        )
    return given


def check_name(name: str) -> None:
    """Refuses a name that is not in the release.

    Raises:
        InputError: the message has the nearest name.
    """
    if name not in RELEASED:
        near = difflib.get_close_matches(name, RELEASED, 1, 0.0)[0]
        raise InputError(
            f"{name[:80]!r} is not a released file: use {near!r}, or another of "
            f"{', '.join(RELEASED)}."
        )
