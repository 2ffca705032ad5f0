"""Pictures of two steps that nobody sees: they compile what a kind of request needs."""

import dataclasses
from collections.abc import Hashable

from glide_jax.errors import InputError
from glide_jax.sampling import slots
from glide_jax.sampling.batches import Piece
from glide_jax.sampling.call import Call, stage_settings
from glide_jax.sampling.glide import Glide
from glide_jax.sampling.settings import Steps
from glide_jax.serving.jobs import Job

_ARRAYS = ("known", "init", "low_res", "weights")  # parts of an edit whose shapes programs have


class Rehearsal:
    """Knows which kinds of jobs have their programs.

    Args:
        glide: the model.
        width: rows of a program, see `sampling.slots`.
    """

    def __init__(self, glide: Glide, width: int):
        self._glide, self._width = glide, width
        self._known: set[Hashable] = set()

    def knows(self, job: Job) -> bool:
        """Whether a job compiles nothing."""
        try:
            return self._kind(job) in self._known
        except InputError:  # which `hold` raises again
            return False

    def hold(self, job: Job) -> None:
        """Draws a job in a few steps, so that its programs are there.

        Raises:
            InputError: it cannot be drawn.
        """
        kind = self._kind(job)
        if kind in self._known:
            return
        for item in self._glide.begin(job.prompt, self._short(job.call)):
            if not isinstance(item, Piece):  # further frames have the same programs
                break
            item.chain.look()
            while not item.chain.finished:
                slots.advance([item.chain], [item.chain.total], self._width)
        self._known.add(kind)

    def _kind(self, job: Job) -> Hashable:
        """All of a job on which its programs depend."""
        call = job.call
        shapes = (getattr(getattr(call.edit, name), "shape", None) for name in _ARRAYS)
        settings = (
            stage_settings(call, name, default, self._glide.loaded.stages[name].distilled)
            for name, default in self._glide.loaded.sampling.items()
        )
        programs = ((one.sampler, *sorted(one.traced())) for one in settings)
        several = not isinstance(job.prompt, str)
        return several, call.upsample, call.negative_prompt is None, *shapes, *programs

    def _short(self, call: Call) -> Call:
        """The same in two steps of each stage that runs."""
        edit, base, upsampler = call.edit, dict(call.base), dict(call.upsampler)
        stages = self._glide.loaded.stages  # a distilled one has few steps, and no others
        if edit.low_res is None and not stages["base"].distilled:
            base |= {"steps": Steps(2), "grid": ""}
        if call.upsample and "upsample" in stages and not stages["upsample"].distilled:
            upsampler |= {"steps": Steps(2), "grid": ""}
        if edit.init is not None:  # so that there are steps
            edit = dataclasses.replace(edit, strength=max(0.99, edit.strength))
        return dataclasses.replace(call, base=base, upsampler=upsampler, edit=edit)
