"""An invisible mark is read after what programs do to pictures, and nowhere else."""

import io

import numpy as np
import pytest
from PIL import Image

from glide_jax import images, provenance, watermark
from glide_jax.data.readers import shapes
from glide_jax.safety import verifying

TAG = watermark.tag("shapes")


def scene(k: int = 0, side: int = 64) -> Image.Image:
    """A picture of flat colours, mostly before white or black, where a mark has no room."""
    return Image.fromarray(shapes.render(shapes.sample_scene(np.random.default_rng((9, k))), side))


def again(image: Image.Image, kind: str, **how) -> Image.Image:
    """A picture as another program saves it."""
    image.save(buffer := io.BytesIO(), kind, **how)
    with Image.open(buffer) as saved:
        return saved.convert("RGB")


CHANGES = {
    "none": lambda image: image,
    "a JPEG": lambda image: again(image, "JPEG", quality=75),
    "a WebP": lambda image: again(image, "WEBP", quality=90),
    "half": lambda image: image.resize((image.width // 2, image.height // 2)),
    "twice": lambda image: image.resize((image.width * 2, image.height * 2)),
    "an odd size": lambda image: image.resize((101, 77), Image.Resampling.BILINEAR),
    "darker": lambda image: Image.eval(image, lambda level: max(level - 6, 0)),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("side", [64, 256])
def test_a_mark_is_read_after_a_change(change, side):
    got = [watermark.read(CHANGES[change](watermark.marked(scene(k, side), TAG))) for k in range(8)]
    assert got.count(TAG) >= 7  # at 64 pixels one of a hundred may be lost, and none misread
    assert set(got) <= {TAG, None}


def test_pictures_without_a_mark_have_none():
    rng = np.random.default_rng(1)
    noise = [Image.fromarray(rng.integers(0, 256, (64, 64, 3), np.uint8)) for _ in range(100)]
    flat = [Image.new("RGB", (64, 64), (level, level, level)) for level in (0, 1, 127, 254, 255)]
    scenes = [scene(k) for k in range(100)]
    assert [watermark.read(image) for image in noise + flat + scenes] == [None] * 205


def test_a_mark_changes_little():
    for side, least in ((64, 40), (256, 40)):
        for k in range(8):
            image = scene(k, side)
            error = np.float64(watermark.marked(image, TAG)) - np.float64(image)
            assert 10 * np.log10(255**2 / np.mean(error**2)) > least


def test_every_tag_comes_back():
    rng = np.random.default_rng(2)
    photo = Image.fromarray(rng.integers(60, 200, (8, 8, 3), np.uint8)).resize((64, 64))
    for number in (0, 1, 12345, (1 << watermark.TAG_BITS) - 1):
        assert watermark.read(watermark.marked(photo, number)) == number


def test_a_second_mark_of_the_same_tag_changes_nothing():
    once = watermark.marked(scene(), TAG)
    np.testing.assert_array_equal(watermark.marked(once, TAG), once)


def test_marks_of_earlier_versions_are_read():
    """A mark made by hand from the definition: whoever changes it loses all that were written."""
    word = 0x2B67A_5D3_EB06C839
    bits = [word >> i & 1 for i in reversed(range(64))]
    frequencies = sorted(
        ((v, h) for v in range(20) for h in range(20) if v * v + h * h >= 4.5**2),
        key=lambda pair: (pair[0] ** 2 + pair[1] ** 2, pair),
    )[:64]
    x = (np.arange(64) + 0.5) * np.pi / 64
    plane = np.full((64, 64), 128.0)
    for (v, h), bit in zip(frequencies, bits, strict=True):
        wave = np.outer(np.cos(v * x), np.cos(h * x))
        wave /= np.sqrt(np.sum(wave**2))
        plane += (13 / 4 if bit else -13 / 4) * wave * 64 / 16
    marked = Image.fromarray(np.round(np.dstack([plane] * 3)).astype(np.uint8))
    assert watermark.read(marked) == 0x2B67A


def test_what_is_transparent_stays_so_and_records_are_kept():
    image = scene().convert("RGBA")
    image.putalpha(Image.new("L", image.size, 255))
    image.paste((0, 0, 0, 0), (0, 0, 64, 12))
    image.info["Comment"] = "kept"
    marked = watermark.marked(image, TAG)
    assert (marked.mode, marked.info["Comment"]) == ("RGBA", "kept")
    np.testing.assert_array_equal(marked.getchannel("A"), image.getchannel("A"))
    assert watermark.read(marked) == TAG
    assert watermark.read(images.flat(marked, "RGB", "white")) == TAG


def test_a_picture_that_is_too_small_is_written_as_it_is_and_warned_of():
    image = scene(0, 16)
    with pytest.warns(UserWarning, match="16 x 16 pixels is too small"):
        assert watermark.marked(image, TAG) is image
    assert watermark.read(image.resize((8, 8))) is None


@pytest.fixture
def marking():
    provenance.mark_pixels(True)
    yield
    provenance.mark_pixels(False)


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp"])
def test_files_have_a_mark_where_it_is_wanted(marking, tmp_path, kind):
    path, image, drawn = tmp_path / f"a.{kind}", scene(3, 256), {"model": "shapes", "edit": None}
    if kind == "png":
        images.write_png(path, image, drawn)
    else:
        path.write_bytes(images.lossy(image, kind, 75, provenance.TRAINED, drawn))
    verdict = verifying.verify(path)
    assert (verdict.ours, verdict.altered, verdict.watermark) == (True, False, TAG)
    assert f"with the invisible mark {TAG:05x} (model shapes)" in verdict.words
    again(images.read(path), "PNG").save(tmp_path / "bare.png")
    bare = verifying.verify(tmp_path / "bare.png")
    assert (bare.ours, bare.altered, bare.watermark) == (True, None, TAG)
    assert "by the invisible mark" in bare.words
    assert "without its records" in bare.words


def test_pictures_that_nobody_drew_get_no_mark(marking, tmp_path):
    images.write_png(tmp_path / "a.png", scene(), {}, source=provenance.NOT_DRAWN)
    np.testing.assert_array_equal(images.read(tmp_path / "a.png"), scene())
