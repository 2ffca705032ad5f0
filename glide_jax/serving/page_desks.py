"""The pictures that a visitor of the page has on each tab, and the drawing of more."""

import asyncio
import base64
import collections
import contextlib
import dataclasses
import functools
import html
import io
import pathlib
import shutil
import tempfile
import threading
import time
import warnings
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Protocol

from PIL import Image, ImageFilter

from glide_jax import images, provenance
from glide_jax.errors import InputError
from glide_jax.safety.output_filter import FLAGGED, Scorer
from glide_jax.sampling import canvas
from glide_jax.sampling.picture import Picture
from glide_jax.serving.answers import Answer
from glide_jax.serving.engine import Engine
from glide_jax.serving.jobs import Event, Preview, Progress
from glide_jax.serving.page_masks import Easel
from glide_jax.serving.protocol import ApiError, Limits, Wish
from glide_jax.tokenizers.protocol import PromptTruncated

MOST_STAGED = 24  # pictures of a strip; the oldest go
_MOST_DESKS = 256
_MOST_PIXELS = 1 << 27  # in the memory of all desks, about
_FRAME_SECONDS = 0.25  # between two looks at a picture that is drawn
_LOOK = 768  # pixels a side of a picture in HTML, at most
_COARSE = 128  # pixels a side; pictures of fewer are shown as squares
_warning = threading.Lock()


@dataclasses.dataclass(frozen=True)
class Staged:
    """A picture of the strip, and its PNG file, which carries the parameters."""

    picture: Picture
    file: pathlib.Path
    look: pathlib.Path  # the file that the strip shows: itself, or blurred
    unfit: float  # the output filter's score; 0 without a filter

    @property
    def blurred(self) -> bool:
        """Whether the page asks before it shows the picture."""
        return self.unfit >= FLAGGED


@dataclasses.dataclass
class Desk:
    """One tab of one visitor.

    Attributes:
        staged: pictures of the strip, the newest last.
        chosen: the number of the one that is shown.
        easel: the picture that is worked on.
        before: what the shown pictures are compared with.
        parameters: those of a picture that is drawn again.
        frames: pictures that are shown as one that moves, if any.
        stopped: whether drawing is to end.
        typed: when the last key was pressed, in milliseconds, on the desk of live pictures.
    """

    staged: list[Staged] = dataclasses.field(default_factory=list)
    chosen: int = 0
    easel: Easel | None = None
    before: Image.Image | None = None
    parameters: dict[str, Any] | None = None
    frames: Sequence[Image.Image] = ()
    stopped: bool = False
    typed: float = 0.0

    @property
    def pixels(self) -> int:
        """The pixels of its pictures, about."""
        pictures = [staged.picture.image for staged in self.staged]
        pictures += [self.before] if self.before else []
        pictures += [self.easel.picture] * 3 if self.easel else []
        return sum(picture.width * picture.height for picture in pictures)

    @property
    def shown(self) -> Staged | None:
        """The chosen picture."""
        return self.staged[self.chosen] if self.chosen < len(self.staged) else None

    def discard(self) -> None:
        """Takes the chosen picture from the strip."""
        if self.chosen < len(self.staged):
            shutil.rmtree(self.staged.pop(self.chosen).file.parent, ignore_errors=True)
            self.chosen = max(0, min(self.chosen, len(self.staged) - 1))
            self.frames = ()

    def clear(self) -> None:
        """Takes every picture from the strip."""
        while self.staged:
            self.discard()


