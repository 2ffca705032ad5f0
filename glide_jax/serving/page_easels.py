"""The tabs of the page on which a picture is painted on: Repaint and Edit."""

from collections.abc import AsyncIterator
from typing import Any

import gradio as gr
from PIL import Image

from glide_jax import checks
from glide_jax.errors import InputError
from glide_jax.serving.page_desks import Desk
from glide_jax.serving.page_masks import PAINT, SIDE, Easel, inverted, read_picture
from glide_jax.serving.page_parts import Fields, Panel, Shop, Updates, drop, on, refused

_SENT = 64
_SIDES = ("Left", "Top", "Right", "Bottom")
_COLOURS: Any = ["#d92b2b", "#f2c230", "#2f9e44", "#2b6fd9", "#8a3fd1", "#111111", "#ffffff"]


class _Recent(dict[str, Any]):
    """The strokes that browsers have sent, until a drawing asks for them; the oldest go."""

    def __setitem__(self, name: str, value: Any) -> None:
        super().__setitem__(name, value)
        while len(self) > _SENT:
            del self[next(iter(self))]


def _editor(tab: str, brush: gr.Brush) -> gr.ImageEditor:
    """An editor that shows a picture and takes nothing but strokes."""
    editor = gr.ImageEditor(
        type="pil", format="png", sources=(), transforms=(), layers=False, brush=brush,
        eraser=gr.Eraser(default_size=30), canvas_size=(SIDE, SIDE), height=520, visible=False,
        buttons=[], elem_id=f"{tab}-editor", elem_classes="easel", image_mode="RGBA",
    )  # fmt: skip
    editor.blob_storage = _Recent()
    return editor


class _EaselTab:
    """A tab with a picture on an easel. A subclass makes its parts.

    Args:
        shop: draws, and keeps the pictures.
    """

    tab: str  # the word before the names of its elements
    label: str  # the editor's
    source: gr.File
    editor: gr.ImageEditor
    panel: Panel

    def __init__(self, shop: Shop):
        self.shop = shop

    def put(self, request: gr.Request, picture: Image.Image) -> Updates:
        """Makes a picture the one that is worked on."""
        desk = self._desk(request)
        desk.clear()
        desk.easel, desk.before = Easel(picture), picture
        width, height = desk.easel.size
        label = f"{self.label}, {width} x {height}"
        return {
            self.source: None,
            self.editor: gr.update(value=desk.easel.value(), visible=True, label=label),
            **self.panel.shown(desk),
        }

    def _desk(self, request: gr.Request) -> Desk:
        return self.shop.desk(request, self.tab)

    def _open(self, path: str, request: gr.Request) -> Updates:
        """Puts an uploaded picture on the tab; a wrong one leaves what is there."""
        try:
            updates = self.put(request, read_picture(path, self.shop.maker.limits.pixels))
        except InputError as error:
            refused(error)
            return {self.source: None}
        return {**updates, self.source: gr.skip()}

    def _accept(self, request: gr.Request) -> Updates:
        shown = self._desk(request).shown
        return {} if shown is None else self.put(request, shown.picture.image)


