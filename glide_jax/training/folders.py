"""A run's folders in its workdir: what may be in their way, and the tokenizer that one keeps."""

import json
import os
import pathlib

from glide_jax import checks, files, tokenizers
from glide_jax.errors import InputError
from glide_jax.training.config import CHECKPOINTS


def check(workdir: pathlib.Path) -> None:
    """Looks for what is in the way of the run's folders, before hours of work.

    Raises:
        InputError: something is.
    """
    for name in ("tokenizer", CHECKPOINTS, "tensorboard", "samples", "model", "profile"):
        path = workdir / name
        if os.path.lexists(path) and not path.is_dir():
            raise InputError(
                f"{checks.shown(str(path), 200)} is no folder, and the run makes one of that name; "
                "move it away."
            )
    model = workdir / "model"
    if model.is_dir() and any(model.iterdir()) and not (model / "config.json").exists():
        raise InputError(
            f"{checks.shown(str(model), 200)} holds something other than a model, and the run "
            "leaves one of that name; move it away."
        )


def kept_tokenizer(workdir: pathlib.Path) -> tokenizers.Tokenizer | None:
    """The tokenizer that the run began with.

    Raises:
        InputError: what describes it is damaged.
    """
    path = workdir / "tokenizer" / "spec.json"
    if not os.path.lexists(path):
        return None
    return tokenizers.load(files.read_object(path), path.parent)


def keep_tokenizer(workdir: pathlib.Path, tokenizer: tokenizers.Tokenizer) -> None:
    """Keeps a tokenizer in a workdir, for those that resume."""
    folder = workdir / "tokenizer"
    folder.mkdir(exist_ok=True)
    spec = tokenizer.save(folder)
    with files.replacing(folder / "spec.json") as temporary:
        temporary.write_text(json.dumps(spec), encoding="utf-8")