class Desks:
    """The desks of all visitors, in memory; their PNG files are in a folder that ends with them.

    Args:
        scorer: the output filter, if there is one.
    """

    def __init__(self, scorer: Scorer | None = None):
        self._scorer = scorer
        self._folder = tempfile.TemporaryDirectory(prefix="glide_jax-")
        self._desks: collections.OrderedDict[tuple[str, str], Desk] = collections.OrderedDict()

    def of(self, visitor: str, tab: str) -> Desk:
        """The desk of a visitor's tab, the first time an empty one."""
        desk = self._desks.setdefault((visitor, tab), Desk())
        self._desks.move_to_end((visitor, tab))
        while len(self._desks) > 1 and (
            len(self._desks) > _MOST_DESKS
            or sum(each.pixels for each in self._desks.values()) > _MOST_PIXELS
        ):
            _, old = self._desks.popitem(last=False)
            old.stopped = True
            old.clear()
        return desk

    def leave(self, visitor: str) -> None:
        """Forgets a visitor and stops what is drawn for them."""
        for key in [key for key in self._desks if key[0] == visitor]:
            desk = self._desks.pop(key)
            desk.stopped = True
            desk.clear()

    def stage(self, desk: Desk, picture: Picture) -> None:
        """Puts a picture on the strip and chooses it."""
        p = picture.parameters
        folder = pathlib.Path(tempfile.mkdtemp(dir=self._folder.name))
        file = folder / f"glide-{p['seed']}-{p['index']}.png"
        images.write_png(file, picture.image, p)
        score, look = 0.0 if self._scorer is None else self._scorer(picture.image), file
        if score >= FLAGGED:
            look = folder / "blurred.png"
            images.write_png(look, blurred(picture.image), {}, source=provenance.source_of(p))
        desk.staged.append(Staged(picture, file, look, score))
        while len(desk.staged) > 1 and (
            len(desk.staged) > MOST_STAGED or desk.pixels > _MOST_PIXELS // 2
        ):
            desk.chosen = 0
            desk.discard()
        desk.chosen = len(desk.staged) - 1


@dataclasses.dataclass
class Tile:
    """A picture on its way."""

    source: str  # where it comes from, one of `provenance`
    image: Image.Image | None = None
    text: str = "waits"
    share: float = 0.0
    blurs: bool = False  # whether pictures are shown only once the output filter has seen them

    def take(self, event: Event) -> None:
        """Follows an event."""
        if isinstance(event, Progress):
            name = {"base": "drawing", "upsample": "enlarging"}.get(event.stage, event.stage)
            self.text = f"{name}, step {event.done} of {event.total}"
            self.share = event.done / max(1, event.total)
        elif isinstance(event, Preview):
            self.image = blurred(event.image) if self.blurs else event.image
        elif isinstance(event, Picture):
            self.image = blurred(event.image) if self.blurs else event.image
            self.text, self.share = "done", 1.0


class Stoppable(Protocol):
    """A desk, or whatever else says that drawing is to end."""

    @property
    def stopped(self) -> bool:
        """Whether it is."""
        ...


async def drawn(
    engine: Engine, limits: Limits, wish: Wish, desk: Stoppable, stage: Callable[[Picture], None]
) -> AsyncIterator[list[Tile]]:
    """Draws a wish; gives its pictures as they come, a few times a second.

    Args:
        engine: draws.
        limits: the server's.
        wish: what to draw.
        desk: its `stopped` ends it.
        stage: called with each finished picture.

    Raises:
        InputError: the prompt filter refuses a prompt.
        ApiError: there is no room, or a picture does not come.
    """
    weights = wish.calls[0].edit.weights  # frames are one call
    source = provenance.source_of({"edit": wish.calls[0].edit.record})
    tile = functools.partial(Tile, source, blurs=limits.scorer is not None)
    tiles = [tile() for _ in (wish.calls if weights is None else weights)]
    finished, last = 0, 0.0

    async def stopped() -> bool:
        return desk.stopped

    prompts = (wish.prompt,) if isinstance(wish.prompt, str) else wish.prompt
    mixed = [text for call in wish.calls[:1] for text, _ in call.mix]
    await asyncio.to_thread(limits.prompts.check, *prompts, *mixed)
    answer = Answer(engine, wish, limits, stopped)
    yield tiles
    coming: Any = answer.events()
    async with contextlib.aclosing(coming) as events:
        async for k, event in events:
            if desk.stopped:
                return
            tiles[k if weights is None else min(finished, len(tiles) - 1)].take(event)
            if isinstance(event, Picture):
                finished += 1
                await asyncio.to_thread(stage, event)
            if isinstance(event, Preview | Picture) or time.monotonic() - last > _FRAME_SECONDS:
                last = time.monotonic()
                yield tiles


