"""What several commands share: the cache folder, the device, progress, writing pictures."""

import contextlib
import os
import pathlib
import re
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import click

from glide_jax import checks
from glide_jax.errors import InputError

# Our own ranges are checked where the values are used; here they stay text.
model_option = click.option(
    "--model", default="shapes", show_default=True, help="A model directory, or a name."
)
dtype_option = click.option(
    "--dtype", default="float32", show_default=True, help="float32, bfloat16 or float16."
)
device_option = click.option(
    "--device", default=None, help="cpu, gpu or tpu; by default the best that JAX finds."
)
out_option = click.option(
    "--out", type=click.Path(path_type=pathlib.Path), default="out", show_default=True,
    help="Folder for pictures.",
)  # fmt: skip


def _guidance_options() -> list[Callable]:
    """What guides besides --guidance-scale; see `Options` for what each does."""
    return [
        click.option("--negative-prompt", help="What guidance keeps away from."),
        click.option(
            "--mix", multiple=True, metavar="WEIGHT:PROMPT",
            help="Another prompt mixed in; the prompt's own weight is 1. May be repeated.",
        ),
        click.option("--guidance-interval", help="Two timesteps, 200,800: guidance only between."),
        click.option("--guidance-power", help="Guidance that grows towards the end: 1 is linear."),
        click.option("--guidance-rescale", help="0 to 1: against too much contrast by guidance."),
        click.option("--dynamic-threshold", help="A quantile such as 0.995, instead of clipping."),
        click.option("--apg-parallel", help="0 to 1: how much saturating guidance is kept."),
        click.option("--apg-radius", help="Longest change of a picture by guidance."),
        click.option("--cfgpp-scale", help="0 to 1: CFG++ instead of --guidance-scale; ddim only."),
        click.option("--autoguidance-model", help="A smaller or earlier model to push away from."),
        click.option("--autoguidance-scale", default="2", help="How far; 1 is not at all."),
        click.option("--clip-guidance-scale", help="Guide by the model's CLIP."),
        click.option(
            "--clip-guidance-on", default="x_t", help="What the CLIP sees: x_t, or predicted x_0."
        ),
    ]  # fmt: skip


def sampling_options(command: Callable) -> Callable:
    """Options of every command that draws; values are checked by `Glide.pictures`."""
    options = [
        click.option("--n", default="1", show_default=True, help="Pictures of each prompt."),
        click.option("--seed", default="0", show_default=True, help="0 to 4294967295."),
        click.option("--first-index", default="0", help="Number of the first picture of a seed."),
        click.option("--steps", help="Of the base: 1 to 1000, or a respacing such as fast27."),
        click.option("--guidance-scale", help="Classifier-free guidance; 1 is none."),
        click.option(
            "--sampler",
            help="Of the base: ddpm, ddim, plms, heun, dpmpp_2m, dpmpp_2m_sde or unipc.",
        ),
        click.option("--grid", help="Of the base's timesteps: uniform, logsnr or karras."),
        click.option(
            "--preset", help="fast, balanced or reference: sampler, grid and steps of all."
        ),
        click.option("--eta", help="Randomness of ddim, 0 to 1."),
        click.option("--upsample/--no-upsample", default=True, help="Run the upsampler, if any."),
        click.option("--upsample-steps", help="As --steps, of the upsampler."),
        click.option("--upsample-sampler", help="As --sampler, of the upsampler."),
        click.option("--upsample-grid", help="As --grid, of the upsampler."),
        click.option("--temperature", help="Of the upsampler's starting noise."),
        *_guidance_options(),
        click.option("--keep", help="Of --n pictures only so many, the best by the model's CLIP."),
        click.option(
            "--batch-size",
            default="4",
            show_default=True,
            help="Pictures at once; auto is as many as fit the device's memory.",
        ),
        model_option,
        dtype_option,
        device_option,
        out_option,
    ]
    for option in reversed(options):
        command = option(command)
    return command


def cache_folder() -> pathlib.Path:
    """GLIDE_JAX_CACHE, or ~/.cache/glide_jax."""
    return pathlib.Path(os.environ.get("GLIDE_JAX_CACHE") or "~/.cache/glide_jax").expanduser()


def say(text: str) -> None:
    """A line on standard error: results alone go to standard output."""
    print(text, file=sys.stderr, flush=True)


def result(path: pathlib.Path) -> None:
    """A line on standard output, above any progress bars."""
    from tqdm import tqdm

    tqdm.write(str(path), file=sys.stdout)
    sys.stdout.flush()


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
    """What to install for an accelerator that is here but that this JAX cannot use."""
    if pathlib.Path("/dev/nvidia0").exists():
        return "an NVIDIA GPU is here but this JAX is for the CPU: pip install 'glide-jax[cuda]'."
    if pathlib.Path("/dev/accel0").exists() or pathlib.Path("/dev/vfio/0").exists():
        return "a TPU seems to be here but this JAX is for the CPU: pip install 'glide-jax[tpu]'."
    return None


def load_glide(model: str, dtype: str, device: str | None, **how: Any) -> Any:
    """A model on the chosen device; says which, and how large it is."""
    description = choose_device(device)
    from glide_jax.sampling.glide import load

    glide = load(model, dtype=dtype, cache=cache_folder(), **how)
    count = glide.parameter_count / 1e6
    say(f"{glide.loaded.name}: {count:.1f} M parameters, {dtype} on {description}")
    return glide


@contextlib.contextmanager
def progress_bars(unit: str = "step") -> Iterator[Callable[[str, int, int], None]]:
    """One bar a stage, with an estimate of what is left; the first step includes compiling."""
    from tqdm import tqdm

    bars: dict[str, Any] = {}

    def report(stage: str, done: int, total: int) -> None:
        if stage not in bars:
            bars[stage] = tqdm(total=total, desc=f"{stage:9}", unit=unit, file=sys.stderr)
            bars[stage].reset()
        bars[stage].update(done - bars[stage].n)

    try:
        yield report
    finally:
        for bar in bars.values():
            bar.close()


@contextlib.contextmanager
def plain_warnings() -> Iterator[None]:
    """Warnings as sentences, each once, without the place in the code."""
    old, said = warnings.showwarning, set()

    def show(message, *_, **__) -> None:
        text = " ".join(str(message).split())
        if text not in said:
            said.add(text)
            say(f"warning: {text}")

    warnings.showwarning = show
    try:
        yield
    finally:
        warnings.showwarning = old


def slug(prompt: str, length: int = 48) -> str:
    """A prompt as part of a file name."""
    return re.sub(r"[^a-z0-9]+", "-", prompt.lower()).strip("-")[:length].strip("-") or "empty"


def make_out(folder: pathlib.Path) -> None:
    """The folder of pictures, which several processes may make at once.

    Raises:
        InputError: it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--out {str(folder)!r} cannot be made: {error.strerror}.") from None


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
            f"{option} {checks.shown(str(folder), 200)} cannot be written to: {error.strerror}."
        ) from None
    finally:
        for path in new:
            with contextlib.suppress(OSError):
                path.rmdir()
    return folder
