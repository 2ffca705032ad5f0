"""Sentences on a run's data: what is not used, what is cut, and whether it has changed."""

import hashlib
import json
import os
import pathlib
from typing import Any

import numpy as np

from glide_jax import checks
from glide_jax.data import catalogue
from glide_jax.data.fingerprint import fingerprint
from glide_jax.data.survey import count_cut
from glide_jax.errors import InputError
from glide_jax.files import read_object, replacing
from glide_jax.training.config import has_checkpoint
from glide_jax.training.run import Run
from glide_jax.trees import flatten

FILE = "data.json"  # in a workdir: the data that its run began with
_LOOKED_AT = 256  # captions


def lines(run: Run) -> list[str]:
    """Returns sentences on the things that a run's data has and that training does not see."""
    found = [f"data: passed over: {line}" for line in catalogue.passed_over(run.source)]
    captions = catalogue.captions_in(run.source, _LOOKED_AT)
    context = run.config.model.text_context
    if cut := count_cut(captions, run.tokenizer, context):
        found.append(
            f"data: {cut:,} of {len(captions):,} captions looked at are longer than the {context} "
            "tokens of text_context; their ends are not seen"
        )
    return found


def facts(run: Run) -> dict[str, Any]:
    """Returns the number of a run's examples and a hash of them, and one of a teacher's weights."""
    found = {"examples": len(run.source), "hash": fingerprint(run.source)}
    if run.teacher is not None:
        total = hashlib.sha256()
        for name, array in sorted(flatten(run.teacher).items()):
            total.update(name.encode() + np.ascontiguousarray(array).tobytes())
        found["teacher"] = total.hexdigest()[:16]
    return found


def check(run: Run, now: dict[str, Any], workdir: pathlib.Path) -> list[str]:
    """Compares the data with the data that the run of a workdir began with.

    Args:
        run: the run that is to go on.
        now: the `facts` of its data.
        workdir: holds the run's checkpoints.

    Returns:
        A sentence, if the data has changed and config.data.changed allows it.

    Raises:
        InputError: it has changed, and that is not allowed, or what is known of it is damaged.
    """
    if not has_checkpoint(workdir) or not os.path.lexists(workdir / FILE):
        return []  # no run, or one of an older version
    began = read_object(workdir / FILE)
    if (taught_by := began.get("teacher")) != now.get("teacher"):
        raise InputError(
            f"the teacher {checks.shown(run.config.train.init_from, 300)} has changed since the "
            f"run in {checks.shown(str(workdir), 300)} began: its weights had the hash "
            f"{checks.shown(taught_by)} and have {now.get('teacher')!r}; put it back, or take "
            "another --workdir."
        )
    was = (began.get("examples"), began.get("hash"))
    if was == (now["examples"], now["hash"]):
        return []
    changed = (
        f"the data has changed since the run in {checks.shown(str(workdir), 300)} began: it had "
        f"{checks.shown(was[0])} examples (hash {checks.shown(was[1])}) and has "
        f"{now['examples']} (hash {now['hash']!r})"
    )
    if run.config.data.changed == "allow":
        return [f"note: {changed}"]
    raise InputError(
        f"{changed}; put it back, or go on with it by --config.data.changed=allow, or take "
        "another --workdir."
    )


def keep(now: dict[str, Any], workdir: pathlib.Path) -> None:
    """Keeps the facts of the data in a workdir, for those that resume."""
    with replacing(workdir / FILE) as temporary:
        temporary.write_text(json.dumps(now) + "\n", encoding="utf-8")
