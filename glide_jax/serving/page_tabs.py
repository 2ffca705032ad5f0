"""The tabs of the page on which pictures are drawn: from words, between words, larger, again."""

import html
from collections.abc import AsyncIterator, Mapping
from typing import Any

import gradio as gr
import numpy as np

from glide_jax.errors import InputError
from glide_jax.serving import page_live, page_wishes
from glide_jax.serving.page_desks import Desk
from glide_jax.serving.page_masks import read_picture
from glide_jax.serving.page_parts import Fields, Panel, Shop, Updates, drop, on, refused


def draw_tab(shop: Shop) -> Panel:
    """Pictures of a prompt."""
    with gr.Row(elem_classes="halves"):
        with gr.Column():
            gr.Markdown("Say what the picture shows, and press **Draw** or Ctrl+Enter.")
            fields = Fields(shop.maker, "draw")
            page_live.live_view(shop, fields.prompt, fields.seed)
        with gr.Column():
            panel = Panel(shop, "draw", "Accept and repaint")

    async def draw(request: gr.Request, *values: Any) -> AsyncIterator[Updates]:
        desk = shop.desk(request, "draw")
        make = lambda: shop.maker.draw(fields.values(values))
        async for updates in panel.run(desk, make):
            yield updates

    on(panel.draw.click, draw, fields.inputs, panel.outputs)
    return panel


def between_tab(shop: Shop) -> Panel:
    """Pictures on the way from a prompt to another."""
    with gr.Row(elem_classes="halves"):
        with gr.Column():
            gr.Markdown("Two prompts, and the pictures on the way from the first to the second.")
            last = gr.Textbox(
                label="Second prompt", lines=2, elem_id="between-last", render=False,
                placeholder="a large blue star on a black background",
            )  # fmt: skip
            frames = gr.Slider(
                2, page_wishes.FRAMES, 8, step=1, label="Pictures on the way",
                elem_id="between-frames", render=False,
            )  # fmt: skip
            beneath = (last, frames)
            fields = Fields(shop.maker, "between", "First prompt", many=False, beneath=beneath)
        with gr.Column():
            panel = Panel(shop, "between", "Accept and repaint")

    async def draw(
        request: gr.Request, last: str, frames: float, *values: Any
    ) -> AsyncIterator[Updates]:
        desk = shop.desk(request, "between")
        make = lambda: shop.maker.between(fields.values(values), last, frames)
        async for updates in panel.run(desk, make):
            yield updates

    on(panel.draw.click, draw, [last, frames, *fields.inputs], panel.outputs)
    return panel


def enlarge_tab(shop: Shop) -> Panel:
    """A picture, larger."""
    times = shop.maker.glide.sizes["upsample"] // shop.maker.glide.sizes["base"]
    with gr.Row(elem_classes="halves"):
        with gr.Column():
            gr.Markdown(f"Drop a small picture; the model draws it {times} times as large.")
            source = drop("Picture", "enlarge-file")
            fields = Fields(
                shop.maker, "enlarge", "What it shows (may stay empty)", many=False, base=False
            )
        with gr.Column():
            panel = Panel(shop, "enlarge", "Accept and repaint", compares=True)

    async def draw(request: gr.Request, path: str | None, *values: Any) -> AsyncIterator[Updates]:
        desk = shop.desk(request, "enlarge")

        def make() -> Any:
            if path is None:
                raise InputError("there is no picture yet; drop one first.")
            picture = read_picture(path, shop.maker.limits.pixels)
            desk.before = picture
            return shop.maker.enlarge(fields.values(values), picture)

        async for updates in panel.run(desk, make):
            yield updates

    on(panel.draw.click, draw, [source, *fields.inputs], panel.outputs)
    return panel


