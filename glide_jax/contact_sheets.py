"""Contact sheets: pictures in a grid, each over its caption."""

import math
from collections.abc import Sequence

from PIL import Image, ImageDraw


def contact_sheet(
    images: Sequence[Image.Image],
    captions: Sequence[str],
    *,
    side: int = 192,
    columns: int | None = None,
) -> Image.Image:
    """Draws pictures in a grid, each over its caption.

    Args:
        images: The pictures, which are scaled to squares.
        captions: One text for each picture; two lines of it are shown.
        side: Pixels of a square's side.
        columns: Pictures in a row; by default the grid is about square.
    """
    columns = columns or math.ceil(math.sqrt(len(images)))
    rows = math.ceil(len(images) / columns)
    gap, text = 8, 28
    sheet = Image.new(
        "RGB", (columns * (side + gap) + gap, rows * (side + gap + text) + gap), "white"
    )
    draw = ImageDraw.Draw(sheet)
    for k, (image, caption) in enumerate(zip(images, captions, strict=True)):
        x, y = gap + k % columns * (side + gap), gap + k // columns * (side + gap + text)
        # Pixels of a small picture stay visible as what they are.
        sampling = Image.Resampling.NEAREST if image.width < side else Image.Resampling.LANCZOS
        sheet.paste(image.resize((side, side), sampling), (x, y))
        for line, part in enumerate(_wrap(caption, side // 6)):
            draw.text((x, y + side + 1 + 13 * line), part, fill="black")
    return sheet


def _wrap(caption: str, width: int) -> list[str]:
    # Pillow's own font has Latin letters only; others would be drawn as boxes or fail.
    words = caption.encode("latin-1", "replace").decode("latin-1").split()
    lines = [""]
    for word in words:
        if len(lines[-1]) + len(word) >= width and lines[-1]:
            lines.append("")
        lines[-1] += f"{word} "
    if len(lines) > 2:
        lines[1] = lines[1][: width - 3].rstrip() + "..."
    return [line[:width] for line in lines[:2]]
