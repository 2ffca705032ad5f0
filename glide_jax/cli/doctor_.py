"""`glide-jax doctor`: the machine, the installed packages, and what is missing."""

import dataclasses
import importlib.metadata
import os
import pathlib
import platform
import re
import shutil
import sys

import click

from glide_jax.cli import common
from glide_jax.extras import EXTRAS
from glide_jax.version import __version__

PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "sentencepiece")


@click.command("doctor")
@click.option(
    "--model",
    type=common.PLACE,
    help="Also say how much memory this model takes, and what fits.",
)
@common.dtype_option
@common.json_option
def command(model: str | None, dtype: str) -> None:
    """Print devices, versions, memory and cache, and what to install for what is here."""
    rows = [("glide_jax", __version__), ("python", platform.python_version())]
    rows += [(name, _version(name) or "missing") for name in PACKAGES]
    rows += _extras()
    rows += [("processors", f"{os.cpu_count()} ({platform.machine()})"), ("memory", _memory())]
    try:
        rows.append(("devices", common.choose_device(None)))
        rows += _device_memory()
        rows.append(("compiler", _compiler()))
        healthy = True
    except Exception as error:  # the user came to see whatever JAX's start raises
        why = str(error).split("\n")[0].removesuffix("; `glide-jax doctor` says what there is.")
        rows.append(("devices", f"JAX does not start: {why or type(error).__name__}"))
        healthy = False
    folder = common.cache_folder()
    rows += [("cache", f"{folder} ({_size(folder)})"), ("models", ", ".join(_models()) or "none")]
    width = max(len(name) for name, _ in rows)
    machine = {name.strip(): value for name, value in rows}
    for number, (name, value) in enumerate(rows):
        common.result(f"{name:{width}}  {value}", None if number else machine)
    hint = common.unused_accelerator()
    if hint and "(cpu)" in dict(rows)["devices"]:
        common.result("")
        common.result(hint)
    if healthy and model is not None:
        _fits(model, dtype)
    sys.exit(0 if healthy else 1)


def _extras() -> list[tuple[str, str]]:
    """The extras that are whole, those that are not, and packages that are too old for theirs."""
    whole, parts, old = [], [], {}
    for name, needs in EXTRAS.items():
        have = {package: _version(package) for package in needs}
        new = [v is not None and _release(v) >= _release(needs[p]) for p, v in have.items()]
        (whole if all(new) else parts).append(name)
        for (package, version), is_new in zip(have.items(), new, strict=True):
            if version is not None and not is_new:
                old.setdefault(
                    package, f"{package} {version}, of which {name} needs {needs[package]}"
                )
    rows = [("extras", ", ".join(whole) or "none"), ("not installed", ", ".join(parts) or "none")]
    return rows + ([("too old", "; ".join(old.values()))] if old else [])


def _release(version: str) -> tuple[int, ...]:
    """The numbers of a release without zeros at the end: (0, 12) of "0.12.0rc1"."""
    numbers = [int(part) for part in re.split(r"[^\d.]", version)[0].split(".") if part]
    while numbers and not numbers[-1]:
        numbers.pop()
    return tuple(numbers)


def _fits(model: str, dtype: str) -> None:
    """Prints how much memory of the first device each stage of a model takes."""
    from glide_jax import compiling
    from glide_jax.model_dir import reading
    from glide_jax.sampling import memory

    compiling.check_dtype(dtype)
    folder = common.cache_folder()
    compiling.enable_cache(folder / "xla")
    directory = reading.find_model(model, folder / "models")
    budget, whose = memory.free()
    name = directory.resolve().name
    common.result("")
    common.result(
        f"{name} in {dtype}, guided; {budget / 2**30:.1f} GiB {whose}",
        {"model": name, "dtype": dtype, "free_bytes": budget},
    )
    for name, config in reading.stage_configs(directory).items():
        needs = memory.of_stage(config, dtype)
        fits = needs.fits(budget)
        common.result(
            f"  {name}: parameters {_mib(needs.parameters)}, the first picture "
            f"{_mib(needs.first)}, each further one of a batch {_mib(needs.more)}; "
            + (f"--batch-size up to {fits} fits" if fits else "does not fit"),
            {"stage": name, "largest_batch": fits, **dataclasses.asdict(needs)},
        )


def _mib(size: int) -> str:
    return f"{size / 2**20:,.1f} MiB"


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _memory() -> str:
    page = os.sysconf("SC_PAGE_SIZE") / 2**30
    total = os.sysconf("SC_PHYS_PAGES") * page
    try:
        return f"{total:.1f} GiB, {os.sysconf('SC_AVPHYS_PAGES') * page:.1f} free"
    except ValueError:  # not every system counts free pages
        return f"{total:.1f} GiB"


def _device_memory() -> list[tuple[str, str]]:
    import jax

    stats = [(d, d.memory_stats() or {}) for d in jax.local_devices()]
    return [
        (f"  {d.id}", f"{s['bytes_limit'] / 2**30:.1f} GiB for JAX")
        for d, s in stats
        if "bytes_limit" in s
    ]


def _compiler() -> str:
    from glide_jax import compiling

    unknown = compiling.unknown_options()
    if not unknown:
        return "has every option that glide_jax uses"
    return f"this jaxlib lacks {', '.join(unknown)}, without which networks may be slower"


def _size(folder: pathlib.Path) -> str:
    if not folder.is_dir():
        return "not a folder" if folder.exists() else "empty"
    files = [path for path in folder.rglob("*") if path.is_file()]
    free = shutil.disk_usage(folder).free / 2**30
    size = sum(path.stat().st_size for path in files) / 2**20
    return f"{len(files)} files, {size:.0f} MiB; {free:.0f} GiB free"


def _models() -> list[str]:
    from glide_jax.model_dir import reading

    folder = common.cache_folder() / "models"
    return reading.boxed_models() + sorted(
        path.parent.name for path in folder.glob("*/config.json")
    )
