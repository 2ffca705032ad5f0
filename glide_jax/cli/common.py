"""Parts that several commands share: the cache folder, the device, progress, folders."""

import contextlib
import dataclasses
import functools
import json
import math
import os
import pathlib
import sys
import unicodedata
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import click

from glide_jax import checks, files
from glide_jax.errors import InputError
from glide_jax.model_dir.hub import SCHEME

if TYPE_CHECKING:
    from glide_jax.sampling.glide import Glide
    from glide_jax.sampling.outline import Outline


class _Path(click.Path):
    """A path in which `~` is a home, also where the shell has left it, as in `--out=~/x`."""

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        if not str(value) and self.type is pathlib.Path:
            self.fail("it is empty; give a path, such as . for this folder.", param, ctx)
        if self.type is str and str(value).startswith(SCHEME):  # an address of a hub is no path
            return value
        return super().convert(str(files.expanded(value)) if str(value) else "", param, ctx)


# Every option and argument that takes a path, or a path or a name, has one of these types.
PATH = _Path(path_type=pathlib.Path)
PLACE = _Path(path_type=str)

# Our own ranges are checked where the values are used; here they stay text.
_model = functools.partial(click.option, "--model", type=PLACE, default="shapes", show_default=True)
model_option = _model(help="A model directory, or a name.")
model_or_run_option = _model(
    help="A model directory, a name, or the workdir of a run, whose newest checkpoint then draws."
)
dtype_option = click.option(
    "--dtype", default="float32", show_default=True, help="float32, bfloat16 or float16."
)
device_option = click.option(
    "--device", default=None, help="cpu, gpu or tpu; by default the best that JAX finds."
)
out_option = click.option(
    "--out", type=PATH, default="out", show_default=True,
    help="Folder for pictures.",
)  # fmt: skip


# Some file systems take names of 143 bytes, and there is more in one than the prompt.
_SLUG_BYTES = 80


def cache_folder() -> pathlib.Path:
    """GLIDE_JAX_CACHE, or ~/.cache/glide_jax.

    Raises:
        InputError: there is no home.
    """
    try:
        return files.expanded(os.environ.get("GLIDE_JAX_CACHE") or "~/.cache/glide_jax")
    except InputError:
        raise InputError(
            "there is no home folder here for the cache; set GLIDE_JAX_CACHE to a folder."
        ) from None


def checkpoints_folder() -> pathlib.Path:
    """Where released checkpoints are downloaded to, unless another folder is given."""
    return cache_folder() / "checkpoints"


@dataclasses.dataclass
class Output:
    """How a command speaks; `main` begins each with a new one."""

    quiet: bool = False  # neither notes nor progress
    json: bool = False  # results as JSON


output = Output()


def quiet_option(command: Any) -> Any:
    """The option --quiet, which `main` gives to every command."""
    return click.option(
        "--quiet", is_flag=True, expose_value=False, callback=_set("quiet"),
        help="No notes and no progress; warnings and errors stay.",
    )(command)  # fmt: skip


def json_option(command: Any) -> Any:
    """The option --json of a command that calls `result` with data."""
    return click.option(
        "--json", is_flag=True, expose_value=False, callback=_set("json"),
        help="Print results as JSON, an object a line.",
    )(command)  # fmt: skip


def _set(name: str) -> Callable[[click.Context, click.Parameter, bool], None]:
    return lambda ctx, param, value: setattr(output, name, getattr(output, name) or value)


def say(text: str) -> None:
    """A note on standard error: results alone go to standard output."""
    if not output.quiet:
        warn(text)


def warn(text: str) -> None:
    """A line on standard error that --quiet leaves."""
    print(checks.printable(text), file=sys.stderr, flush=True)


def result(line: object, data: Mapping[str, Any] | None = None) -> None:
    """A result on standard output, above any progress bars.

    Args:
        line: a path, or a row of a table.
        data: takes its place under --json; a path is data by itself, any other line without is
            left out.
    """
    from tqdm import tqdm

    if output.json:
        data = {"path": line} if data is None and isinstance(line, pathlib.Path) else data
        if data is None:
            return
        line = json.dumps(_plain(data))  # in ASCII, so that nothing in it needs escapes of ours
    tqdm.write(checks.printable(str(line)), file=sys.stdout)
    sys.stdout.flush()


