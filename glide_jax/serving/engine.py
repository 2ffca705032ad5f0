"""Many requests on one device: a fixed number of slots, whose pictures take turns."""

import collections
import dataclasses
import logging
import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image

from glide_jax import images
from glide_jax.errors import InputError
from glide_jax.sampling import slots
from glide_jax.sampling.batches import Piece
from glide_jax.sampling.call import Call
from glide_jax.sampling.glide import Glide
from glide_jax.sampling.picture import Picture

_TURN_SECONDS = 0.15  # for all slots together: how soon a newcomer starts, a stop takes effect
_MOST_STEPS = 64  # a chain's steps in one turn


class Busy(Exception):
    """The queue has no room.

    Args:
        seconds: when it is worth another try.
    """

    def __init__(self, seconds: int):
        super().__init__(f"the queue is full; try again in {seconds} s.")
        self.seconds = seconds


class Progress(NamedTuple):
    """How far a picture is."""

    stage: str
    done: int
    total: int


class Preview(NamedTuple):
    """A picture as the model predicts it now."""

    image: Image.Image
    number: int  # 0, 1, ...


class Failed(NamedTuple):
    """A picture that does not come, and the sentence that says why."""

    message: str
    fault: str  # "input", "time", "stopped" or "server"


Event = Progress | Preview | Picture | Failed


@dataclasses.dataclass(eq=False)
class Job:
    """One picture to draw.

    Attributes:
        prompt: its prompt, or both of a pair between which frames are drawn.
        call: options of one picture.
        notify: called in the engine's thread with each event; the last one is a `Picture` (or the
            last of several frames) or `Failed`.
        previews: how many predictions are sent while the base draws, evenly spread.
        seconds: time from the submission to the end, after which the job fails.
        gone: set by a client that does not wait any longer; the job ends at its next turn.
    """

    prompt: str | Sequence[str]
    call: Call
    notify: Callable[[Event], None]
    previews: int = 0
    seconds: float = math.inf
    gone: bool = False
    # The engine's own.
    born: float = 0.0
    drawing: Iterator[Piece | Picture] | None = None
    piece: Piece | None = None
    seen: int = 0

    def steps(self, most: int) -> int:
        """Steps until the end of this turn, which is not later than the next preview."""
        assert self.piece is not None
        chain = self.piece.chain
        return max(1, min(most, self._next_look() - chain.done))

    def looks_now(self) -> bool:
        """Whether a preview is due."""
        return self.piece is not None and self.piece.chain.done >= self._next_look()

    def _next_look(self) -> int:
        """The step of the base after which the next preview is sent."""
        assert self.piece is not None
        chain = self.piece.chain
        if self.seen >= self.previews or self.piece.stage != "base":
            return chain.total + 1
        # Rounded down, so that a chain of few steps sends its previews before its end.
        share = (self.seen + 1) / (self.previews + 1)
        return chain.first + max(self.seen, int(share * (chain.total - chain.first)))


class Engine:
    """Draws jobs in one thread, `slots` of them at a time.

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
        self._live: list[Job] = []
        self._change, self._draining, self._stopped = threading.Condition(), False, False
        self._per_turn, self._per_picture = 1, 1.0  # steps, seconds
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._thread.start()

    @property
    def load(self) -> tuple[int, int]:
        """Jobs that wait, and jobs that are drawn."""
        return len(self._waiting), len(self._live)

    @property
    def alive(self) -> bool:
        """Whether jobs are taken and drawn."""
        return self._thread.is_alive() and not self._draining

    def submit(self, jobs: Sequence[Job]) -> None:
        """Takes all of the jobs, or none.

        Raises:
            Busy: there is no room for all of them, or the engine stops.
        """
        with self._change:
            free = self.slots - len(self._live) + self.room - len(self._waiting)
            if self._draining or len(jobs) > free:
                ahead = len(self._waiting) + len(self._live)
                raise Busy(max(1, math.ceil(ahead * self._per_picture)))
            for job in jobs:
                job.born = time.monotonic()
                self._waiting.append(job)
            self._change.notify()

    def drain(self, seconds: float | None = None) -> bool:
        """Takes no more jobs and waits for those that are there; True once they are all drawn.

        Args:
            seconds: how long to wait at most.
        """
        with self._change:
            self._draining = True
            self._change.notify()
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def stop(self, wait: bool = True) -> None:
        """Ends every job that is there after the turn that is running.

        Args:
            wait: whether to return only then.
        """
        with self._change:
            self._draining = self._stopped = True
            self._change.notify()
        if wait:
            self._thread.join()

    def _run(self) -> None:
        while True:
            with self._change:
                while not (self._waiting or self._live or self._draining):
                    self._change.wait()
                if self._stopped:
                    break
                while self._waiting and len(self._live) < self.slots:
                    self._live.append(self._waiting.popleft())
                if not self._live:
                    break
            self._turn()
        for job in [*self._live, *self._waiting]:
            self._end(job, Failed("the server stops; send the request again.", "stopped"))
        self._waiting.clear()

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
