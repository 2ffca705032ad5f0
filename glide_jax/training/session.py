"""A run in its working directory: begun or resumed, watched, saved, exported."""

import contextlib
import dataclasses
import json
import math
import pathlib
import secrets
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from glide_jax import images, tokenizers
from glide_jax.checkpoints.store import Store
from glide_jax.data.fingerprint import fingerprint
from glide_jax.files import replacing
from glide_jax.mesh.hosts import ALONE, Hosts, StopVote, whole
from glide_jax.model_dir import reading, writing
from glide_jax.networks import zoo
from glide_jax.training import clip_objective, costs, hooks, loop, profiling, writers
from glide_jax.training.config import CHECKPOINTS, check, plain, write
from glide_jax.training.run import Compiled, Run, prepare_run
from glide_jax.training.sheet import Sheet
from glide_jax.training.step import TrainState
from glide_jax.training.throughput import Timing
from glide_jax.version import __version__

Say = Callable[[str], None]
_USE, _PACK = 'glide-jax sample "..." --model THIS', "glide-jax pack BASE THIS --out MODEL"
_SHARED = ".shared"  # a file by which hosts know that they have the same folder


def train(
    config: ConfigDict,
    workdir: pathlib.Path,
    *,
    say: Say,
    dry_run: bool = False,
    cache: pathlib.Path | None = None,
    hosts: Hosts = ALONE,
) -> bool:
    """Trains until the config's end or a signal, from whatever checkpoint the directory holds.

    What it makes in `workdir`: config.json, tokenizer/, checkpoints/, metrics.jsonl, tensorboard/,
    samples/step_000100.png, and at the end model/, a model directory of the first average.

    Args:
        config: of `read_config`.
        workdir: of this run alone; made if missing.
        say: told a line at a time what goes on.
        dry_run: compile and report only; writes nothing.
        cache: the folder whose models/ and data/ hold what is named without a path.
        hosts: that all call this, with the same config and a `workdir` that they share.

    Returns:
        Whether the run is at its end, and was not stopped before.

    Raises:
        InputError: a field is wrong, another run's state is in the directory, or too much of the
            data is unusable.
        OSError: the directory cannot be written to.
    """
    notes = check(workdir, config)
    if not dry_run:
        workdir.mkdir(parents=True, exist_ok=True)
    kept = _kept_tokenizer(workdir)
    run = prepare_run(config, kept, cache)
    if hosts.count > 1:
        hosts.agree("the data", _facts(run, workdir, dry_run, hosts))
        (workdir / _SHARED).unlink(missing_ok=True)
    compiled = run.compile()
    hosts.barrier("the compiled step")
    peak, source = costs.peak_of(config)
    for line in [*notes, *costs.report(run, compiled, peak, source)]:
        say(line)
    if dry_run:
        return True
    if hosts.leads:
        write(workdir, config)
    if kept is None and hosts.leads:
        _keep_tokenizer(workdir, run.tokenizer)
    with (
        Store(workdir / CHECKPOINTS, keep=config.log.keep, note=say, hosts=hosts) as store,
        hooks.interruptible() as interrupted,
    ):
        return _go(run, compiled, peak, workdir, store, interrupted, hosts, say)


def _go(
    run: Run,
    compiled: Compiled,
    peak: float,
    workdir: pathlib.Path,
    store: Store,
    interrupted: hooks.Interrupted,
    hosts: Hosts,
    say: Say,
) -> bool:
    restored = store.restore(run.state_like)
    state, meta = restored or (run.begin(), {})
    first, last = int(state.step), run.config.train.num_steps
    if restored:
        state = run.resumed(state)
        say(f"resumed from the checkpoint of step {first}")
    with contextlib.ExitStack() as stack:
        outputs = _writers(workdir, first, say) if hosts.leads else []
        for writer in outputs:
            stack.callback(writer.close)
        log = _log(run, compiled, peak, state, outputs, hosts, say)
        profiler = profiling.Profiler(workdir / "profile", say)
        stack.enter_context(profiling.on_signal(profiler))
        if restored:
            log.window = meta["window"]
            log.loss = math.inf if meta["metric"] is None else meta["metric"]
        save = lambda step, state: _save(run, store, log, step, state)
        draw = _drawer(run, workdir, log, outputs, interrupted, hosts, say)
        drawn = hosts.gather("the sheet", _sample_path(workdir, first).exists())[0]
        if not drawn and _samples_at(run, first):
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
                profiler,
            ],
            key=run.key,
            num_steps=last,
            stopping=StopVote(interrupted, hosts),
            timing=log.timing,
        )
        step = int(state.step)
        if step not in store.steps:
            save(step, state)
        store.wait()
        if loader.rejections.total:
            say(loader.rejections.summary())
    return _finish(run, state, workdir, log, interrupted, hosts, say)


