"""Which cases a directory of golden data has, by family. A directory may lack whole families.

A case is listed when any file names it, so one whose other file is missing fails where it is read.
"""

import pathlib

from tests.golden.files import cases, has_json, read_json, read_npz, stems

NETWORKS = ("base", "base_inpaint", "upsample", "upsample_inpaint")


def _tiny(directory: pathlib.Path) -> list[str]:
    if not (directory / "tiny").exists():
        return []
    return cases(directory, "tiny", list(read_json(directory / "tiny", "configs")))


def _ops(directory: pathlib.Path) -> list[str]:
    if not (directory / "ops").exists():
        return []
    arrays = read_npz(directory / "ops", "ops")
    return sorted({*read_json(directory / "ops", "ops"), *(key.split("/")[0] for key in arrays)})


def _traj(directory: pathlib.Path) -> list[str]:
    if not (directory / "traj").exists():
        return []
    return cases(directory, "traj", list(read_json(directory / "traj", "meta")["cases"]))


def _train(directory: pathlib.Path) -> list[str]:
    if not (directory / "train").exists():
        return []
    return cases(directory, "train", list(read_json(directory / "train", "meta")))


def _groups(directory: pathlib.Path, name: str, depth: int) -> list[str]:
    """The first `depth` parts of the keys of a file of diffusion/, where keys have so many."""
    if not (directory / "diffusion" / f"{name}.npz").exists():
        return []
    keys = [key.split("/") for key in read_npz(directory / "diffusion", name)]
    return sorted({"/".join(parts[:depth]) for parts in keys if len(parts) > depth})


def _errors(directory: pathlib.Path) -> list[str]:
    if not has_json(directory / "diffusion", "report"):
        return []
    return list(read_json(directory / "diffusion", "report").get("error_cases", {}))


def _full(directory: pathlib.Path) -> list[str]:
    """Networks and, after each, its text tower, so that weights are made once."""
    return [n for n in stems(directory / "full", "*.npz") if n != "clip"]


CASES = {
    "tiny": _tiny,
    "op": _ops,
    "trajectory": _traj,
    "train": _train,
    "schedule": lambda d: _groups(d, "schedules", 1) if d.exists() else [],
    "respacing_error": _errors,
    "steps": lambda d: _groups(d, "steps", 3),
    "losses": lambda d: _groups(d, "losses", 5),
    "params": lambda d: stems(d / "params", "*.json*"),
    "full": _full,
    "full_clip": lambda d: stems(d / "full", "clip.npz"),
    "tokenizer": lambda d: stems(d / "tok", "*.json*"),
}
# Cases that compile for a quarter of a minute or more, and whose parts others have as well.
LONG = {
    "t03_no_scale_shift", "t05_superres_4level", "t07_superres_inpaint", "t08_nonsquare_superres",
    "t11_upsampler_like_6level", "t12_three_channels_per_group_48ch_heads",
    "clip_guided_ddim10", "clip_guided_ddpm10", "up_ddim_fast27", "up_inpaint_ddpm_fast27",
    "cfg_ddpm25_batch2_scale5",
}  # fmt: skip
ONE_IS_QUICK = {"train"}  # compiling a backward pass takes half a minute: the others are slow
