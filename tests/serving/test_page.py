"""The page in a real browser: Debian's Chromium, driven by Playwright."""

import contextlib
import io
import itertools
import shutil
import time
import urllib.error
import urllib.parse
import urllib.request

import numpy as np
import pytest
from PIL import Image

from glide_jax import images
from glide_jax.sampling.glide import load
from glide_jax.serving.protocol import Limits
from tests.sampling.test_distilled import save as save_distilled
from tests.serving.conftest import running

WAIT = 90_000  # milliseconds, for machines that are busy
# A container has no sandbox for it and no graphics card for the editor's WebGL.
FLAGS = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
BRUSH = 40  # radius in pixels of what the editor shows
PROMPT = "a large red circle on a white background"
TABS = ("draw", "repaint", "edit", "enlarge", "between", "again")


@pytest.fixture(scope="module")
def served(glide_full):
    """The address and the engine of a server with the page."""
    with running(glide_full, limits=Limits(steps=1000), page=True) as server:
        yield server


@pytest.fixture(scope="module")
def address(served):
    return served[0]


@pytest.fixture(scope="module")
def engine(served):
    return served[1]


@pytest.fixture(scope="module")  # while it is open, this thread has an event loop
def browser():
    from playwright.sync_api import sync_playwright

    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        pytest.fail(
            "there is no chromium, which the tests of the page drive: apt-get install chromium "
            "(Debian), or any package that brings a command of that name."
        )
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def opened(browser, address):
    """Opens the page; no request of it may leave the machine, and none may fail.

    It has few pixels, which a processor paints sooner.
    """
    contexts, wrong = [], []

    def look(response):
        host = urllib.parse.urlsplit(response.url).hostname
        if response.url.startswith("http") and (host != "127.0.0.1" or response.status >= 400):
            wrong.append((response.status, response.url))

    def ask(request):
        if urllib.parse.urlsplit(request.url).hostname not in ("127.0.0.1", None):
            wrong.append(request.url)

    def open_page(width=1280, height=900, **more):
        size = {"width": width, "height": height}
        context = browser.new_context(viewport=size, **{"device_scale_factor": 0.5, **more})
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(WAIT)
        page.on("request", ask)
        page.on("response", look)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.goto(address)
        page.wait_for_selector("#draw-draw")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not wrong


def go_to(page, tab):
    """Opens a tab, which is in a menu where there is little room."""
    title = {"between": "Between two prompts"}.get(tab, tab.title())
    if not page.get_by_role("tab", name=title, exact=True).is_visible():
        page.locator("#tabs .overflow-menu button").first.click()
        page.locator("#tabs .overflow-dropdown button", has_text=title).click()
    else:
        page.get_by_role("tab", name=title, exact=True).click()
    page.wait_for_selector(f"#{tab}-draw")


def fill(page, name, text):
    page.locator(f"#{name} textarea, #{name} input[type=text]").first.fill(text)


def options(page, tab, **values):
    """Fills in what is under More options."""
    page.locator(f"#{tab}-more button").first.click()
    for name, text in values.items():
        fill(page, f"{tab}-{name}", text)


def noise(tmp_path, size=(48, 32), name="noise.png", seed=0):
    """A file of a picture in which every change shows."""
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / name)
    return tmp_path / name, pixels


def drop(page, name, path):
    page.set_input_files(f"#{name} input[type=file]", path)


@contextlib.contextmanager
def laying(page, tab):
    """Waits until the editor shows a picture that it is given in the block."""
    with page.expect_response(lambda response: "/gradio_api/file=" in response.url):
        yield
    page.wait_for_selector(f"#{tab}-editor canvas")
    page.wait_for_function(
        "id => /\\d+%/.test(document.querySelector(`#${id}-editor`).innerText)", arg=tab
    )
    page.wait_for_timeout(800)  # the editor fades it in


def put(page, tab, path):
    """Drops a picture to paint on and waits until the editor shows it."""
    with laying(page, tab):
        drop(page, f"{tab}-file", path)