def _plain(value: Any) -> Any:
    """A value as JSON has it: paths as text, and numbers that are none, such as NaN, as null."""
    if isinstance(value, Mapping):
        return {str(name): _plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if hasattr(value, "item"):  # a number of NumPy or JAX
        value = value.item()
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    return str(value) if isinstance(value, pathlib.Path) else value


def choose_device(device: str | None) -> str:
    """Starts JAX on the wanted kind of device and describes it.

    Raises:
        InputError: there is no such device, or this JAX cannot use it.
    """
    import jax

    if device is not None:
        if device not in ("cpu", "gpu", "tpu"):
            raise InputError(f"device is {device!r}; it must be cpu, gpu or tpu.")
        jax.config.update("jax_platforms", {"gpu": "cuda"}.get(device, device))
    try:
        devices = jax.devices()
    except (RuntimeError, AssertionError) as error:  # the latter where it knows no such platform
        why = str(error).split("\n")[0].split(" (set JAX_PLATFORMS")[0].rstrip(".")
        raise InputError(
            f"JAX finds no {device or 'device'} here{f' ({why})' if why else ''}; "
            "`glide-jax doctor` says what there is."
        ) from None
    if device is None and jax.default_backend() == "cpu" and unused_accelerator():
        say(f"note: {unused_accelerator()}")
    first = devices[0]
    return f"{len(devices)} x {first.device_kind} ({first.platform})"


def unused_accelerator() -> str | None:
    """The package to install for an accelerator that is here but that this JAX cannot use."""
    if pathlib.Path("/dev/nvidia0").exists():
        return "an NVIDIA GPU is here but this JAX is for the CPU: pip install 'glide-jax[cuda]'."
    if pathlib.Path("/dev/accel0").exists() or pathlib.Path("/dev/vfio/0").exists():
        return "a TPU seems to be here but this JAX is for the CPU: pip install 'glide-jax[tpu]'."
    return None


def outline(model: Any, dtype: str, *, exported: bool = False) -> "Outline":
    """A model without its weights, to check options before the long work of loading it.

    Args:
        model: a directory, a name, or what `model_or_run` gives.
        dtype: the type that it is to compute in.
        exported: whether a program is to be used.
    """
    from glide_jax.sampling.outline import read_outline

    return read_outline(model, cache_folder() / "models", dtype, exported=exported)


def model_or_run(model: str, device: str | None) -> Any:
    """The model of a run's newest checkpoint, where that is the run's workdir; else the name.

    Args:
        model: a directory or a name.
        device: where it will draw, since reading a checkpoint starts JAX.
    """
    if not os.path.isdir(files.expanded(model) / "checkpoints"):
        return model
    choose_device(device)
    from glide_jax.training import newest

    found, step = newest.read_run(files.expanded(model), cache_folder() / "models")
    say(f"{model} is a run; its newest checkpoint, of step {step}, draws")
    return found


def load_glide(model: Any, dtype: str, device: str | None, **how: Any) -> "Glide":
    """A model on the chosen device, reported in a line with its size.

    Args:
        model: a directory, a name, or what `model_or_run` gives.
        dtype: the type it computes in.
        device: cpu, gpu or tpu; None is the best there is.
        **how: see `glide_jax.load`.
    """
    description = choose_device(device)
    from glide_jax.sampling.glide import load

    glide = load(model, dtype=dtype, cache=cache_folder(), **how)
    count = glide.parameter_count / 1e6
    say(f"{glide.loaded.name}: {count:.1f} M parameters, {dtype} on {description}")
    return glide


@contextlib.contextmanager
def plain_warnings() -> Iterator[None]:
    """Warnings as sentences, each once (or their kind, if it has `once`), without their place.

    A person who makes warnings errors means this program's; those of the packages that it imports
    are shown.
    """
    old, said = warnings.showwarning, set()
    if any(action == "error" for action, *_ in warnings.filters):
        warnings.filterwarnings("default", module=r"(?!glide_jax|__main__)")

    def show(message, category, *_, **__) -> None:
        text = " ".join(str(message).split())
        if (mark := category if getattr(category, "once", False) else text) not in said:
            said.add(mark)
            warn(f"warning: {text}")

    warnings.showwarning = show
    try:
        yield
    finally:
        warnings.showwarning = old


def slug(text: str, length: int = 48) -> str:
    """A prompt as part of a file name: its letters, marks, digits and symbols, others as dashes."""
    text = unicodedata.normalize("NFC", text.lower())
    wanted = ("L", "M", "N", "So")  # the last are emoji and the like
    kept = "".join(c if unicodedata.category(c).startswith(wanted) else " " for c in text)
    name, encoding = "-".join(kept.split())[:length], sys.getfilesystemencoding()
    name = name.encode(encoding, "ignore")[:_SLUG_BYTES].decode(encoding, "ignore")
    return name.strip("-") or "empty"


def make_out(folder: pathlib.Path) -> None:
    """The folder of pictures, which several processes may make at once.

    Raises:
        InputError: it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--out {str(folder)!r} cannot be made: {_why(error)}.") from None


def _why(error: OSError) -> str:
    """The reason why there can be no folder."""
    in_the_way = isinstance(error, FileExistsError | NotADirectoryError)
    return "a file is in the way; give a folder" if in_the_way else str(error.strerror)


def check_out(folder: pathlib.Path, option: str = "--out") -> pathlib.Path:
    """Tries whether the folder can be made and written in, before any work; leaves nothing.

    Raises:
        InputError: it cannot.
    """
    import tempfile

    folder = folder.absolute()
    new = [path for path in (folder, *folder.parents) if not os.path.lexists(path)]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"0" * 4096)
            file.flush()
    except OSError as error:
        raise InputError(
            f"{option} {checks.shown(str(folder), 200)} cannot be written to: {_why(error)}."
        ) from None
    finally:
        for path in new:
            with contextlib.suppress(OSError):
                path.rmdir()
    return folder
