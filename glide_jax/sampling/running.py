"""A batch on its way through one stage: started, advanced a few steps at a time, looked at."""

import time
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from glide_jax import compiling
from glide_jax.diffusion import repaint
from glide_jax.diffusion.schedules import Schedule
from glide_jax.sampling import cascade
from glide_jax.sampling.cascade import Chain, Inputs
from glide_jax.sampling.settings import DEFAULTS, StageSettings
from glide_jax.types import Image, Stage

# Called with the steps done, the steps in all and x_t, often enough for a progress bar.
Progress = Callable[[int, int, Image], None]
_SECONDS_BETWEEN_REPORTS = 0.5


class Start(NamedTuple):
    """Where a chain starts, and how often it goes back up, when a picture is edited."""

    init: Image | None = None  # the picture to start from
    strength: float = 1.0  # share of the diffusion that `init` is noised by; 1 leaves nothing of it
    resampling: repaint.Resampling = repaint.Resampling()

    def chain(self, stage: Stage, schedule: Schedule) -> Chain:
        """The chain of a schedule that starts here; its numbers are on the host."""
        first = 0
        if self.init is not None:
            first = repaint.skipped(schedule, len(stage.alpha_bar), self.strength)
            if stage.distilled and stage.upsampler:  # which has the small picture
                first = min(first, stage.distilled - 1)
        return Chain(schedule, first, self.resampling)


PLAIN_START = Start()


class Running:
    """One batch in one stage (GLIDE, section 2 and the released notebooks).

    The loop over steps is compiled; it is entered a few steps at a time, so that a caller sees
    progress, shares the device, or stops. How the chain is cut changes nothing in the result.

    Attributes:
        stage: the model.
        x_t: (b, h, w, 3), where the chain is; x_0 in [-1, 1] once it is finished.
        first: steps that the chain leaves out.
        done: steps that are taken or left out.
        total: where the chain ends.
    """

    def __init__(
        self,
        stage: Stage,
        inputs: Inputs,
        settings: StageSettings = DEFAULTS,
        *,
        size: tuple[int, int] | None = None,
        start: Start = PLAIN_START,
        x_T: Image | None = None,
    ):
        """Starts a chain.

        Args:
            stage: the model.
            inputs: the batch.
            settings: sampler, steps, scales.
            size: height and width, if not the stage's own.
            start: where the chain starts and how often it goes back.
            x_T: (b, h, w, 3), the starting noise, if not the keys' own.
        """
        compiled, self.stage = cascade.programs(), stage
        if x_T is None:
            height, width = size or (stage.image_size, stage.image_size)
            temperature = jnp.float32(settings.temperature)
            x_T = compiled.start(inputs.keys, temperature, shape=(height, width, 3))
        chain = start.chain(stage, cascade.schedule_of(stage, settings))
        self.first, self.total = int(chain.first), int(repaint.length(*chain))
        self.done = self.first
        if start.init is not None and start.strength < 1.0:
            x_T = compiled.noised(chain.schedule, start.init, x_T, jnp.int32(self.first))
        assert x_T is not None
        self.x_t, self.sampler = x_T, settings.sampler
        self.chain = chain._replace(
            first=jnp.int32(self.first), resampling=jax.tree.map(jnp.int32, chain.resampling)
        )
        self.knobs = jax.tree.map(jnp.float32, settings.traced())
        kept = cascade.kept_like(stage, inputs, x_T) if "reuse" in self.knobs else None
        self.history = cascade.fresh_history(self.sampler, self.knobs, x_T, kept)
        self.inputs = inputs._replace(guides=jax.tree.map(jnp.asarray, inputs.guides))

    @property
    def finished(self) -> bool:
        """Whether every step is taken."""
        return self.done >= self.total

    @compiling.in_usual_numbers
    def advance(self, steps: int) -> None:
        """Takes up to `steps` steps; the work may still be running on the device afterwards."""
        stop = min(self.done + steps, self.total)
        self.x_t, self.history = cascade.programs().advance(
            self.x_t, self.history, self.inputs, self.chain, self.knobs,
            (jnp.int32(self.done), jnp.int32(stop)),
            network=self.stage.network, sampler=self.sampler,
        )  # fmt: skip
        self.done = stop

    @compiling.in_usual_numbers
    def look(self) -> Image:
        """The predicted x_0, (b, h, w, 3) in [-1, 1]; it costs one evaluation."""
        if self.finished:
            return self.x_t
        return cascade.programs().look(
            self.x_t, self.history, self.inputs, self.chain, self.knobs, jnp.int32(self.done),
            network=self.stage.network,
        )  # fmt: skip

    def finish(self, progress: Progress | None = None) -> Image:
        """Takes all steps that are left and returns x_0.

        Args:
            progress: called with the steps done, the steps in all and x_t.
        """
        steps, first = 1, self.done
        while not self.finished:
            began, before = time.monotonic(), self.done
            self.advance(self.total if progress is None else steps)
            if progress is None:
                break
            self.x_t.block_until_ready()
            progress(self.done - self.first, self.total - self.first, self.x_t)
            if before > first:  # the first call compiled, so its time tells nothing about speed
                per_step = (time.monotonic() - began) / (self.done - before)
                steps = max(1, int(_SECONDS_BETWEEN_REPORTS / max(per_step, 1e-6)))
        return self.x_t
