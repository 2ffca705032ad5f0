"""The page: a model in a browser, on the same application and the same engine as the API.

It works without any other host: fonts are the system's, scripts and styles come from here, and the
browser is forbidden to ask anywhere else.
"""

import functools
import os
import pathlib
import tempfile
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response

from glide_jax import extras
from glide_jax.serving.engine import Engine
from glide_jax.serving.protocol import ApiError, Limits

_HERE = pathlib.Path(__file__).parent
_FONTS = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "Noto Sans", "sans-serif")
_MONO = ("ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace")
_KEPT_SECONDS = 6 * 3600  # files of uploads and pictures, on disk


def made(app: FastAPI, engine: Engine, limits: Limits, live: Engine | None = None) -> Any:
    """The page's own application, which lives as long as the one that it belongs to.

    It is no route of the other, since at the root it would answer for what the API has not.

    Args:
        app: the application that it belongs to.
        engine: draws.
        limits: those that hold for a request.
        live: draws while a prompt is typed, if there is one.

    Raises:
        InputError: Gradio is not installed.
    """
    # Before Gradio is imported: it must not call home, and its files must be nobody else's.
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["GRADIO_TEMP_DIR"] = _folder().name
    gr = extras.extra("gradio")
    old = len(app.routes)
    gr.mount_gradio_app(
        app,
        _blocks(engine, limits, live),
        "/",
        footer_links=[],
        run_history=False,
        show_error=False,
        max_file_size=limits.body,
        ssr_mode=False,
        pwa=False,
        mcp_server=False,
        theme=_theme(),
        css=(_HERE / "page.css").read_text(encoding="utf-8"),
        js=(_HERE / "page.js").read_text(encoding="utf-8"),
    )
    [mounted] = app.routes[old:]
    app.routes.remove(mounted)
    page: Any = mounted.app  # type: ignore[attr-defined]
    page.add_exception_handler(Exception, _refuse)
    app.state.close_pages = lambda: page.stop_event.set()
    return page


def _refuse(_: Request, error: Exception) -> Response:
    """The answer where Gradio fails: what its own page sends does not come to that."""
    wrong = error if isinstance(error, ApiError) else ApiError("the page makes no such request.")
    return JSONResponse(wrong.body, wrong.status, wrong.headers)


@functools.cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    """Gradio's files, which go with the process; all of its applications read one variable."""
    return tempfile.TemporaryDirectory(prefix="glide_jax-page-")


def _theme() -> Any:
    gr = extras.extra("gradio")
    return gr.themes.Default(
        primary_hue="blue", neutral_hue="slate", font=_FONTS, font_mono=_MONO,
        radius_size="md", spacing_size="md",
    )  # fmt: skip


def _blocks(engine: Engine, limits: Limits, live: Engine | None) -> Any:
    """The page's layout and listeners."""
    import gradio as gr

    from glide_jax.serving import page_tabs
    from glide_jax.serving.page_desks import Desks
    from glide_jax.serving.page_easels import EditTab, RepaintTab
    from glide_jax.serving.page_parts import Panel, Shop
    from glide_jax.serving.page_wishes import Maker

    by_live = None if live is None else (live, Maker(live.glide, limits))
    shop = Shop(engine, Maker(engine.glide, limits), Desks(limits.scorer), by_live)
    name, sizes = engine.glide.loaded.name, engine.glide.sizes
    side = list(sizes.values())[-1]
    with gr.Blocks(
        title=f"glide_jax: {name}", analytics_enabled=False,
        delete_cache=(600, _KEPT_SECONDS), fill_width=False,
    ) as blocks:  # fmt: skip
        gr.HTML(
            f"<header><h1>glide_jax</h1><p>Model <b>{name}</b>, {side} &times; {side} pixels. "
            "<span class='keys'><kbd>Ctrl</kbd> <kbd>Enter</kbd> draws, <kbd>Esc</kbd> stops."
            "</span></p></header>"
        )
        with gr.Tabs(elem_id="tabs") as tabs:
            panels: list[Panel] = []
            with gr.Tab("Draw", id="draw", elem_id="tab-draw"):
                panels.append(page_tabs.draw_tab(shop))
            with gr.Tab("Repaint", id="repaint", elem_id="tab-repaint"):
                repaint = RepaintTab(shop)
            with gr.Tab("Edit", id="edit", elem_id="tab-edit") as edit_tab:
                edit = EditTab(shop)
            if shop.maker.enlarges:
                with gr.Tab("Enlarge", id="enlarge", elem_id="tab-enlarge"):
                    panels.append(page_tabs.enlarge_tab(shop))
            with gr.Tab("Between two prompts", id="between", elem_id="tab-between"):
                panels.append(page_tabs.between_tab(shop))
            with gr.Tab("Again", id="again", elem_id="tab-again"):
                panels.append(page_tabs.AgainTab(shop).panel)
        for panel in panels:
            _accepts(shop, panel, tabs, repaint)
        _sketches(shop, edit, edit_tab)
        _leaves(shop, blocks)
    blocks.queue(default_concurrency_limit=None, api_open=False, max_size=256)
    return blocks


def _accepts(shop: Any, panel: Any, tabs: Any, repaint: Any) -> None:
    """Makes a panel's accepted picture the next one that is repainted."""
    import gradio as gr

    from glide_jax.serving.page_parts import on

    def accept(request: gr.Request) -> dict[Any, Any]:
        shown = shop.desk(request, panel.tab).shown
        if shown is None:
            return {}
        return {tabs: gr.update(selected="repaint"), **repaint.put(request, shown.picture.image)}

    outputs = [tabs, *repaint.painted]
    on(panel.accept.click, accept, None, outputs)


def _sketches(shop: Any, edit: Any, tab: Any) -> None:
    """Lays a white sheet where there is no picture to edit."""
    import gradio as gr

    from glide_jax.serving.page_parts import on

    def sketch(request: gr.Request) -> dict[Any, Any]:
        if shop.desk(request, "edit").easel is not None:
            return {edit.editor: gr.skip()}
        return edit.put(request, edit.white)

    on(tab.select, sketch, None, edit.painted)


def _leaves(shop: Any, blocks: Any) -> None:
    """Forgets a visitor whose page is closed."""
    import gradio as gr

    def leave(request: gr.Request) -> None:
        shop.desks.leave(request.session_hash or "")

    blocks.unload(leave)
