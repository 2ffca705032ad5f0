"""Pictures that a service is asked to draw, and events on their way."""

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from PIL import Image

from glide_jax.sampling.batches import Piece
from glide_jax.sampling.call import Call
from glide_jax.sampling.picture import Picture


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
