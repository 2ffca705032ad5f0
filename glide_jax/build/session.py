"""A run in its working directory: begun or resumed, watched, saved, exported."""

import contextlib
import dataclasses
import json
import math
import pathlib
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from glide_jax import images, tokenizers
from glide_jax.build import export, models, run_config, samples, training
from glide_jax.checkpoints.store import Store
from glide_jax.files import replacing
from glide_jax.models import zoo
from glide_jax.training import clip_objective, flops, hooks, loop, writers
from glide_jax.training.step import TrainState
from glide_jax.version import __version__

Say = Callable[[str], None]
_USE, _PACK = 'glide-jax sample "..." --model THIS', "glide-jax pack BASE THIS --out MODEL"
_USUAL = 0.4  # part of a device's peak that training reaches, for the first guess of how long


def train(
    config: ConfigDict,
    workdir: pathlib.Path,
    *,
    say: Say,
    dry_run: bool = False,
    cache: pathlib.Path | None = None,
) -> None:
    """Trains until the config's end or a signal, from whatever checkpoint the directory holds.

    What it makes in `workdir`: config.json, tokenizer/, checkpoints/, metrics.jsonl, tensorboard/,
    samples/step_000100.png, and at the end model/, a model directory of the first average.

    Args:
        config: of `read_config`.
        workdir: of this run alone; made if missing.
        say: told a line at a time what goes on.
        dry_run: compile and report only; writes nothing.
        cache: the folder whose models/ and data/ hold what is named without a path.

    Raises:
        InputError: a field is wrong, another run's state is in the directory, or too much of the
            data is unusable.
        OSError: the directory cannot be written to.
    """
    notes = run_config.check(workdir, config)
    if not dry_run:
        workdir.mkdir(parents=True, exist_ok=True)
    kept = _kept_tokenizer(workdir)
    run = training.build(config, kept, cache)
    compiled = run.compile()
    peak, source = peak_of(config)
    for line in [*notes, *report(run, compiled, peak, source)]:
        say(line)
    if dry_run:
        return
    run_config.write(workdir, config)
    if kept is None:
        _keep_tokenizer(workdir, run.tokenizer)
    with (
        Store(workdir / run_config.CHECKPOINTS, keep=config.log.keep, note=say) as store,
        hooks.interruptible() as interrupted,
    ):
        _go(run, compiled, peak, workdir, store, interrupted, say)


def _go(
    run: training.Run,
    compiled: training.Compiled,
    peak: float,
    workdir: pathlib.Path,
    store: Store,
    interrupted: hooks.Interrupted,
    say: Say,
) -> None:
    restored = store.restore(run.state_like)
    state, meta = restored or (run.begin(), {})
    first, last = int(state.step), run.config.train.num_steps
    if restored:
        say(f"resumed from the checkpoint of step {first}")
    with contextlib.ExitStack() as stack:
        outputs = _writers(workdir, first, say)
        for writer in outputs:
            stack.callback(writer.close)
        log = _log(run, compiled, peak, state, outputs, say)
        if restored:
            log.window = meta["window"]
            log.loss = math.inf if meta["metric"] is None else meta["metric"]
        save = lambda step, state: _save(run, store, log, step, state)
        draw = _drawer(run, workdir, log, outputs, interrupted, say)
        if not _sample_path(workdir, first).exists() and _samples_at(run, first):
            draw(first, state)  # a signal came, or the process died, before it was drawn
        loader = run.loader()
        stack.callback(loader.close)
        every = run.config.log
        state = loop.fit(
            compiled.step,
            state,
            run.batches(loader, first),
            [
                log,
                hooks.every(every.sample_every_steps, draw, last),
                hooks.every(every.checkpoint_every_steps, save, last),
            ],
            key=run.key,
            num_steps=last,
            stopping=interrupted,
        )
        step = int(state.step)
        if step not in store.steps:
            save(step, state)
        store.wait()
        if loader.rejections.total:
            say(loader.rejections.summary())
        if interrupted() and step < last:
            say(f"stopped by {interrupted.name} after step {step}, which is saved; the same "
                "command goes on from there")  # fmt: skip
            return
        write_model(run, state, workdir / "model", log.loss)
        say(f"finished after step {step}; the model is in {workdir / 'model'}")


def report(run: training.Run, compiled: training.Compiled, peak: float, source: str) -> list[str]:
    """What a run is and costs, in lines, before its first step; `peak_of` gives the last two."""
    state, config = run.state_like, run.config
    devices = jax.devices()
    kind = devices[0].device_kind
    on_device = lambda tree: sum(
        math.prod(leaf.sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize
        for leaf in jax.tree.leaves(tree)
    )
    parts = {
        "parameters": on_device(state.params),
        "averages": on_device(state.ema),
        "optimizer": on_device(state.opt_state),
        "batch": on_device(run.batch_like),
        "the step itself": compiled.temporary,
    }
    sizes = ", ".join(f"{name} {size(number)}" for name, number in parts.items())
    count = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(state.params))
    seconds = compiled.flops / (peak * _USUAL * 1e12 * len(devices)) * config.train.num_steps
    return [
        f"{config.name}: {count:,} parameters ({run.stage}) on {len(devices)} x {kind}",
        f"{compiled.flops / 1e12:.4g} TFLOP a step of {config.train.batch_size} images",
        f"memory of a device: {size(sum(parts.values()))} ({sizes})",
        f"{config.train.num_steps:,} steps in about {hooks.duration(seconds)}, at {_USUAL:.0%} of "
        f"{peak:.3g} TFLOP/s a device ({source})",
    ]


