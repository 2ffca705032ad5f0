"""`glide-jax inpaint`: known pixels stay, whatever the size of the picture."""

import numpy as np
import pytest
from PIL import Image

FEW = ("--steps", "2", "--upsample-steps", "2")


@pytest.fixture
def pair(tmp_path):
    """Paths of a picture of 32 pixels and of a mask whose right half is to be painted."""
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    mask = np.zeros((32, 32), np.uint8)
    mask[:, 16:] = 255
    Image.fromarray(pixels).save(tmp_path / "a.png")
    Image.fromarray(mask).save(tmp_path / "b.png")
    return tmp_path / "a.png", tmp_path / "b.png"


@pytest.mark.parametrize("model", ["tiny_model", "tiny_full"])
def test_what_is_black_in_the_mask_stays(cli, pair, tmp_path, model, request):
    image, mask = pair
    directory, out = request.getfixturevalue(model), tmp_path / "out"
    argv = (image, "red", "--mask", mask, "--model", directory, "--out", out, "--n", 2)
    result = cli("inpaint", *argv, *FEW)
    assert result.code == 0, result.err
    original = np.asarray(Image.open(image))
    first, second = (np.asarray(Image.open(path)) for path in sorted(out.glob("00000-red-*")))
    for drawn in (first, second):
        np.testing.assert_array_equal(drawn[:, :16], original[:, :16])
    assert (first[:, 16:] != original[:, 16:]).mean() > 0.5
    assert (first[:, 16:] != second[:, 16:]).mean() > 0.5


def test_the_base_alone_inpaints(cli, pair, tmp_path, tiny_full):
    out = tmp_path / "out"
    result = cli("inpaint", pair[0], "red", "--mask", pair[1], "--model", tiny_full, "--out", out,
                 "--steps", 2, "--no-upsample")  # fmt: skip
    assert result.code == 0, result.err
    [path] = out.iterdir()
    assert Image.open(path).size == (32, 32)