class AgainTab:
    """A picture that was drawn here or by the command line, from the parameters in its PNG."""

    def __init__(self, shop: Shop):
        self.shop = shop
        with gr.Row(elem_classes="halves"):
            with gr.Column():
                gr.Markdown(
                    "Drop a PNG that this program drew: its prompt, seed and options come back. "
                    "Unchanged, they draw the same picture."
                )
                source = drop("PNG", "again-file")
                with gr.Group(visible=False, elem_id="again-inputs") as self.went_in:
                    gr.Markdown("It was made from another picture; drop that here.")
                    picture = drop("Picture that went in", "again-picture")
                    self.mask = drop("Its mask", "again-mask")
                self.fields = Fields(shop.maker, "again", many=False)
                self.table = gr.HTML(elem_id="again-table")
            with gr.Column():
                self.panel = Panel(shop, "again", "Accept and repaint", compares=True)
        of = self.fields
        self._filled = {
            "prompt": of.prompt, "negative_prompt": of.negative, "seed": of.seed,
            "steps": of.steps, "guidance_scale": of.guidance,
        }  # fmt: skip
        filled = [*self._filled.values(), self.table, self.went_in, self.mask]
        on(source.change, self._fill, source, filled)
        on(
            self.panel.draw.click, self._draw, [picture, self.mask, *of.inputs],
            self.panel.outputs,
        )  # fmt: skip

    def _fill(self, request: gr.Request, path: str | None) -> Updates:
        desk = self.shop.desk(request, "again")
        desk.parameters = desk.before = None
        if path is None:
            return {self.table: "", self.went_in: gr.update(visible=False)}
        try:
            dropped = read_picture(path, self.shop.maker.limits.pixels)
            parameters = page_wishes.parameters_in(dropped)
        except InputError as error:
            refused(error)
            return {self.table: ""}
        desk.parameters, desk.before = parameters, dropped
        record = parameters.get("edit")
        record = record if isinstance(record, Mapping) else {}
        values = page_wishes.fields_of(parameters)
        return {
            **{field: values[name] for name, field in self._filled.items()},
            self.table: _table(parameters),
            self.went_in: gr.update(visible="image" in record),
            self.mask: gr.update(visible="mask" in record),
        }

    async def _draw(
        self, request: gr.Request, image: str | None, plane: str | None, *values: Any
    ) -> AsyncIterator[Updates]:
        desk, maker = self.shop.desk(request, "again"), self.shop.maker
        changes = self.fields.values(values)

        def make() -> Any:
            if desk.parameters is None:
                raise InputError("there is no picture yet; drop a PNG first.")
            read = lambda path: None if path is None else read_picture(path, maker.limits.pixels)
            parameters = page_wishes.changed(desk.parameters, changes)
            return maker.again(parameters, read(image), read(plane))

        async for updates in self.panel.run(desk, make, _likeness):
            yield updates


def _table(parameters: Mapping[str, Any]) -> str:
    """Parameters as HTML, those of stages in rows of their own."""
    rows = []

    def add(prefix: str, values: Mapping[str, Any]) -> None:
        for name, value in values.items():
            if isinstance(value, Mapping):
                add(f"{prefix}{name} ", value)
            elif value not in (None, "", []) and name != "path":
                shown = str(value)
                shown = shown if len(shown) < 120 else shown[:117] + "..."
                rows.append(
                    f"<tr><th>{html.escape(str(prefix + name).replace('_', ' '))}</th>"
                    f"<td>{html.escape(shown)}</td></tr>"
                )

    add("", {name: v for name, v in parameters.items() if name != "model_path"})
    return (
        "<details class='facts'><summary>All that the picture carries</summary>"
        f"<table>{''.join(rows)}</table></details>"
    )


def _likeness(desk: Desk) -> str:
    """How near a picture that was drawn again is to the dropped one."""
    if desk.shown is None or desk.before is None:
        return ""
    old, new = desk.before.convert("RGB"), desk.shown.picture.image.convert("RGB")
    if not desk.shown.picture.parameters.items() >= _kept(desk.parameters or {}).items():
        return ""
    if old.size != new.size:
        return '<p class="note">It has another size than the dropped picture.</p>'
    most = int(np.abs(np.asarray(old, int) - np.asarray(new, int)).max())
    if not most:
        return '<p class="note good">The same as the dropped picture, pixel for pixel.</p>'
    return f'<p class="note">It differs from the dropped picture by up to {most} of 255.</p>'


def _kept(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The part of parameters by which two pictures are alike."""
    names = ("model", "prompt", "negative_prompt", "seed", "index", "base", "upsample")
    return {name: parameters[name] for name in names if name in parameters}
