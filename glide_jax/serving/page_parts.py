"""Parts that several tabs of the page have: fields, buttons, and the strip of pictures."""

import asyncio
import contextlib
import dataclasses
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import gradio as gr
from PIL import Image

from glide_jax import colours, images, provenance
from glide_jax.errors import InputError
from glide_jax.serving import page_desks
from glide_jax.serving.engine import Engine
from glide_jax.serving.page_desks import Desk, Desks
from glide_jax.serving.page_masks import FILES
from glide_jax.serving.page_wishes import PRESET_NAMES, Maker
from glide_jax.serving.protocol import ApiError

Updates = dict[Any, Any]
_LARGEST_LOOK = 1600  # pixels a side of what the slider is given


@dataclasses.dataclass(frozen=True)
class Shop:
    """The things that all tabs work with."""

    engine: Engine
    maker: Maker
    desks: Desks
    live: tuple[Engine, Maker] | None = None  # draw while a prompt is typed

    def desk(self, request: gr.Request, tab: str) -> Desk:
        """The visitor's desk of a tab."""
        return self.desks.of(request.session_hash or "", tab)


QUIET: dict[str, Any] = dict(api_visibility="private", show_progress="hidden")


def on(trigger: Any, function: Callable, inputs: Any = None, outputs: Any = None, **more: Any):
    """Adds a listener that no program can call by a name.

    Args:
        trigger: such as `button.click`.
        function: the listener.
        inputs: components whose values it takes.
        outputs: components that it updates.
        **more: for Gradio.
    """
    return trigger(function, inputs, outputs, **{**QUIET, **more})


def drop(label: str, name: str, **more: Any) -> gr.File:
    """A place to drop a picture, which stays as it is sent."""
    return gr.File(
        label=label, file_types=list(FILES), type="filepath", height=110, elem_id=name,
        elem_classes="drop", **more,
    )  # fmt: skip


class Fields:
    """The fields of a drawing.

    Args:
        maker: knows the limits.
        tab: a word before the names of elements.
        prompt: the label of the prompt.
        many: whether several pictures can be asked for.
        base: whether the base draws, whose options are shown then.
        beneath: components to show beneath the prompt, not rendered yet.
    """

    def __init__(
        self,
        maker: Maker,
        tab: str,
        prompt: str = "Prompt",
        *,
        many: bool = True,
        base: bool = True,
        beneath: Sequence[Any] = (),
    ):
        self.prompt = gr.Textbox(
            label=prompt, lines=2, max_lines=6, elem_id=f"{tab}-prompt",
            placeholder="a large red circle on a white background",
        )  # fmt: skip
        for component in beneath:
            component.render()
        with gr.Row(elem_classes="pair"):
            self.n = gr.Slider(
                1, maker.limits.n, 1, step=1, label="Pictures", visible=many, elem_id=f"{tab}-n"
            )
            self.seed = gr.Textbox(label="Seed", placeholder="random", elem_id=f"{tab}-seed")
        with gr.Accordion("More options", open=False, elem_id=f"{tab}-more"):
            self.negative = gr.Textbox(
                label="Negative prompt", placeholder="what to keep away from", visible=base,
                elem_id=f"{tab}-negative",
            )  # fmt: skip
            self.preset = gr.Dropdown(list(PRESET_NAMES), label="Preset", elem_id=f"{tab}-preset")
            with gr.Row(elem_classes="pair", visible=base):
                self.steps = gr.Textbox(
                    label="Steps", placeholder="the preset's", elem_id=f"{tab}-steps"
                )
                self.guidance = gr.Textbox(
                    label="Guidance", placeholder="the model's", elem_id=f"{tab}-guidance"
                )

    @property
    def inputs(self) -> list[Any]:
        """Its components, in the order of `values`."""
        return [
            self.prompt, self.n, self.seed, self.negative, self.preset, self.steps, self.guidance
        ]  # fmt: skip

    @staticmethod
    def values(values: Any) -> dict[str, Any]:
        """Their values by the names that `Maker.draw` reads."""
        names = (
            "prompt", "n", "seed", "negative_prompt", "preset", "steps", "guidance_scale"
        )  # fmt: skip
        return dict(zip(names, values, strict=True))


