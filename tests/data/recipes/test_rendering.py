import base64
import io

import numpy as np
import pytest
from PIL import Image

from glide_jax.data.example import Rejected
from glide_jax.data.recipes import rendering

LINK = "http://www.w3.org/1999/xlink"
HEAD = f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:x="{LINK}" viewBox="0 0 9 9">'
ENTITY = '<!DOCTYPE svg [<!ENTITY f "secret.png">]>'
SQUARE = '<rect width="9" height="9" fill="red"/>'


def drawing(body):
    return f"{HEAD}{body}</svg>"


def uses(count):
    chain = "".join(f'<g id="a{k}"><use href="#a{k - 1}"/></g>' for k in range(1, count))
    return drawing(f'<g id="a0">{SQUARE}</g>{chain}<use href="#a{count - 1}"/>')


def masks(count):
    chain = "".join(f'<mask id="m{k}"><g mask="url(#m{k - 1})"/></mask>' for k in range(1, count))
    return drawing(f'<mask id="m0">{SQUARE}</mask>{chain}<g mask="url(#m{count - 1})">{SQUARE}</g>')


def test_a_reduced_picture_is_the_means_of_its_areas_and_a_small_one_stays():
    image = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    means = image.reshape(4, 2, 4, 2, 3).mean((1, 3))
    assert np.abs(rendering.reduce(image, 4) - means).max() <= 1
    assert rendering.reduce(image, 8) is image


@pytest.mark.parametrize(
    ("svg", "words"),
    [
        (drawing("<g>" * 50_000 + "</g>" * 50_000), "nested over 100 deep"),
        (drawing("<g>" * 150 + SQUARE + "</g>" * 150), "nested over 100 deep"),
        (uses(20_000), "nested over 100 deep"),
        (uses(120), "nested over 100 deep"),
        (masks(120), "nested over 100 deep"),
        (drawing('<g id="a"><use href="#a"/></g>'), "or in itself"),
        (drawing('<image href="/etc/hostname"/>'), "takes in '/etc/hostname'"),
        (drawing('<image x:href="file:///etc/hostname"/>'), "takes in 'file:///etc/hostname'"),
        (drawing('<image href="secret.png"/>'), "takes in 'secret.png'"),
        (drawing('<filter id="f"><feImage href="secret.png"/></filter>'), "takes in 'secret.png'"),
        (drawing('<use href="other.svg#part"/>'), "takes in 'other.svg#part'"),
        (ENTITY + drawing('<image href="&f;"/>'), "takes in 'secret.png'"),
        (drawing('<image href="data:image/svg+xml;base64,PHN2Zy8+"/>'), "takes in 'data:image/svg"),
        (drawing('<image href="data:;base64,PHN2Zy8+"/>'), "takes in 'data:;base64"),
        ("<svg", "unclosed"),
        ("", "no element"),
    ],
)
def test_a_drawing_that_would_end_the_process_or_take_in_a_file_is_refused(svg, words):
    with pytest.raises(Rejected, match=words) as caught:
        rendering.icon(svg, "x.svg")
    assert caught.value.reason == "not drawable"


def test_what_drawings_do_is_drawn_as_before():
    red = [255, 0, 0]
    for body in (
        "<g>" * 90 + SQUARE + "</g>" * 90,
        '<a href="http://example.org/">' + SQUARE + "</a>",
        '<defs><linearGradient id="b"><stop stop-color="red"/></linearGradient>'
        '<linearGradient id="c" x:href="#b"/></defs><rect width="9" height="9" fill="url(#c)"/>',
        f'<defs><g id="s">{SQUARE}</g></defs><use x:href="#s"/>',
    ):
        assert rendering.icon(drawing(body), "x").reshape(-1, 3)[0].tolist() == red
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4), "red").save(buffer, "PNG")
    data = base64.b64encode(buffer.getvalue()).decode()
    inner = drawing(f'<image width="9" height="9" x:href="data:image/png;base64,{data}"/>')
    assert rendering.icon(inner, "x")[128, 128].tolist() == red