def _finish(
    run: Run,
    state: TrainState,
    workdir: pathlib.Path,
    log: hooks.Log,
    interrupted: hooks.Interrupted,
    hosts: Hosts,
    say: Say,
) -> bool:
    """Leaves a model, if the run is at its end."""
    step = int(state.step)
    if step < run.config.train.num_steps:
        by = interrupted.name or "a signal to another host"
        say(f"stopped by {by} after step {step}, which is saved; the same command goes on from "
            "there")  # fmt: skip
        return False
    params = whole(state.ema[0])  # by all hosts, who have parts of it
    if hosts.leads:
        write_model(run, params, step, workdir / "model", log.loss)
    say(f"finished after step {step}; the model is in {workdir / 'model'}")
    return True


def write_model(run: Run, params: Any, step: int, directory: pathlib.Path, loss: float) -> None:
    """A step's parameters as a model directory, with the stages of the model it started from.

    A run of an upsampler or a CLIP from nothing has no base: its directory is a part, which
    `glide-jax pack` joins with one.
    """
    config, whole = run.config, run.whole
    stages = dict(whole.stages) if whole else {}
    clip, tokenizer = (whole.clip if whole else None), run.tokenizer
    if isinstance(run.part, zoo.ClipConfig):
        params, scale = clip_objective.without_logit_scale(params)
        part = dataclasses.replace(run.part, logit_scale=scale)
        clip, tokenizer = (part, tokenizer, params), whole.tokenizer if whole else tokenizer
    else:
        stages[run.stage] = (run.part, params)
    card = writing.CARD.format(
        name=config.name,
        version=__version__,
        what=run.stage,
        parameters=reading.parameter_count(params),
        source=" ".join(filter(None, (config.data.source, config.data.path, config.data.split))),
        step=step,
        batch_size=config.train.batch_size,
        images=step * config.train.batch_size,
        init_from=config.train.init_from or "nothing",
        loss=f"{loss:.4f}" if math.isfinite(loss) else "not known",
        ema=config.train.ema[0],
        use=_USE if "base" in stages else _PACK,
    )
    writing.replace_model(directory, reading.Model(config.name, tokenizer, stages, clip), card=card)


def _writers(workdir: pathlib.Path, step: int, say: Say) -> list[hooks.Writer]:
    found: list[hooks.Writer] = [writers.JsonLines(workdir / "metrics.jsonl", step)]
    try:
        found.append(writers.TensorBoard(workdir / "tensorboard", step))
    except ImportError:
        say("note: nothing is written for TensorBoard: pip install 'glide-jax[tensorboard]'")
    return found


def _log(
    run: Run,
    compiled: Compiled,
    peak: float,
    state: TrainState,
    outputs: list[hooks.Writer],
    hosts: Hosts,
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
        timing=Timing(),
        gather=lambda own: hosts.gather("a line of the log", own),
    )


def _save(run: Run, store: Store, log: hooks.Log, step: int, state: TrainState) -> None:
    with log.paused(state), log.timing.of("checkpoint"):
        meta = {
            "config": plain(run.config),
            "code": __version__,
            "data": {"step": step},  # all the loader needs: batches are a function of it
            "window": log.gathered(),
        }
        store.save(step, state, meta, log.loss)


def _samples_at(run: Run, step: int) -> bool:
    every, last = run.config.log.sample_every_steps, run.config.train.num_steps
    return bool(every and step and (step % every == 0 or step == last))


def _sample_path(workdir: pathlib.Path, step: int) -> pathlib.Path:
    return workdir / "samples" / f"step_{step:06d}.png"


def _drawer(
    run: Run,
    workdir: pathlib.Path,
    log: hooks.Log,
    outputs: list[hooks.Writer],
    interrupted: hooks.Interrupted,
    hosts: Hosts,
    say: Say,
) -> Callable[[int, TrainState], None]:
    """Draws the sheet of a step; what it needs is made when the first one is due."""
    sheet: list[Sheet] = []

    def draw(step: int, state: TrainState) -> None:
        with log.paused(state):
            if not sheet:
                sheet.append(Sheet(run))
            picture = sheet[0].draw(state.ema[0], interrupted if hosts.count == 1 else None)
            if picture is None or not hosts.leads:
                return
            path = _sample_path(workdir, step)
            images.write_png(path, picture, {"step": step, **sheet[0].parameters})
            for writer in outputs:
                writer.picture(step, np.asarray(picture))
            say(f"samples: {path}")

    return draw


def _facts(run: Run, workdir: pathlib.Path, dry_run: bool, hosts: Hosts) -> dict[str, Any]:
    """What else hosts must have alike: the data, the tokenizer and the folder."""
    found: dict[str, Any] = {
        "the number of examples": len(run.source),
        "the data (a hash of examples)": fingerprint(run.source),
        "the tokenizer (ids of a sentence)": run.tokenizer.encode("two blue stars, 12 circles"),
    }
    if dry_run:
        return found
    mark = workdir / _SHARED
    if hosts.leads:
        with replacing(mark) as temporary:
            temporary.write_text(secrets.token_hex(8), encoding="utf-8")
    hosts.barrier("the workdir")
    text = mark.read_text(encoding="utf-8") if mark.exists() else "not there"
    return found | {"what is seen of --workdir, a folder to share, (a word of host 0)": text}


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