class Panel:
    """The pictures of a tab: how they come, the strip of those that are there, its buttons.

    Args:
        shop: draws, and keeps them.
        tab: the tab.
        accept: what the button does that goes on with a picture.
        compares: whether the picture is compared with another.
    """

    def __init__(self, shop: Shop, tab: str, accept: str, *, compares: bool = False):
        self.shop, self.tab, self.compares = shop, tab, compares
        with gr.Row(elem_classes="actions"):
            self.draw = gr.Button(
                "Draw", variant="primary", elem_id=f"{tab}-draw", elem_classes="draws", min_width=90
            )
            self.stop = gr.Button(
                "Stop", interactive=False, elem_id=f"{tab}-stop", elem_classes="stops", min_width=90
            )  # fmt: skip
        self.slider = gr.ImageSlider(
            label="Before and after", format="png", type="pil", interactive=False, visible=False,
            max_height=560, buttons=["fullscreen"], elem_id=f"{tab}-slider", elem_classes="compare",
        )  # fmt: skip
        self.view = gr.HTML(page_desks.shown_html(Desk(), False), elem_id=f"{tab}-view")
        self.strip = gr.Gallery(
            label="Drawn", show_label=False, columns=6, height="auto", object_fit="cover",
            allow_preview=False, fit_columns=False, format="png", buttons=[], visible=False,
            elem_id=f"{tab}-strip", elem_classes="strip",
        )  # fmt: skip
        with gr.Row(visible=False, elem_classes="actions") as self.choices:
            self.accept = gr.Button(accept, elem_id=f"{tab}-accept", min_width=90, size="sm")
            self.discard = gr.Button("Discard", elem_id=f"{tab}-discard", min_width=90, size="sm")
            self.download = gr.DownloadButton(
                "Download PNG", elem_id=f"{tab}-download", min_width=90, size="sm"
            )
        on(self.stop.click, self._stop, queue=False)
        on(self.discard.click, self._discard, None, self.outputs)
        on(self.strip.select, self._choose, None, self.outputs)

    @property
    def outputs(self) -> list[Any]:
        """The components that `shown` and `run` update."""
        return [
            self.draw, self.stop, self.view, self.slider, self.strip, self.choices, self.download
        ]  # fmt: skip

    def shown(self, desk: Desk, note: str = "") -> Updates:
        """The panel at rest."""
        staged, pair = desk.shown, None
        before = desk.before if self.compares else None
        if staged is not None and before is not None and not staged.blurred:
            after = _look(staged.picture.image)
            parameters, pixels = staged.picture.parameters, images.pixels_hash(after)
            source = provenance.source_of(parameters)
            after.info[provenance.XMP] = provenance.packet(source, parameters, pixels)
            pair = (_look(before).resize(after.size, Image.Resampling.BICUBIC), after)
        return {
            self.draw: gr.update(interactive=True),
            self.stop: gr.update(interactive=False),
            self.view: page_desks.shown_html(desk, pair is None) + note,
            self.slider: gr.update(value=pair, visible=pair is not None),
            self.strip: gr.update(
                value=[str(s.look) for s in desk.staged], visible=bool(desk.staged),
                selected_index=desk.chosen if desk.staged else None,
            ),
            self.choices: gr.update(visible=staged is not None),
            self.download: gr.update(value=None if staged is None else str(staged.file)),
        }  # fmt: skip

    async def run(
        self, desk: Desk, make: Callable[[], Any], note: Callable[[Desk], str] = lambda desk: ""
    ) -> AsyncIterator[Updates]:
        """Draws a wish on a desk.

        Args:
            desk: the visitor's.
            make: makes the wish; what it raises becomes a sentence on the page.
            note: HTML about the finished picture.
        """
        desk.stopped, shop, text = False, self.shop, ""
        old = len(desk.staged)
        try:
            wish, warned = await asyncio.to_thread(page_desks.made, make)
            for line in dict.fromkeys((*wish.notes, *warned)):
                gr.Info(page_desks.sentence(InputError(line)))
            desk.frames = ()
            stage = lambda picture: shop.desks.stage(desk, picture)
            coming: Any = page_desks.drawn(shop.engine, shop.maker.limits, wish, desk, stage)
            async with contextlib.aclosing(coming) as drawing:
                async for tiles in drawing:
                    yield {
                        self.draw: gr.update(interactive=False),
                        self.stop: gr.update(interactive=True),
                        self.view: page_desks.tiles_html(tiles),
                        self.slider: gr.update(visible=False),
                    }
            if isinstance(wish.prompt, tuple) and not desk.stopped:
                desk.frames = [staged.picture.image for staged in desk.staged[old:]]
            text = "" if desk.stopped else note(desk)
        except (InputError, ApiError) as error:
            gr.Warning(page_desks.sentence(error), title="That cannot be drawn")
        except Exception:  # a fault of ours; the page must not stay as if it went on
            logging.getLogger(__name__).exception("a drawing of the page failed")
            gr.Warning("Something went wrong; the server's log has the reason.")
        yield self.shown(desk, '<p class="note">Stopped.</p>' if desk.stopped else text)

    def _stop(self, request: gr.Request) -> None:
        self.shop.desk(request, self.tab).stopped = True

    def _discard(self, request: gr.Request) -> Updates:
        desk = self.shop.desk(request, self.tab)
        desk.discard()
        return self.shown(desk)

    def _choose(self, event: gr.SelectData, request: gr.Request) -> Updates:
        desk = self.shop.desk(request, self.tab)
        desk.chosen = min(int(event.index), max(0, len(desk.staged) - 1))
        desk.frames = ()
        return self.shown(desk)


def _look(image: Image.Image) -> Image.Image:
    """A copy of a picture to look at."""
    look = colours.own(image).upright.copy()
    look.thumbnail((_LARGEST_LOOK, _LARGEST_LOOK))
    return look


def refused(error: Exception, title: str = "That does not work") -> None:
    """Shows an error of ours as a sentence on the page."""
    gr.Warning(page_desks.sentence(error), title=title)
