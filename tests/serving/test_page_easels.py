"""The editors of the page."""

import pytest


@pytest.mark.slow
def test_strokes_that_nobody_asks_for_do_not_fill_the_memory():
    import gradio as gr

    from glide_jax.serving import page_easels

    editor = page_easels._editor("repaint", gr.Brush())
    for k in range(1000):
        editor.blob_storage[str(k)] = k
    assert [*editor.blob_storage.values()] == [*range(936, 1000)]
    assert editor.blob_storage.pop("999") == 999
