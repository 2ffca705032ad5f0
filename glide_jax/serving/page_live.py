"""The picture that follows a prompt while it is typed, drawn by a model of a few steps."""

import asyncio
import contextlib
import logging
from typing import Any

import gradio as gr

from glide_jax.errors import InputError
from glide_jax.safety.output_filter import FLAGGED
from glide_jax.sampling.picture import Picture
from glide_jax.serving import page_desks
from glide_jax.serving.engine import Engine
from glide_jax.serving.page_desks import Desk
from glide_jax.serving.page_parts import Shop, on
from glide_jax.serving.page_wishes import Maker
from glide_jax.serving.protocol import ApiError

SEED = "0"  # the same noise for every word: a picture then changes by its prompt alone
_PAUSE = 0.12  # seconds without another key before a picture is begun
_EMPTY = '<div class="empty">A picture of what you type comes here.</div>'


def live_view(shop: Shop, prompt: gr.Textbox, seed: gr.Textbox) -> None:
    """Adds the picture to a tab, if the server has a model for it.

    Args:
        shop: draws.
        prompt: the field that is followed.
        seed: the field of the seed; where it is empty, `SEED`.
    """
    live = shop.live
    if live is None:
        return
    view = gr.HTML(_EMPTY, elem_id="draw-live")
    typed = gr.Number(visible=False)  # when, by the browser's clock

    async def follow(request: gr.Request, text: str, seed: str, typed: float) -> Any:
        turn = _Turn(shop.desk(request, "live"), typed)
        await asyncio.sleep(_PAUSE)
        shown = None
        if not turn.stopped:
            fields = {"prompt": text, "seed": seed.strip() or SEED}
            shown = await _picture(live, turn, fields) if text.strip() else _EMPTY
        return gr.skip() if shown is None or turn.stopped else shown

    on(
        prompt.change, follow, [prompt, seed, typed], view, trigger_mode="multiple",
        js="(text, seed) => [text, seed, performance.now()]",
    )  # fmt: skip


class _Turn:
    """One state of a field: its drawing ends when there is a later one, or the page is closed.

    Requests of quick keys arrive in any order, so the browser says when each was typed.
    """

    def __init__(self, desk: Desk, typed: float):
        desk.typed = max(desk.typed, typed)
        self._desk, self._typed = desk, typed

    @property
    def stopped(self) -> bool:
        return self._desk.stopped or self._desk.typed != self._typed


async def _picture(live: tuple[Engine, Maker], turn: _Turn, fields: dict[str, Any]) -> str | None:
    """The picture as HTML, or a sentence that says why there is none; None if it was stopped."""
    (engine, maker), found = live, list[Picture]()
    try:
        wish, _ = await asyncio.to_thread(page_desks.made, lambda: maker.draw(fields))
        coming: Any = page_desks.drawn(engine, maker.limits, wish, turn, found.append)
        async with contextlib.aclosing(coming) as drawing:
            async for _ in drawing:
                pass
        if not found:
            return None
        [picture] = found
        image, scorer = picture.image, maker.limits.scorer
        if scorer is not None and await asyncio.to_thread(scorer, image) >= FLAGGED:
            image = page_desks.blurred(image)
    except (InputError, ApiError) as error:
        return f'<p class="note">{page_desks.sentence(error)}</p>'
    except Exception:  # a fault of ours; the field goes on to be typed in
        logging.getLogger(__name__).exception("a live picture failed")
        return '<p class="note">Something went wrong; the server\'s log has the reason.</p>'
    name = engine.glide.loaded.name
    return page_desks.figure_html(image, picture.parameters, f"while you type, by {name}")