class Canvas:
    """The editor's picture on the screen, in pixels of the picture."""

    def __init__(self, page, tab, size):
        self.page, self.size = page, size
        box = page.locator(f"#{tab}-editor canvas").first.bounding_box()
        text = page.locator(f"#{tab}-editor").inner_text()
        zoom = int(text.split("%")[0].split()[-1]) / 100
        self.scale = zoom * (512 // max(size))
        self.left = box["x"] + box["width"] / 2 - size[0] * self.scale / 2
        self.top = box["y"] + box["height"] / 2 - size[1] * self.scale / 2

    def stroke(self, *points):
        """Moves the pressed mouse from point to point; gives what may have been painted."""
        mouse = self.page.mouse
        places = [(self.left + x * self.scale, self.top + y * self.scale) for x, y in points]
        mouse.move(*places[0])
        mouse.down()
        for place in places[1:]:
            mouse.move(*place, steps=3)
        mouse.up()
        self.page.wait_for_timeout(400)
        rows, columns = np.mgrid[: self.size[1], : self.size[0]] + 0.5
        near = np.zeros((self.size[1], self.size[0]), bool)
        radius = BRUSH / (512 // max(self.size))
        for (x0, y0), (x1, y1) in itertools.pairwise(points):
            along = (columns - x0) * (x1 - x0) + (rows - y0) * (y1 - y0)
            along = np.clip(along / max(1e-9, (x1 - x0) ** 2 + (y1 - y0) ** 2), 0, 1)
            away = np.hypot(columns - x0 - along * (x1 - x0), rows - y0 - along * (y1 - y0))
            near |= away < radius + 1.5
        return near


def draw(page, tab):
    """Presses Draw and gives the picture that comes, as its PNG is downloaded."""
    before = page.locator(f"#{tab}-strip img").count()
    page.click(f"#{tab}-draw")
    page.wait_for_function(
        "([id, n]) => document.querySelectorAll(`#${id}-strip img`).length > n"
        " && !document.querySelector(`#${id}-view .tiles`)", arg=[tab, before], timeout=WAIT,
    )  # fmt: skip
    return downloaded(page, tab)


def downloaded(page, tab):
    with page.expect_download() as waiting:
        page.click(f"#{tab}-download")
    with open(waiting.value.path(), "rb") as file:
        image = Image.open(io.BytesIO(file.read()))
    image.load()
    return image


def until(done, seconds=20):
    """Waits for something that comes soon."""
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end
        time.sleep(0.05)


def draw_for_long(page):
    options(page, "draw", steps="1000")
    page.locator("#draw-n input[type=number]").fill("10")
    page.click("#draw-draw")
    page.wait_for_selector("#draw-view .tiles")


def toast(page):
    """The sentence that the page shows."""
    return page.locator(".toast-body").first.inner_text()


def test_a_picture_is_drawn_and_carries_its_parameters(opened, glide_full):
    page = opened()
    fill(page, "draw-prompt", PROMPT)
    fill(page, "draw-seed", "7")
    options(page, "draw", negative="blue", steps="5", guidance="2")
    fill(page, "draw-prompt", PROMPT)
    page.keyboard.press("Control+Enter")
    page.wait_for_selector("#draw-view .one img")
    assert "seed 7" in page.inner_text("#draw-view")
    drawn = downloaded(page, "draw")
    [wanted] = glide_full(
        PROMPT, seed=7, steps=5, guidance_scale=2, negative_prompt="blue", batch_size=1
    )
    assert np.array_equal(np.asarray(drawn), wanted.array)
    assert images.drawn_alike(images.parameters_of(drawn), wanted.parameters)
    page.click("#draw-discard")
    page.wait_for_selector("#draw-view .empty")


def test_escape_stops_a_picture(opened, engine):
    page = opened()
    draw_for_long(page)
    page.wait_for_selector("#draw-stop:not([disabled])")
    page.keyboard.press("Escape")
    page.get_by_text("Stopped.").wait_for()
    page.wait_for_selector("#draw-draw:not([disabled])")
    until(lambda: engine.load == (0, 0))


def test_a_page_that_is_closed_frees_its_slot(opened, engine):
    page = opened()
    draw_for_long(page)
    page.context.close()
    until(lambda: engine.load == (0, 0))


@pytest.mark.slow
def test_an_open_page_does_not_keep_a_server_that_ends(browser, glide_full):
    with running(glide_full, page=True) as (address, _):
        page = browser.new_page()
        page.goto(address, timeout=WAIT)
        page.wait_for_selector("#draw-draw", timeout=WAIT)
        began = time.monotonic()
    assert time.monotonic() - began < 20
    page.close()


@pytest.mark.slow
def test_a_picture_of_a_high_score_is_blurred_until_a_person_asks(browser, glide_full):
    limits = Limits(scorer=lambda image: 0.75)
    with running(glide_full, limits=limits, page=True) as (address, _):
        page = browser.new_page()
        page.goto(address, timeout=WAIT)
        page.wait_for_selector("#draw-draw", timeout=WAIT)
        fill(page, "draw-prompt", "a red circle")
        page.click("#draw-draw")
        image = page.locator("#draw-view .unfit img")
        image.wait_for(timeout=WAIT)
        blur = lambda: image.evaluate("image => getComputedStyle(image).filter")
        assert blur() == "blur(32px)"
        assert "score 0.75 of 1, by OpenNSFW" in page.inner_text("#draw-view")
        page.click("#draw-view .unfit label")
        assert blur() == "none"
        page.close()


@pytest.mark.slow
def test_a_refused_prompt_is_a_sentence_on_the_page(browser, glide_full):
    with running(glide_full, page=True) as (address, _):
        page = browser.new_page()
        page.goto(address, timeout=WAIT)
        page.wait_for_selector("#draw-draw", timeout=WAIT)
        fill(page, "draw-prompt", "a nude woman")
        page.click("#draw-draw")
        page.get_by_text("The prompt filter finds in 'a nude woman': sexual (nude).").wait_for()
        page.wait_for_selector("#draw-draw:not([disabled])")
        page.close()


@pytest.mark.slow
def test_the_key_is_entered_in_the_form_once(browser, glide_full):
    with running(glide_full, page=True, api_key="a key") as (address, _):
        context = browser.new_context()
        page = context.new_page()
        assert page.goto(address, timeout=WAIT).status == 401
        page.fill("input[name=key]", "another")
        page.click("button")
        page.wait_for_selector(".wrong", timeout=WAIT)
        page.fill("input[name=key]", "a key")
        page.click("button")
        page.wait_for_selector("#draw-draw", timeout=WAIT)
        again = context.new_page()
        assert again.goto(address, timeout=WAIT).status == 200
        context.close()


@pytest.mark.slow  # two edits in a browser
def test_only_the_brushed_part_changes_and_an_accepted_picture_goes_on(opened, tmp_path):
    page, (path, source) = opened(), noise(tmp_path)
    go_to(page, "repaint")
    put(page, "repaint", path)
    near = Canvas(page, "repaint", (48, 32)).stroke((10, 8), (18, 8), (18, 14))
    first = np.asarray(draw(page, "repaint"))
    assert first.shape == source.shape
    assert np.array_equal(first[~near], source[~near])
    assert (first != source).any(-1).sum() > 60
    assert page.locator("#repaint-slider img").count() >= 2

    with laying(page, "repaint"):
        page.click("#repaint-accept")
    page.wait_for_selector("#repaint-view .empty")
    near = Canvas(page, "repaint", (48, 32)).stroke((34, 20), (40, 24))
    second = draw(page, "repaint")
    pixels = np.asarray(second)
    assert np.array_equal(pixels[~near], first[~near])
    assert (pixels != first).any(-1).sum() > 30
    assert images.parameters_of(second)["edit"]["kind"] == "inpaint"
    assert "path" not in images.parameters_of(second)["edit"]["image"]


@pytest.mark.slow
def test_a_stroke_is_undone(opened, tmp_path):
    page, (path, _) = opened(), noise(tmp_path)
    go_to(page, "repaint")
    put(page, "repaint", path)
    Canvas(page, "repaint", (48, 32)).stroke((10, 8), (30, 8))
    page.click("#repaint-editor button[aria-label=Undo]")
    page.wait_for_timeout(400)
    page.click("#repaint-draw")
    assert "Nothing is painted" in toast(page)


@pytest.mark.slow
def test_a_mask_is_uploaded_and_inverted(opened, tmp_path):
    page, (path, source) = opened(), noise(tmp_path)
    mask = np.zeros((32, 48), np.uint8)
    mask[4:20, 6:30] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    go_to(page, "repaint")
    put(page, "repaint", path)
    with laying(page, "repaint"):
        page.set_input_files("[data-testid='Upload a mask-upload-button']", tmp_path / "mask.png")
    drawn = np.asarray(draw(page, "repaint"))
    assert np.array_equal(drawn[mask == 0], source[mask == 0])
    assert (drawn != source).any(-1)[mask > 0].mean() > 0.9
    with laying(page, "repaint"):
        page.click("#repaint-invert")
    drawn = np.asarray(draw(page, "repaint"))
    assert np.array_equal(drawn[mask > 0], source[mask > 0])
    assert (drawn != source).any(-1)[mask == 0].mean() > 0.9
    page.click("#repaint-clear")
    page.wait_for_timeout(1000)
    page.click("#repaint-draw")
    assert "Nothing is painted" in toast(page)


@pytest.mark.slow
def test_a_dropped_png_fills_everything_in_and_draws_the_same(opened, tmp_path, glide_full):
    [picture] = glide_full(PROMPT, seed=11, steps=6, guidance_scale=2.5, batch_size=1)
    images.write_png(tmp_path / "ours.png", picture.image, picture.parameters)
    page = opened()
    go_to(page, "again")
    drop(page, "again-file", tmp_path / "ours.png")
    page.wait_for_selector("#again-table table", state="attached")
    values = {
        name: page.locator(f"#again-{name} textarea, #again-{name} input").first.input_value()
        for name in ("prompt", "seed")
    }
    assert values == {"prompt": PROMPT, "seed": "11"}
    page.click("#again-draw")
    page.get_by_text("pixel for pixel").wait_for()

    path, _ = noise(tmp_path)
    [edited] = glide_full.edit(path, PROMPT, seed=3, steps=6, batch_size=1)
    images.write_png(tmp_path / "edited.png", edited.image, edited.parameters)
    page.click("#again-file button[aria-label=Clear]")
    drop(page, "again-file", tmp_path / "edited.png")
    page.wait_for_selector("#again-inputs")
    page.click("#again-draw")
    assert "give it" in toast(page)
    drop(page, "again-picture", path)
    page.wait_for_timeout(1000)
    page.click("#again-draw")
    page.wait_for_function("document.querySelectorAll('#again-strip img').length == 2")
    page.get_by_text("pixel for pixel").wait_for()


@pytest.mark.slow
def test_the_canvas_is_extended_with_a_soft_edge(opened, tmp_path):
    page, (path, source) = opened(), noise(tmp_path)
    go_to(page, "repaint")
    put(page, "repaint", path)
    page.locator("#repaint-extend button").first.click()
    page.get_by_label("Right").check()
    page.locator("#repaint-soft input[type=number]").fill("4")
    drawn = np.asarray(draw(page, "repaint"))
    assert drawn.shape == (32, 80, 3)
    assert np.array_equal(drawn[:, :48], source)


@pytest.mark.slow
def test_a_sketch_is_drawn_over(opened):
    page = opened()
    with laying(page, "edit"):
        go_to(page, "edit")
    near = Canvas(page, "edit", (32, 32)).stroke((8, 8), (24, 8))
    drawn = draw(page, "edit")
    record = images.parameters_of(drawn)["edit"]
    assert record["kind"] == "edit"
    assert record["strength"] == 0.6
    blank = Image.new("RGB", (32, 32), "white")
    assert record["image"]["sha256"] != images.pixels_hash(blank)
    page.get_by_label("Change only where I painted").check()
    part = np.asarray(draw(page, "edit"))
    assert (part[~near] == 255).all()
    assert (part[near] != 255).any()


@pytest.mark.slow
def test_frames_between_prompts_and_a_larger_picture(opened, tmp_path):
    page, (path, _) = opened(), noise(tmp_path, (20, 12))
    go_to(page, "between")
    fill(page, "between-prompt", PROMPT)
    fill(page, "between-last", "two blue stars")
    page.locator("#between-frames input[type=number]").fill("3")
    assert images.parameters_of(draw(page, "between"))["edit"]["to"] == "two blue stars"
    assert page.locator("#between-strip img").count() == 3
    go_to(page, "enlarge")
    drop(page, "enlarge-file", path)
    page.wait_for_timeout(800)
    assert draw(page, "enlarge").size == (40, 24)


def test_wrong_input_gets_one_sentence(opened):
    page = opened()
    page.locator("#draw-more button").first.click()
    for name, value, sentence in (
        ("seed", "minus one", "Seed is 'minus one'"),
        ("steps", "1e9", "Steps is '1e9'"),
        ("guidance", "<img src=x onerror=alert(1)>", "Guidance_scale is '<img"),
    ):
        fill(page, f"draw-{name}", value)
        page.click("#draw-draw")
        text = toast(page)
        assert sentence in text
        assert "Traceback" not in text
        page.locator(".toast-close").first.click()
        page.locator(".toast-body").wait_for(state="detached")
        fill(page, f"draw-{name}", "")


def test_every_tab_fits_a_phone(opened):
    page = opened(390, 844, has_touch=True, is_mobile=True)
    for tab in TABS:
        go_to(page, tab)
        if tab == "draw":
            page.locator("#draw-n input[type=number]").fill("3")
            draw(page, "draw")
        width = page.evaluate("document.scrollingElement.scrollWidth")
        assert width <= 390, tab


def test_the_api_stays_beside_the_page(address):
    with urllib.request.urlopen(f"{address}/health") as answer:
        assert b'"ok"' in answer.read()
    with urllib.request.urlopen(f"{address}/v1/models") as answer:
        assert b'"full"' in answer.read()
    with urllib.request.urlopen(f"{address}/openapi.json") as answer:
        assert b'"/v1/models"' in answer.read()


@pytest.mark.parametrize(("method", "status"), [("GET", 405), ("POST", 404)])
def test_the_api_answers_in_its_own_words_for_what_it_has_not(address, method, status):
    path = "/v1/images/edits" if status == 405 else "/v1/nothing"
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(urllib.request.Request(f"{address}{path}", method=method))
    assert caught.value.code == status
    assert b'"type":"invalid_request_error"' in caught.value.read()


def test_the_page_refuses_what_it_never_sends(address):
    body, kind = b'{"data": [], "fn_index": 9999, "session_hash": "x"}', "application/json"
    request = urllib.request.Request(
        f"{address}/gradio_api/queue/join", body, {"Content-Type": kind}
    )
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request)
    assert caught.value.code == 400
    assert b"the page makes no such request." in caught.value.read()


def test_a_picture_follows_what_is_typed_by_a_model_of_its_own(
    browser, glide_full, tmp_path, cache
):
    few = load(save_distilled(tmp_path / "few"), cache=cache)
    with running(glide_full, page=True, live=few) as (url, engine):
        context = browser.new_context(viewport={"width": 1280, "height": 900})
        try:
            page = context.new_page()
            page.set_default_timeout(WAIT)
            page.goto(url)
            assert "comes here" in page.inner_text("#draw-live")
            field = page.locator("#draw-prompt textarea")
            field.press_sequentially("a red circle", delay=20)
            shown = page.wait_for_selector("#draw-live img[alt='a red circle']")
            first = shown.get_attribute("src")
            assert "while you type, by few" in page.inner_text("#draw-live")
            field.fill("")
            page.wait_for_selector("#draw-live .empty")
            field.fill("a red circle")  # the same noise, so the same picture
            shown = page.wait_for_selector("#draw-live img[alt='a red circle']")
            assert shown.get_attribute("src") == first
            fill(page, "draw-seed", "no number")
            field.fill("a red circle and more")
            page.wait_for_selector("#draw-live .note")
            assert "Seed is 'no number'" in page.inner_text("#draw-live .note")
            assert engine.pictures == 0
        finally:
            context.close()