def peak_of(config: ConfigDict) -> tuple[float, str]:
    """TFLOP/s of one device, and where that number is from."""
    if config.log.peak_tflops:
        return config.log.peak_tflops, "log.peak_tflops"
    found = flops.peak_tflops(jax.devices()[0].device_kind)
    return (found, "stated by its maker") if found else (flops.measured_tflops(), "measured")


def size(number: float) -> str:
    """12.3 MB, 4.5 GB."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6)):
        if number >= scale:
            return f"{number / scale:.3g} {unit}"
    return f"{number / 1e3:.3g} kB"


def write_model(run: training.Run, state: TrainState, directory: pathlib.Path, loss: float) -> None:
    """The first average as a model directory, with the stages of the model that it started from.

    A run of an upsampler or a CLIP from nothing has no base: its directory is a part, which
    `glide-jax pack` joins with one.
    """
    params: Any = jax.tree.map(np.asarray, jax.device_get(state.ema[0]))
    config, whole = run.config, run.whole
    stages = dict(whole.stages) if whole else {}
    clip, tokenizer = (whole.clip if whole else None), run.tokenizer
    if isinstance(run.part, zoo.ClipConfig):
        params, scale = clip_objective.without_logit_scale(params)
        part = dataclasses.replace(run.part, logit_scale=scale)
        clip, tokenizer = (part, tokenizer, params), whole.tokenizer if whole else tokenizer
    else:
        stages[run.stage] = (run.part, params)
    step = int(state.step)
    card = export.CARD.format(
        name=config.name,
        version=__version__,
        what=run.stage,
        parameters=models.parameter_count(params),
        source=" ".join(filter(None, (config.data.source, config.data.path, config.data.split))),
        step=step,
        batch_size=config.train.batch_size,
        images=step * config.train.batch_size,
        init_from=config.train.init_from or "nothing",
        loss=f"{loss:.4f}" if math.isfinite(loss) else "not known",
        ema=config.train.ema[0],
        use=_USE if "base" in stages else _PACK,
    )
    export.replace(directory, models.Model(config.name, tokenizer, stages, clip), card=card)


def _writers(workdir: pathlib.Path, step: int, say: Say) -> list[hooks.Writer]:
    found: list[hooks.Writer] = [writers.JsonLines(workdir / "metrics.jsonl", step)]
    try:
        found.append(writers.TensorBoard(workdir / "tensorboard", step))
    except ImportError:
        say("note: nothing is written for TensorBoard: pip install 'glide-jax[tensorboard]'")
    return found


def _log(
    run: training.Run,
    compiled: training.Compiled,
    peak: float,
    state: TrainState,
    outputs: list[hooks.Writer],
    say: Say,
) -> hooks.Log:
    return hooks.Log(
        run.config.log.every_steps,
        run.config.train.num_steps,
        outputs,
        tell=say,
        lr=run.lr,
        images=run.config.train.batch_size,
        flops=compiled.flops,
        peak_flops=peak * 1e12 * jax.device_count(),
        most_nonfinite=run.config.train.max_nonfinite_in_a_row,
        skipped=(int(state.skipped), int(state.skipped_in_a_row)),
    )


def _save(run: training.Run, store: Store, log: hooks.Log, step: int, state: TrainState) -> None:
    with log.paused(state):
        meta = {
            "config": run_config.plain(run.config),
            "code": __version__,
            "data": {"step": step},  # all the loader needs: batches are a function of it
            "window": log.gathered(),
        }
        store.save(step, state, meta, log.loss)


def _samples_at(run: training.Run, step: int) -> bool:
    every, last = run.config.log.sample_every_steps, run.config.train.num_steps
    return bool(every and step and (step % every == 0 or step == last))


def _sample_path(workdir: pathlib.Path, step: int) -> pathlib.Path:
    return workdir / "samples" / f"step_{step:06d}.png"


def _drawer(
    run: training.Run,
    workdir: pathlib.Path,
    log: hooks.Log,
    outputs: list[hooks.Writer],
    interrupted: hooks.Interrupted,
    say: Say,
) -> Callable[[int, TrainState], None]:
    """Draws the sheet of a step; what it needs is made when the first one is due."""
    sheet: list[samples.Sheet] = []

    def draw(step: int, state: TrainState) -> None:
        with log.paused(state):
            if not sheet:
                sheet.append(samples.Sheet(run))
            picture = sheet[0].draw(state.ema[0], interrupted)
            if picture is None:
                return
            path = _sample_path(workdir, step)
            images.write_png(path, picture, {"step": step, **sheet[0].parameters})
            for writer in outputs:
                writer.picture(step, np.asarray(picture))
            say(f"samples: {path}")

    return draw


def _kept_tokenizer(workdir: pathlib.Path) -> tokenizers.Tokenizer | None:
    """The tokenizer that the run began with."""
    path = workdir / "tokenizer" / "spec.json"
    if not path.exists():
        return None
    return tokenizers.load(json.loads(path.read_text(encoding="utf-8")), path.parent)


def _keep_tokenizer(workdir: pathlib.Path, tokenizer: tokenizers.Tokenizer) -> None:
    folder = workdir / "tokenizer"
    folder.mkdir(exist_ok=True)
    spec = tokenizer.save(folder)
    with replacing(folder / "spec.json") as temporary:
        temporary.write_text(json.dumps(spec), encoding="utf-8")
