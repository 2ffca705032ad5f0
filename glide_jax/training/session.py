"""A run in its working directory: begun or resumed, watched, saved, exported."""

import contextlib
import dataclasses
import functools
import math
import pathlib
import secrets
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from glide_jax import checks, files, images
from glide_jax.checkpoints.store import Store
from glide_jax.compiling import in_usual_numbers
from glide_jax.mesh.hosts import ALONE, Hosts, StopVote, whole
from glide_jax.model_dir import reading, writing
from glide_jax.training import (
    costs,
    data_notes,
    folders,
    hooks,
    loop,
    matching,
    newest,
    profiling,
    writers,
)
from glide_jax.training.config import (
    CHECKPOINTS,
    TrainConfig,
    changes_since,
    has_checkpoint,
    keep_config,
)
from glide_jax.training.run import MissingInput, Run, plan_without_data, prepare_run
from glide_jax.training.sheet import Sheet
from glide_jax.training.step import TrainState
from glide_jax.version import __version__

Say = Callable[[str], None]
_LOCK = ".lock"
_SHARED = ".shared"  # a file by which hosts know that they have the same folder


@in_usual_numbers
def train(
    config: TrainConfig,
    workdir: pathlib.Path,
    *,
    say: Say,
    dry_run: bool = False,
    cache: pathlib.Path | None = None,
    hosts: Hosts = ALONE,
) -> bool:
    """Trains until the config's end or a signal, from whatever checkpoint the directory holds.

    It writes into `workdir`: config.json, data.json, tokenizer/, checkpoints/, metrics.jsonl,
    tensorboard/, samples/step_000100.png, and at the end model/, a model directory of the first
    average.

    Args:
        config: the run's.
        workdir: belongs to this run alone; made if missing.
        say: takes the lines that report progress.
        dry_run: compile and report only, also where the data is not there; writes nothing.
        cache: the folder whose models/ and data/ hold what is named without a path.
        hosts: all of them call this, with the same config and a `workdir` that they share.

    Returns:
        Whether the run is at its end, and was not stopped before.

    Raises:
        InputError: a field is wrong, another run's state is in the directory or another process
            trains there, or too much of the data is unusable.
        OSError: the directory cannot be written to.
    """
    if dry_run or not hosts.leads:
        return _train(config, workdir, say, dry_run, cache, hosts)
    workdir.mkdir(parents=True, exist_ok=True)
    name = f"--workdir {checks.shown(str(workdir), 200)}"
    with files.held(workdir / _LOCK, name) as locked:
        if not locked:
            say(f"note: the file system of {name} has no locks; start no second run there.")
        return _train(config, workdir, say, dry_run, cache, hosts)


def _train(
    config: TrainConfig,
    workdir: pathlib.Path,
    say: Say,
    dry_run: bool,
    cache: pathlib.Path | None,
    hosts: Hosts,
) -> bool:
    notes = changes_since(workdir, config)
    if config.train.redraw and not config.train.init_from:
        notes.append("note: train.redraw changes nothing, since train.init_from names no model.")
    if not dry_run:
        workdir.mkdir(parents=True, exist_ok=True)
        folders.check(workdir)
    kept = folders.kept_tokenizer(workdir)
    if kept is None and has_checkpoint(workdir):
        notes.append("note: tokenizer/spec.json is missing; the tokenizer is made anew.")
    try:
        run = prepare_run(config, kept, cache)
    except MissingInput as error:
        if not dry_run or hosts.count > 1:
            raise
        say(f"note: {error} All shapes are the config's.")
        plan = plan_without_data(config, cache)
        for line in [*notes, *costs.cost_lines(plan, costs.compile_step(plan))]:
            say(line)
        return True
    data = data_notes.facts(run)
    if hosts.count > 1:
        hosts.agree("the data", _facts(run, data, workdir, dry_run, hosts))
        (workdir / _SHARED).unlink(missing_ok=True)
    for line in [*data_notes.check(run, data, workdir), *data_notes.lines(run)]:
        say(line)
    compiled = costs.compile_step(run.plan)
    hosts.barrier("the compiled step")
    for line in [*notes, *costs.cost_lines(run.plan, compiled)]:
        say(line)
    if dry_run:
        return True
    if hosts.leads:
        keep_config(workdir, config)
        data_notes.keep(data, workdir)
        if kept is None:
            folders.keep_tokenizer(workdir, run.tokenizer)
    with (
        Store(workdir / CHECKPOINTS, keep=config.log.keep, note=say, hosts=hosts) as store,
        hooks.interruptible() as interrupted,
    ):
        return _Session(run, compiled, workdir, store, interrupted, hosts, say).train()