def made(make: Callable[[], Any]) -> tuple[Any, list[str]]:
    """Calls a function; gives its result and the sentences that it warns with.

    Those about prompts are left out, since the engine may warn of another visitor's meanwhile.

    Raises:
        InputError: a value is wrong.
    """
    with _warning, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        out = make()
    ours = [w for w in caught if issubclass(w.category, UserWarning)]
    return out, [str(w.message) for w in ours if not issubclass(w.category, PromptTruncated)]


def sentence(error: Exception) -> str:
    """An error of ours for the page, as HTML.

    Raises:
        Exception: it is none of ours.
    """
    if not isinstance(error, InputError | ApiError):
        raise error
    text = str(error)
    return html.escape(text[:1].upper() + text[1:], quote=False)


def address(image: Image.Image, source: str) -> str:
    """A picture as a `data:` address, marked; a large one is made smaller.

    Args:
        image: it.
        source: where it comes from, one of `provenance`.
    """
    image = image.copy()
    image.thumbnail((_LOOK, _LOOK))
    buffer = io.BytesIO()
    images.save_png(buffer, image, None, source)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def blurred(image: Image.Image) -> Image.Image:
    """A picture of which no more than its colours can be seen."""
    return image.filter(ImageFilter.GaussianBlur(max(image.size) / 10))


def _img(image: Image.Image, text: str, source: str) -> str:
    """A picture as HTML; the pixels of a small one are shown as squares.

    Args:
        image: it.
        text: HTML for those who do not see it.
        source: see `address`.
    """
    kind = "coarse" if max(image.size) < _COARSE else "fine"
    return f'<img class="{kind}" src="{address(image, source)}" alt="{text}">'


def tiles_html(tiles: Sequence[Tile]) -> str:
    """Pictures on their way as HTML."""
    parts = []
    for tile in tiles:
        inner = _img(tile.image, "preview", tile.source) if tile.image else "<i></i>"
        parts.append(
            f'<figure>{inner}<progress value="{tile.share:.3f}"></progress>'
            f"<figcaption>{html.escape(tile.text)}</figcaption></figure>"
        )
    return f'<div class="tiles" data-count="{len(parts)}">{"".join(parts)}</div>'


def shown_html(desk: Desk, with_picture: bool) -> str:
    """The chosen picture and what it is, as HTML."""
    if desk.shown is None:
        return '<div class="empty">Nothing is drawn here yet.</div>'
    picture = desk.shown.picture
    p, image = picture.parameters, picture.image
    edit = p["edit"] or {}
    words = f"{edit['from']} → {edit['to']}" if edit.get("kind") == "interpolate" else p["prompt"]
    prompt = html.escape(words or "no prompt")
    more = f"{image.width} &times; {image.height}, seed <b>{p['seed']}</b>"
    more += f", picture {p['index'] + 1}" if p["index"] else ""
    figure = ""
    if with_picture and desk.frames:
        figure = f'<img src="{moving(desk.frames)}" alt="frames">'
    elif with_picture:
        figure = _img(image, prompt, provenance.source_of(p))
    if figure and desk.shown.blurred:
        figure = (
            '<div class="unfit"><input type="checkbox" id="unfit-show"><label for="unfit-show">'
            f"This picture may be unfit for work: score {desk.shown.unfit:.2f} of 1, by OpenNSFW. "
            f"<b>Show it</b></label>{figure}</div>"
        )
    return f'<figure class="one">{figure}<figcaption>{prompt}<br>{more}</figcaption></figure>'


def figure_html(image: Image.Image, parameters: dict[str, Any], caption: str) -> str:
    """A picture that is on no strip, as HTML.

    Args:
        image: it.
        parameters: those that it was drawn with.
        caption: a text.
    """
    prompt = html.escape(parameters["prompt"] or "no prompt")
    inner = _img(image, prompt, provenance.source_of(parameters))
    return f'<figure class="one">{inner}<figcaption>{html.escape(caption)}</figcaption></figure>'


def moving(frames: Sequence[Image.Image]) -> str:
    """Frames as the `data:` address of a GIF."""
    data = base64.b64encode(canvas.gif(list(frames))).decode()
    return f"data:image/gif;base64,{data}"
