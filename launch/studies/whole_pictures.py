"""Whole pictures of the released sizes, ours and the PyTorch reference's, each run from end to end.

python -m launch.studies.whole_pictures --reference CHECKOUT --out docs/results/whole-pictures.md

Weights are random, and the same for both sides: only seconds mean something. A picture is drawn
from tokens: text encoder, base, upsampler. What a side compiles is compiled before its first
picture, by a chain of two steps. Sides take turns for --rounds rounds; rows that are done are kept
in --work, so that the same command goes on.
"""

import argparse
import dataclasses
import json
import os
import pathlib
import shlex
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from glide_jax import files
from glide_jax.benchmarks import bench, networks
from glide_jax.benchmarks.reference import Reference
from glide_jax.evaluation import report
from glide_jax.sampling import cascade
from glide_jax.sampling.running import Running
from glide_jax.sampling.settings import PRESETS, Respacing, StageSettings, Steps
from glide_jax.tables import table
from glide_jax.types import Cond

SCALE, TEMPERATURE = 3.0, 0.997  # the notebook's
THEIRS = "reference, 100 guided + 27 steps"
ABOUT = """\
Made by `python -m launch.studies.whole_pictures {command}` on {cores} CPU cores with JAX {jax}.
Seconds from tokens to a picture of 256 px, in float32, run whole, all sides in turn: the median of
{rounds}, with the least and the most. Weights are random, so the pictures are nothing. A guided
step of the base is one evaluation of two rows. The student of 4 + 1 steps is drawn without a second
row, since guidance is distilled into it."""


def settings_of(preset: str) -> dict[str, StageSettings]:
    """A preset's settings of both stages."""
    base, upsample = (StageSettings(**PRESETS[preset][name]) for name in ("base", "upsample"))
    return {
        "base": dataclasses.replace(base, guidance_scale=SCALE),
        "upsample": dataclasses.replace(upsample, guidance_scale=1.0, temperature=TEMPERATURE),
    }


def ways() -> dict[str, dict[str, StageSettings]]:
    """How ours draws, by the row's name."""
    notebook = {
        "base": StageSettings(Steps(100), "ddpm", guidance_scale=SCALE),
        "upsample": StageSettings(
            Respacing("fast27"), "ddim", guidance_scale=1.0, temperature=TEMPERATURE
        ),
    }
    few = {
        "base": StageSettings(Steps(4), "ddim", grid="noisy", eta=1.0, guidance_scale=1.0),
        "upsample": StageSettings(Steps(1), "ddim", grid="logsnr_trailing", guidance_scale=1.0),
    }
    return {
        "ours, the same settings": notebook,
        "ours, preset fast": settings_of("fast"),
        "ours, preset fastest": settings_of("fastest"),
        "ours, a student of 4 + 1": few,
    }


def drawing(
    parts: dict[str, networks.Part], how: dict[str, StageSettings]
) -> Callable[[], np.ndarray]:
    """Draws one picture from tokens; the upsampler enlarges what the base drew."""

    def draw() -> np.ndarray:
        small = None
        for k, (name, part) in enumerate(parts.items()):
            stage, sampling = part.stage, how[name]
            x = networks.inputs(part.config.model, 1)
            encode = lambda tokens, mask, stage=stage, part=part: cascade.encode_text(
                stage.encode, part.params, tokens, mask
            )
            null = None
            if sampling.guidance_scale != 1.0:
                null = encode(np.zeros_like(x.tokens), np.zeros_like(x.mask))
            keys = cascade.image_keys(networks.SEED, np.arange(1), k)
            cond = Cond(encode(x.tokens, x.mask), low_res=small)
            inputs = cascade.Inputs(part.params, keys, cond, null)
            small = jax.block_until_ready(Running(stage, inputs, sampling).finish())
        return np.asarray(small)

    return draw