@dataclasses.dataclass
class _Session:
    """A run between its first step and its last, or a signal."""

    run: Run
    compiled: costs.Compiled
    workdir: pathlib.Path
    store: Store
    interrupted: hooks.Interrupted
    hosts: Hosts
    say: Say
    log: hooks.Log = dataclasses.field(init=False)
    outputs: list[hooks.Writer] = dataclasses.field(default_factory=list)

    def train(self) -> bool:
        run, hosts, config = self.run, self.hosts, self.run.config
        restored = self.store.restore(run.plan.state_like, hooks.check_window)
        state, meta = restored or (run.begin(), {})
        first, last = int(state.step), config.train.num_steps
        if restored:
            state = run.resumed(state)
            self.say(f"resumed from the checkpoint of step {first}")
        with contextlib.ExitStack() as stack:
            self._open_outputs(first)
            for writer in self.outputs:
                stack.callback(writer.close)
            self.log = self._make_log(state)
            profiler = profiling.Profiler(self.workdir / "profile", self.say)
            stack.enter_context(profiler.on_signal())
            if restored:
                self.log.window = meta["window"]
                self.log.loss = math.inf if meta["metric"] is None else meta["metric"]
            drawn = hosts.gather("the sheet", self._sheet_path(first).exists())[0]
            every = config.log.sample_every_steps
            if every and first and not drawn and (first % every == 0 or first == last):
                self.draw(first, state)  # a signal came, or the process died, before it was drawn
            loader = run.loader()
            stack.callback(loader.close)
            state = loop.fit(
                self.run.taught(self.compiled.step),
                state,
                run.batches(loader, first),
                [
                    self.log,
                    hooks.every(every, self.draw, last),
                    hooks.every(config.log.checkpoint_every_steps, self.save, last),
                    profiler,
                ],
                key=run.key,
                num_steps=last,
                stopping=StopVote(self.interrupted, hosts),
                timing=self.log.timing,
            )
            if int(state.step) not in self.store.steps:
                self.save(int(state.step), state)
            self.store.wait()
            if loader.rejections.total:
                self.say(loader.rejections.summary())
        return self._finish(state)

    def save(self, step: int, state: TrainState) -> None:
        """Writes a checkpoint."""
        with self.log.paused(state), self.log.timing.of("checkpoint"):
            meta = {
                "config": self.run.config.kept,
                "code": __version__,
                "data": {"step": step},  # all the loader needs: batches are a function of it
                "window": self.log.gathered(),
            }
            self.store.save(step, state, meta, self.log.loss)

    def draw(self, step: int, state: TrainState) -> None:
        """Draws the sheet of samples of a step."""
        with self.log.paused(state):
            alone = self.hosts.count == 1
            picture = self._sheet.draw(self._drawn_with(state), self.interrupted if alone else None)
            if picture is None or not self.hosts.leads:
                return
            path = self._sheet_path(step)
            parameters = {"step": step, **self._sheet.parameters}
            images.write_png(path, picture, parameters, source=self._sheet.source)
            for writer in self.outputs:
                writer.picture(step, np.asarray(picture))
            self.say(f"samples: {path}")

    def _drawn_with(self, state: TrainState) -> Any:
        return matching.drawn_with(self.run.config.distill, state.ema[0])

    @functools.cached_property
    def _sheet(self) -> Sheet:
        return Sheet(self.run)

    def _sheet_path(self, step: int) -> pathlib.Path:
        return self.workdir / "samples" / f"step_{step:06d}.png"

    def _open_outputs(self, step: int) -> None:
        if not self.hosts.leads:
            return
        self.outputs.append(writers.JsonLines(self.workdir / "metrics.jsonl", step, self.say))
        try:
            self.outputs.append(writers.TensorBoard(self.workdir / "tensorboard", step))
        except ImportError:
            self.say(
                "note: nothing is written for TensorBoard: pip install 'glide-jax[tensorboard]'"
            )

    def _make_log(self, state: TrainState) -> hooks.Log:
        config = self.run.config
        options = hooks.LogOptions(
            every=config.log.every_steps,
            last=config.train.num_steps,
            lr=self.run.plan.lr,
            images=config.train.batch_size,
            flops=self.compiled.flops,
            peak_flops=self.compiled.peak_tflops * 1e12 * jax.device_count(),
            most_nonfinite=config.train.max_nonfinite_in_a_row,
        )
        return hooks.Log(
            options,
            self.outputs,
            self.say,
            skipped=(int(state.skipped), int(state.skipped_in_a_row)),
            gather=lambda own: self.hosts.gather("a line of the log", own),
        )

    def _finish(self, state: TrainState) -> bool:
        """Leaves a model, if the run is at its end."""
        step = int(state.step)
        if step < self.run.config.train.num_steps:
            by = self.interrupted.name or "a signal to another host"
            self.say(f"stopped by {by} after step {step}, which is saved; the same command goes on "
                     "from there")  # fmt: skip
            return False
        params = whole(self._drawn_with(state))  # by all hosts, since each has only parts of it
        if self.hosts.leads:
            self._write_model(params, step)
        self.say(f"finished after step {step}; the model is in {self.workdir / 'model'}")
        return True

    def _write_model(self, params: Any, step: int) -> None:
        """A step's parameters as a model directory, with the stages of the model it started from.

        A run of an upsampler or a CLIP from nothing has no base: its directory is a part, which
        `glide-jax pack` joins with one.
        """
        run, config, loss = self.run, self.run.config, self.log.loss
        model = newest.as_model(config, run.tokenizer, run.whole, params)
        parts = {name: params for name, (_, params) in model.stages.items()}
        trained = model.clip[2] if model.clip and config.stage == "clip" else parts[config.stage]
        data = (config.data.source, config.data.path, config.data.split)
        card = writing.CARD.format(
            name=config.name,
            version=__version__,
            what=config.stage,
            parameters=reading.parameter_count(trained),
            source=" ".join(filter(None, data)),
            step=step,
            batch_size=config.train.batch_size,
            images=step * config.train.batch_size,
            init_from=config.train.init_from or "nothing",
            loss=f"{loss:.4f}" if math.isfinite(loss) else "not known",
            ema=config.train.ema[0],
            use=writing.USE_MODEL if "base" in model.stages else writing.USE_PART,
        )
        writing.replace_model(self.workdir / "model", model, card=card)


def _facts(
    run: Run, data: dict[str, Any], workdir: pathlib.Path, dry_run: bool, hosts: Hosts
) -> dict[str, Any]:
    """Facts besides the config that hosts must share: the data, the tokenizer and the folder."""
    found: dict[str, Any] = {
        "the number of examples": data["examples"],
        "the data (a hash of examples)": data["hash"],
        "the teacher (a hash)": data.get("teacher"),
        "the tokenizer (ids of a sentence)": run.tokenizer.encode("two blue stars, 12 circles"),
    }
    if dry_run:
        return found
    mark = workdir / _SHARED
    if hosts.leads:
        with files.replacing(mark) as temporary:
            temporary.write_text(secrets.token_hex(8), encoding="utf-8")
    hosts.barrier("the workdir")
    text = mark.read_text(encoding="utf-8") if mark.exists() else "not there"
    return found | {"what is seen of --workdir, a folder to share, (a word of host 0)": text}
