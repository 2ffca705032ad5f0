"""Checkpoints of a run: the train state and its metadata. The only file that knows Orbax."""

import contextlib
import errno
import json
import math
import os
import pathlib
import re
import shutil
from collections.abc import Callable, Iterator
from logging import getLogger
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from absl import logging

from glide_jax import checks
from glide_jax.errors import InputError
from glide_jax.mesh.hosts import ALONE, Hosts
from glide_jax.trees import path_of

T = TypeVar("T")
_MARKERS = ("_CHECKPOINT_METADATA", "commit_success.txt")  # written last, if at all
_DAMAGED = ".damaged"
_UNFINISHED = ".orbax-checkpoint-tmp"
_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EFBIG, errno.EIO)


class Store:
    """A run's checkpoints in one directory: the last few and the best.

    Saving copies the state to the host and returns; files are written in the background and
    renamed when complete. Each checkpoint carries a sum of the state's bits, which shows that a
    restored state is the saved one, whatever happened to the files or to the donated arrays.

    Orbax's own retention policies are not used: they read the metrics of every checkpoint when a
    run resumes, and fail on a damaged one, where this store only sets it aside.

    Args:
        directory: made if missing.
        keep: number of newest checkpoints that stay; the one with the least metric stays too.
        note: receives a sentence about each checkpoint that is passed over.
        hosts: the run's hosts; each has a store of this directory, and all call the same methods.

    Raises:
        OSError: the directory cannot be made or written to.
    """

    def __init__(
        self,
        directory: pathlib.Path,
        *,
        keep: int = 2,
        note: Callable[[str], None] | None = None,
        hosts: Hosts = ALONE,
    ):
        self.directory = directory.absolute()
        self._note, self._hosts = note or (lambda text: None), hosts
        with self._writing():
            self.directory.mkdir(parents=True, exist_ok=True)
        if hosts.leads:
            with self._writing():
                self._tidy()
        hosts.barrier("the checkpoints")
        self._keep = keep
        # Faults reach the user as our messages; Orbax and asyncio would log them again, at length.
        logging.set_verbosity(logging.FATAL)
        getLogger("asyncio").setLevel("CRITICAL")
        with self._writing():
            self._manager = ocp.CheckpointManager(
                self.directory, options=ocp.CheckpointManagerOptions(save_interval_steps=1)
            )
        self._metrics = {step: self._metric(step) for step in self.steps}

    @property
    def steps(self) -> list[int]:
        """Steps of the complete checkpoints, in ascending order."""
        return sorted(self._manager.all_steps())

    def save(self, step: int, state: Any, meta: dict[str, Any], metric: float = math.inf) -> None:
        """Starts a checkpoint of `step`; waits for the one before it, if it is still written.

        Args:
            step: the step; each is saved once only.
            state: a tree of arrays; may be donated as soon as this returns.
            meta: JSON-able; may change as soon as this returns.
            metric: the checkpoint with the least metric is kept; NaN is never the least.

        Raises:
            OSError: this checkpoint, or the one before, could not be written.
        """
        # A copy through JSON: it is written later, and the caller's may have changed by then.
        finite = math.isfinite(metric)
        meta = json.loads(json.dumps(meta)) | {
            "step": step,
            "metric": metric if finite else None,
            "tree": _layout(state),
            "checksum": _checksum(state),
        }
        self.wait()
        args = ocp.args.Composite(
            state=ocp.args.StandardSave(state), meta=ocp.args.JsonSave(meta)
        )  # fmt: skip
        with self._writing():
            self._manager.save(step, args=args, force=True)
        self._metrics[step] = metric if finite else math.inf

    def wait(self) -> None:
        """Returns when everything is written, and deletes the checkpoints that are not kept.

        Raises:
            OSError: a checkpoint could not be written.
        """
        with self._writing():
            self._manager.wait_until_finished()
            self._manager.check_for_errors()
            done = self.steps
            best = min(done, key=lambda step: (self._metrics[step], -step), default=None)
            for step in sorted(set(done[: -self._keep]) - {best}):
                self._manager.delete(step)

    def restore(
        self, like: T, check: Callable[[dict[str, Any]], None] = lambda meta: None
    ) -> tuple[T, dict[str, Any]] | None:
        """The newest checkpoint that is whole, and its meta; None if there is no checkpoint.

        Damaged ones are noted, and moved aside so that their steps can be saved again.

        Args:
            like: the state's tree of ShapeDtypeStructs with the shardings to restore onto.
            check: raises anything at a meta that is not as the caller gave it to `save`.

        Raises:
            InputError: no checkpoint is whole, or one belongs to another model.
        """
        steps = self.steps[::-1]
        marks = {name for step in steps for name in _MARKERS if (self._path(step) / name).exists()}
        for step in steps:
            restored, fault = self._restore_step(step, like, marks, check)
            faults = [why for why in self._hosts.gather("a checkpoint", fault) if why]
            if restored is not None and not faults:
                if _checksum(restored[0]) == restored[1]["checksum"]:
                    return restored
                faults = ["its numbers are not those that were saved"]
            self._set_aside(step, faults[0])
        if steps:
            raise InputError(
                f"no checkpoint in {str(self.directory)!r} can be read (tried steps "
                f"{', '.join(map(str, steps))}); start in another workdir."
            )
        return None

    def close(self) -> None:
        """Waits, and ends the threads."""
        try:
            self.wait()
        finally:
            with self._writing():
                self._manager.close()

    def __enter__(self) -> "Store":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _restore_step(
        self, step: int, like: T, marks: set[str], check: Callable[[dict[str, Any]], None]
    ) -> tuple[tuple[T, dict[str, Any]] | None, str | None]:
        """This host's part of a checkpoint and its meta, or the fault that it found."""
        try:
            if missing := [m for m in sorted(marks) if not (self._path(step) / m).exists()]:
                raise ValueError(f"it has no {missing[0]}")
            meta = self._read(step, meta=ocp.args.JsonRestore()).meta
            if type(meta["checksum"]) is not int or not isinstance(meta["tree"], dict):
                raise ValueError("its metadata is not what was saved")
            check(meta)
            self._check_layout(step, meta, _layout(like))
            return (self._read(step, state=ocp.args.StandardRestore(like)).state, meta), None
        except (InputError, PermissionError):
            raise
        except (KeyError, TypeError, AttributeError, RecursionError):
            return None, "its metadata is not what was saved"
        except Exception as error:  # Orbax may raise anything on a broken file
            if "RESOURCE_EXHAUSTED" in str(error):
                raise
            return None, str(error).strip() or type(error).__name__

    def _path(self, step: int) -> pathlib.Path:
        return self.directory / str(step)

    def _metric(self, step: int) -> float:
        try:  # damage is noted when the checkpoint is restored
            value = json.loads((self._path(step) / "meta" / "metadata").read_text())["metric"]
            return math.inf if value is None else float(value)
        except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
            return math.inf

    def _read(self, step: int, **items: Any) -> Any:
        return self._manager.restore(step, args=ocp.args.Composite(**items))

    def _check_layout(self, step: int, meta: dict[str, Any], want: dict[str, str]) -> None:
        have = meta["tree"]
        for path in [*want, *(path for path in have if path not in want)]:
            if have.get(path) != want.get(path):
                raise InputError(
                    f"checkpoint {step} in {str(self.directory)!r} is another model's: {path!r} is "
                    f"{have.get(path, 'missing')} there and {want.get(path, 'missing')} here; "
                    f"config {meta.get('config', {}).get('name')!r} made it."
                )

    def _tidy(self) -> None:
        """Removes what is half written, and moves out of the way what would stop Orbax's start."""
        strange = []
        for path in sorted(self.directory.iterdir()):
            name, cut, _ = path.name.partition(_UNFINISHED)
            if cut:
                self._note(f"checkpoint {name} was not finished and is left out.")
                _remove(path)
            elif re.fullmatch("(0|[1-9][0-9]*)\\n?", name):  # names that Orbax takes for steps
                if why := self._obstacle(path):
                    self._move(path, why)
            elif not name.startswith(".") and not name.endswith(_DAMAGED):
                strange.append(name)
        if strange:
            first, rest = checks.shown(strange[0]), len(strange) - 1
            self._note(
                f"{first}{f' and {rest} more' if rest else ''} in {self.directory.name}/ is passed "
                "over: a checkpoint is a folder with a step's number for its name."
            )

    def _obstacle(self, path: pathlib.Path) -> str | None:
        if not path.name.isdigit() or not path.is_dir():
            return "it is no folder with a number for its name"
        if not all(part.is_dir() or part.is_file() for part in path.rglob("*")):
            return "it holds more than files"  # such as a named pipe, from which nothing comes
        names = ocp.path.step.standard_name_format()
        try:  # Orbax reads it of every step when it starts
            _ = names.find_step(path.parent, int(path.name)).commit_timestamp
        except (ValueError, TypeError, AttributeError, RecursionError):
            return f"its {_MARKERS[0]} is not what was saved"
        return None

    def _move(self, path: pathlib.Path, why: str) -> None:
        reason = checks.printable(why.split("\n")[0][:100].rstrip(".: "))
        name = checks.printable(path.name)
        aside = path.with_name(f"{path.name}{_DAMAGED}")
        self._note(f"checkpoint {name} is damaged ({reason}) and is left out, as {name}{_DAMAGED}.")
        _remove(aside)
        path.rename(aside)

    def _set_aside(self, step: int, why: str) -> None:
        if self._hosts.leads:
            self._move(self._path(step), why)
        self._hosts.barrier("the damaged checkpoint")
        self._metrics.pop(step)
        self._manager.reload()

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Turns faults of the disk, which Orbax raises as anything, into OSErrors with our path."""
        try:
            yield
        except Exception as error:
            for number in _DISK:
                if getattr(error, "errno", None) == number or os.strerror(number) in str(error):
                    raise OSError(number, os.strerror(number), str(self.directory)) from error
            raise


def read_newest(directory: pathlib.Path, part: str, like: T) -> tuple[int, T]:
    """A part of the newest checkpoint, read beside a run that goes on writing others.

    Nothing is tidied, moved or locked. A checkpoint that the run deletes meanwhile is passed over.

    Args:
        directory: a `Store`'s.
        part: a field of the state, such as "ema".
        like: the field's tree of arrays or ShapeDtypeStructs.

    Returns:
        Its step, and the part as NumPy arrays.

    Raises:
        InputError: there is no checkpoint, or none that can be read.
    """
    names = [path.name for path in directory.iterdir() if path.name.isdigit()]
    steps = sorted(map(int, names), reverse=True)
    complete = [k for k in steps if any((directory / str(k) / m).exists() for m in _MARKERS)]
    logging.set_verbosity(logging.FATAL)  # see `Store`
    want = {part: like}
    as_numpy = jax.tree.map(lambda x: ocp.RestoreArgs(restore_type=np.ndarray), want)
    args = ocp.args.PyTreeRestore(item=want, restore_args=as_numpy, partial_restore=True)
    why = ""
    for step in complete:
        try:
            with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as reader:
                found = reader.restore(directory.absolute() / str(step) / "state", args=args)
            return step, found[part]
        except Exception as error:  # Orbax may raise anything on a broken file
            why = why or checks.printable(str(error).split("\n")[0], 200).rstrip(". ")
    if not complete:
        raise InputError(
            f"{checks.shown(str(directory), 200)} has no checkpoint yet; wait for the run's first."
        )
    raise InputError(f"no checkpoint in {checks.shown(str(directory), 200)} can be read: {why}.")


def _remove(path: pathlib.Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _layout(tree: Any) -> dict[str, str]:
    """The dtypes and shapes of a state's arrays: {path: "float32 (3, 4)"}."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {path_of(path): f"{leaf.dtype} {tuple(leaf.shape)}" for path, leaf in leaves}


def _checksum(tree: Any) -> int:
    """A sum of all bits as integers modulo 2^32: the same on every mesh, in any order."""
    # One after the other: concurrent sums over many devices of a CPU may each hold threads that
    # another one needs.
    sums = [jax.device_get(_bits(leaf)) for leaf in jax.tree.leaves(tree)]
    return sum((2 * n + 1) * int(part) for n, part in enumerate(sums)) % 2**32


@jax.jit
def _bits(leaf: jax.Array) -> jax.Array:
    if jnp.issubdtype(leaf.dtype, jnp.floating):
        unsigned = {2: jnp.uint16, 4: jnp.uint32}[leaf.dtype.itemsize]
        leaf = jax.lax.bitcast_convert_type(leaf, unsigned)
    return leaf.astype(jnp.uint32).sum(dtype=jnp.uint32)