def theirs(parts: dict[str, networks.Part], checkout: pathlib.Path) -> Callable[[], np.ndarray]:
    """The reference's picture, by its own sampling loops at the notebook's settings."""
    nets = {name: Reference(checkout, part) for name, part in parts.items()}
    torch = nets["base"].torch
    from glide_text2im.model_creation import create_gaussian_diffusion  # type: ignore

    def diffusion(noise_schedule: str, respacing: str) -> Any:
        return create_gaussian_diffusion(
            steps=1000, noise_schedule=noise_schedule, timestep_respacing=respacing
        )

    chains = {
        "base": diffusion("squaredcos_cap_v2", "100"),
        "upsample": diffusion("linear", "fast27"),
    }
    tokens = {name: networks.inputs(part.config.model, 1) for name, part in parts.items()}
    put = lambda *rows: torch.from_numpy(np.concatenate(rows))

    def guided(x_t: Any, t: Any, **named: Any) -> Any:
        out = nets["base"].model(torch.cat([x_t[:1], x_t[:1]]), t, **named)
        eps = out[1:, :3] + SCALE * (out[:1, :3] - out[1:, :3])
        return torch.cat([torch.cat([eps, eps]), out[:, 3:]], dim=1)

    def draw() -> np.ndarray:
        x, up = tokens["base"], tokens["upsample"]
        named = dict(
            tokens=put(x.tokens, np.zeros_like(x.tokens)).long(),
            mask=put(x.mask, np.zeros_like(x.mask)),
        )
        with torch.no_grad():
            small = chains["base"].p_sample_loop(
                guided, (2, 3, 64, 64), device="cpu", clip_denoised=True, model_kwargs=named
            )[:1]
            named = dict(low_res=small, tokens=put(up.tokens).long(), mask=put(up.mask))
            large = chains["upsample"].ddim_sample_loop(
                nets["upsample"].model, (1, 3, 256, 256), device="cpu", clip_denoised=True,
                noise=TEMPERATURE * torch.randn(1, 3, 256, 256), model_kwargs=named,
            )  # fmt: skip
        return large.numpy()

    return draw


def main() -> None:
    """Times what is missing, then writes the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--reference", type=pathlib.Path, required=True, help="a checkout")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--work", type=pathlib.Path, default=pathlib.Path("runs/whole"))
    parser.add_argument("--out", type=pathlib.Path, required=True)
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    parts = {}
    for name, load in bench.loads(None, args.work, ("base", "upsample")).items():
        config, host = load()
        parts[name] = networks.part(name, config, host, "float32", "auto")
    sides, warming = {THEIRS: theirs(parts, args.reference)}, {}
    for name, how in ways().items():
        sides[name] = drawing(parts, how)
        short = {k: dataclasses.replace(s, steps=Steps(2)) for k, s in how.items()}
        warming[name] = drawing(parts, short)  # the number of steps is no part of a program
    kept = args.work / "seconds.json"
    found: dict[str, list[float]] = json.loads(kept.read_text()) if kept.exists() else {}
    for k in range(args.rounds):
        for name, draw in sides.items():
            if len(found.setdefault(name, [])) > k:
                continue
            if warm := warming.pop(name, None):
                warm()
            began = time.perf_counter()
            assert np.isfinite(draw()).all(), name
            found[name].append(time.perf_counter() - began)
            with files.replacing(kept) as temporary:
                temporary.write_text(json.dumps(found), encoding="utf-8")
            print(f"{name}: {found[name][-1]:.1f} s", flush=True)
    median = {name: statistics.median(found[name]) for name in sides}
    rows = [
        (name, f"{median[name]:.1f} ({min(found[name]):.1f} to {max(found[name]):.1f})",
         f"{median[THEIRS] / median[name]:.1f}")
        for name in sides
    ]  # fmt: skip
    about = ABOUT.format(
        command=shlex.join(sys.argv[1:]), cores=os.cpu_count(), jax=jax.__version__,
        rounds=args.rounds,
    )  # fmt: skip
    report.write_page(
        args.out, "Whole pictures", [about, table(rows, ("settings", "seconds", "times as fast"))]
    )


if __name__ == "__main__":
    main()