class RepaintTab(_EaselTab):
    """A picture whose painted part is drawn anew."""

    tab, label = "repaint", "Mask"

    def __init__(self, shop: Shop):
        super().__init__(shop)
        with gr.Row(elem_classes="halves"):
            with gr.Column(scale=6):
                gr.Markdown(
                    "Drop a picture and brush over what is to change. "
                    "All the rest stays, byte for byte."
                )
                self.source = drop("Picture", "repaint-file")
                colour = "#{:02x}{:02x}{:02x}".format(*PAINT)
                brush = gr.Brush(default_size=40, colors=[colour], color_mode="fixed")
                self.editor = _editor("repaint", brush)
                with gr.Row(elem_classes="actions", visible=False) as self.tools:
                    clear = gr.Button("Clear", elem_id="repaint-clear", min_width=80, size="sm")
                    invert = gr.Button("Invert", elem_id="repaint-invert", min_width=80, size="sm")
                    upload = gr.UploadButton(
                        "Upload a mask", file_types=["image"], elem_id="repaint-mask", size="sm",
                        min_width=120,
                    )  # fmt: skip
            with gr.Column(scale=5):
                self.fields = Fields(shop.maker, "repaint", "What is to be there")
                with gr.Row(elem_classes="pair"):
                    soft = gr.Slider(0, 64, 0, step=1, label="Soft edge", elem_id="repaint-soft")
                    strength = gr.Slider(
                        0.05, 1, 1, step=0.05, label="Strength", elem_id="repaint-strength"
                    )
                with gr.Accordion("Extend the canvas", open=False, elem_id="repaint-extend"):
                    sides = gr.CheckboxGroup(list(_SIDES), label="At", elem_id="repaint-sides")
                    pixels = gr.Slider(
                        8, 256, 32, step=8, label="By pixels", elem_id="repaint-pixels"
                    )
                self.panel = Panel(shop, "repaint", "Accept and go on", compares=True)
        painted = self.painted = [self.source, self.editor, self.tools, *self.panel.outputs]
        on(self.source.upload, self._open, self.source, painted)
        on(self.source.clear, self._close, None, painted)
        on(clear.click, self._clear, None, self.editor)
        on(invert.click, self._invert, self.editor, self.editor)
        on(upload.upload, self._upload, upload, self.editor)
        on(self.panel.accept.click, self._accept, None, painted)
        on(
            self.panel.draw.click, self._draw,
            [self.editor, soft, strength, sides, pixels, *self.fields.inputs], self.panel.outputs,
        )  # fmt: skip

    def put(self, request: gr.Request, picture: Image.Image) -> Updates:
        """Makes a picture the one that is repainted."""
        return {**super().put(request, picture), self.tools: gr.update(visible=True)}

    def _easel(self, request: gr.Request) -> Easel:
        easel = self._desk(request).easel
        if easel is None:
            raise InputError("there is no picture yet; drop one first.")
        return easel

    def _close(self, request: gr.Request) -> Updates:
        desk = self._desk(request)
        desk.clear()
        desk.easel = desk.before = None
        return {
            self.editor: gr.update(value=None, visible=False),
            self.tools: gr.update(visible=False),
            **self.panel.shown(desk),
        }

    def _clear(self, request: gr.Request) -> Any:
        easel = self._desk(request).easel
        return gr.skip() if easel is None else easel.value()

    def _invert(self, value: Any, request: gr.Request) -> Any:
        try:
            easel = self._easel(request)
            return easel.value(inverted(easel.mask(value)))
        except InputError as error:
            return refused(error) or gr.skip()

    def _upload(self, path: str, request: gr.Request) -> Any:
        try:
            easel = self._easel(request)
            return easel.value(easel.read(read_picture(path, self.shop.maker.limits.pixels)))
        except InputError as error:
            return refused(error) or gr.skip()

    async def _draw(
        self, request: gr.Request, value: Any, soft: float, strength: float, *rest: Any
    ) -> AsyncIterator[Updates]:
        sides, pixels, *values = rest

        def make() -> Any:
            easel = self._easel(request)
            number = checks.whole("extend", pixels, 0, 1024)
            left, top, right, bottom = (number if side in sides else 0 for side in _SIDES)
            return self.shop.maker.repaint(
                {**self.fields.values(values), "strength": strength},
                easel.picture, easel.mask(value), soft=checks.whole("soft edge", soft, 0, 64),
                extend=(left, top, right, bottom),
            )  # fmt: skip

        async for updates in self.panel.run(self._desk(request), make):
            yield updates


class EditTab(_EaselTab):
    """A picture, or a sketch, that is drawn over."""

    tab, label = "edit", "Sketch"

    def __init__(self, shop: Shop):
        super().__init__(shop)
        with gr.Row(elem_classes="halves"):
            with gr.Column(scale=6):
                gr.Markdown(
                    "Sketch in colours, on white or on a picture that you drop. A small strength "
                    "keeps your colours and places, a large one follows the words."
                )
                self.source = drop("Picture (may stay empty)", "edit-file")
                brush = gr.Brush(default_size=40, colors=_COLOURS, default_color=_COLOURS[0])
                self.editor = _editor("edit", brush)
            with gr.Column(scale=5):
                self.fields = Fields(shop.maker, "edit", "What it shows")
                strength = gr.Slider(
                    0.05, 1, 0.6, step=0.05, label="Strength", elem_id="edit-strength"
                )
                only = gr.Checkbox(label="Change only where I painted", elem_id="edit-only")
                self.panel = Panel(shop, "edit", "Accept and go on", compares=True)
        painted = self.painted = [self.source, self.editor, *self.panel.outputs]
        on(self.source.upload, self._open, self.source, painted)
        on(self.source.clear, self._blank, None, painted)
        on(self.panel.accept.click, self._accept, None, painted)
        on(
            self.panel.draw.click, self._draw,
            [self.editor, strength, only, *self.fields.inputs], self.panel.outputs,
        )  # fmt: skip

    @property
    def white(self) -> Image.Image:
        """The sheet to sketch on without a picture."""
        side = list(self.shop.maker.glide.sizes.values())[-1]
        return Image.new("RGB", (side, side), "white")

    def _blank(self, request: gr.Request) -> Updates:
        return self.put(request, self.white)

    async def _draw(
        self, request: gr.Request, value: Any, strength: float, only: bool, *values: Any
    ) -> AsyncIterator[Updates]:
        desk = self._desk(request)

        def make() -> Any:
            desk.easel = easel = desk.easel or Easel(self.white)
            sketch, fields = easel.sketch(value), self.fields.values(values)
            desk.before, fields["strength"] = sketch, strength
            if only:
                return self.shop.maker.repaint(fields, sketch, easel.mask(value))
            return self.shop.maker.edit(fields, sketch)

        async for updates in self.panel.run(desk, make):
            yield updates
