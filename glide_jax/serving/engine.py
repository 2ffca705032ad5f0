"""Many requests on one device: a fixed number of slots, whose pictures take turns."""

import collections
import logging
import math
import threading
import time
from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image

from glide_jax import images
from glide_jax.errors import InputError
from glide_jax.sampling import slots
from glide_jax.sampling.glide import Glide
from glide_jax.sampling.picture import Picture
from glide_jax.serving.jobs import Busy, Failed, Job, Preview, Progress
from glide_jax.serving.rehearsal import Rehearsal

_TURN_SECONDS = 0.15  # for all slots together: how soon a newcomer starts, a stop takes effect
_MOST_STEPS = 64  # a chain's steps in one turn


class Engine:
    """Draws jobs in one thread, `slots` of them at a time.

    A job of a kind that was not drawn before is rehearsed in another thread first, which compiles
    its programs while other pictures are drawn.

    Attributes:
        glide: the model.
        slots: pictures that are drawn at the same time.
        width: rows of a program, see `sampling.slots`.
        room: jobs that may wait.
        steps: steps that were taken.
        pictures: pictures that were drawn.
    """

    def __init__(self, glide: Glide, *, slots: int = 4, width: int = 1, room: int = 64):
        """Starts the thread.

        Args:
            glide: the model.
            slots: 1 or more.
            width: 1 or more; at most `slots` is of use.
            room: 0 or more.
        """
        self.glide, self.slots, self.width, self.room = glide, slots, width, room
        self.steps = self.pictures = 0
        self._waiting: collections.deque[Job] = collections.deque()
        self._strange: collections.deque[Job] = collections.deque()  # to be rehearsed
        self._rehearsal = Rehearsal(glide, width)
        self._live: list[Job] = []
        self._change, self._draining, self._stopped = threading.Condition(), False, False
        self._per_turn, self._per_picture = 1, 1.0  # steps, seconds
        threading.Thread(target=self._rehearse, name="rehearsal", daemon=True).start()
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._thread.start()

    @property
    def load(self) -> tuple[int, int]:
        """Jobs that wait, and jobs that are drawn."""
        return len(self._waiting) + len(self._strange), len(self._live)

    @property
    def alive(self) -> bool:
        """Whether jobs are taken and drawn."""
        return self._thread.is_alive() and not self._draining

    def rehearse(self, job: Job) -> None:
        """Compiles what jobs of a kind need, before one comes.

        Raises:
            InputError: the model cannot draw it.
        """
        try:
            self._rehearsal.hold(job)
        except Exception as error:
            raise InputError(f"the model cannot draw: {_failure(error).message}") from None

    def submit(self, jobs: Sequence[Job]) -> None:
        """Takes all of the jobs, or none.

        Raises:
            Busy: there is no room for all of them, or the engine stops.
        """
        with self._change:
            ahead = sum(self.load)
            if self._draining or ahead + len(jobs) > self.slots + self.room:
                raise Busy(max(1, math.ceil(ahead * self._per_picture)))
            for job in jobs:
                job.born = time.monotonic()
                known = self._rehearsal.knows(job)
                (self._waiting if known else self._strange).append(job)
            self._change.notify_all()

    def drain(self, seconds: float | None = None) -> bool:
        """Takes no more jobs and waits for those that are there; True once they are all drawn.

        Args:
            seconds: how long to wait at most.
        """
        with self._change:
            self._draining = True
            self._change.notify_all()
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def stop(self, wait: bool = True) -> None:
        """Ends every job that is there after the turn that is running.

        Args:
            wait: whether to return only then.
        """
        with self._change:
            self._draining = self._stopped = True
            self._change.notify_all()
        if wait:
            self._thread.join()

    def _rehearse(self) -> None:
        while True:
            with self._change:
                while not (self._strange or self._draining):
                    self._change.wait()
                if self._stopped or not self._strange:
                    return
                job = self._strange[0]
            failed = None
            try:
                self._rehearsal.hold(job)
            except Exception as error:
                failed = _failure(error)
            with self._change:
                if job in self._strange:  # and the engine was not stopped meanwhile
                    self._strange.popleft()
                    if failed is None:
                        self._waiting.append(job)
                    else:
                        self._end(job, failed)
                self._change.notify_all()

    def _run(self) -> None:
        while True:
            with self._change:
                while not (
                    self._waiting
                    or self._live
                    or self._stopped
                    or (self._draining and not self._strange)
                ):
                    self._change.wait()
                if self._stopped:
                    break
                while self._waiting and len(self._live) < self.slots:
                    self._live.append(self._waiting.popleft())
                if not self._live:
                    break
            self._turn()
        with self._change:
            left = [*self._live, *self._waiting, *self._strange]
            self._waiting.clear()
            self._strange.clear()
        for job in left:
            self._end(job, Failed("the server stops; send the request again.", "stopped"))

    def _turn(self) -> None:
        """A few steps of every picture."""
        for job in list(self._live):
            self._guard(job, self._prepare)
        jobs = [job for job in self._live if job.piece is not None]
        if not jobs:
            return
        began, chains = time.monotonic(), [job.piece.chain for job in jobs if job.piece]
        before = [chain.done for chain in chains]
        try:
            slots.advance(chains, [job.steps(self._per_turn) for job in jobs], self.width)
            for chain in chains:
                chain.x_t.block_until_ready()
        except Exception as error:  # such as too little memory: which picture's, nobody knows
            for job in jobs:
                self._end(job, _failure(error))
            return
        taken = sum(chain.done for chain in chains) - sum(before)
        self.steps += taken
        self._adapt(time.monotonic() - began)
        for job in jobs:
            self._guard(job, self._report)

    def _adapt(self, seconds: float) -> None:
        """Longer turns cost less, shorter ones let newcomers in sooner."""
        if seconds > 2.0 * _TURN_SECONDS:
            self._per_turn = max(1, self._per_turn // 2)
        elif seconds < 0.5 * _TURN_SECONDS:
            self._per_turn = min(_MOST_STEPS, self._per_turn * 2)

    def _guard(self, job: Job, function: Callable[[Job], None]) -> None:
        """Does something for a job, which fails alone where that fails."""
        try:
            function(job)
        except Exception as error:
            self._end(job, _failure(error))

    def _prepare(self, job: Job) -> None:
        """Brings a job to a chain that has steps left, or to its end."""
        if job.gone:
            return self._end(job)
        if time.monotonic() - job.born > job.seconds:
            return self._end(job, Failed(f"the request took over {job.seconds:g} s.", "time"))
        if job.drawing is None:
            job.drawing = self.glide.begin(job.prompt, job.call)
        while job.piece is None or job.piece.chain.finished:
            item = next(job.drawing, None)
            if item is None:
                self._per_picture += 0.2 * (time.monotonic() - job.born - self._per_picture)
                return self._end(job)
            if isinstance(item, Picture):
                self.pictures += 1
                job.notify(item)
            else:
                job.piece = item
        return None

    def _report(self, job: Job) -> None:
        """Sends how far a job is, and the prediction where one is due."""
        assert job.piece is not None
        chain = job.piece.chain
        job.notify(Progress(job.piece.stage, chain.done - chain.first, chain.total - chain.first))
        if job.looks_now():
            [pixels] = images.to_uint8(np.asarray(chain.look()))
            job.notify(Preview(self._shown(job, Image.fromarray(pixels)), job.seen))
            job.seen += 1

    def _shown(self, job: Job, image: Image.Image) -> Image.Image:
        """A prediction of the base; within the whole picture, where a part is repainted."""
        if job.call.edit.known is None:
            return image
        height, width = job.call.edit.known.shape[:2]  # the last stage's
        return job.call.edit.finish(image.resize((width, height), Image.Resampling.BICUBIC))

    def _end(self, job: Job, event: Failed | None = None) -> None:
        """Frees the slot of a job."""
        if job in self._live:
            self._live.remove(job)
        job.drawing = job.piece = None
        if event is not None:
            try:
                job.notify(event)
            except Exception:  # whoever listens must not stop the others' pictures
                logging.getLogger(__name__).exception("a listener failed")


def _failure(error: Exception) -> Failed:
    if isinstance(error, InputError):
        return Failed(str(error), "input")
    logging.getLogger(__name__).error("a picture failed", exc_info=error)
    if "RESOURCE_EXHAUSTED" in str(error):
        return Failed("the device has too little memory for this request.", "server")
    return Failed("the picture could not be drawn; the server's log has the reason.", "server")
