"""Contact sheets hold every picture and its caption."""

import numpy as np
import pytest
from PIL import Image

from glide_jax import contact_sheets

GRADIENT = np.arange(256, dtype=np.uint8).reshape(16, 16)
RGB = Image.fromarray(np.stack([GRADIENT, GRADIENT[::-1], GRADIENT.T], -1))


@pytest.mark.parametrize("count", [1, 2, 5, 9, 10])
def test_a_contact_sheet_has_room_for_all(count):
    sheet = contact_sheets.contact_sheet([RGB] * count, ["a caption 日本 " * 20] * count, side=32)
    columns = -(-(count**0.5) // 1)
    assert sheet.width == columns * 40 + 8
    assert len(set(sheet.convert("L").tobytes())) > 50
