r"""Draws the picture of README: a picture out of noise, and one of each form of caption.

The file carries the parameters of the four pictures.

    python -m launch.studies.readme_picture docs/images/drawn.png --seed 0
"""

import argparse
import pathlib

import numpy as np
from PIL import Image

import glide_jax
from glide_jax import contact_sheets, images
from glide_jax.sampling.picture import Picture

PROMPTS = (
    "a large red circle on a white background",
    "three green stars on a black background",
    "a blue square and a pink heart on a gray background",
    "a yellow ring above a purple cross on a white background",
)
SHARES = (0.0, 0.3, 0.5, 0.65, 0.8, 0.9, 1.0)  # of the base's steps, when x_t is looked at
GAP, SIDE, WIDE = 8, 100, 764


def main() -> None:
    """Draws, and writes the picture with the parameters of the four."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    glide = glide_jax.load("shapes")
    seen: list[np.ndarray] = []
    drawn: list[Picture] = []
    for item in glide.begin(PROMPTS, seed=given.seed, batch_size=len(PROMPTS)):
        if isinstance(item, Picture):
            drawn.append(item)
            continue
        chain = item.chain
        for share in SHARES if item.stage == "base" else ():
            chain.advance(round(share * chain.total) - chain.done)
            seen.append(images.to_uint8(np.asarray(chain.x_t[-1])))
        chain.finish()
    side = (WIDE - 5 * GAP) // 4
    sheet = contact_sheets.contact_sheet([p.image for p in drawn], PROMPTS, side=side, columns=4)
    whole = Image.new("RGB", (sheet.width, sheet.height + SIDE + GAP), "white")
    for k, pixels in enumerate(seen):
        tile = Image.fromarray(pixels).resize((SIDE, SIDE), Image.Resampling.NEAREST)
        whole.paste(tile, (GAP + k * (sheet.width - 2 * GAP - SIDE) // (len(seen) - 1), GAP))
    whole.paste(sheet, (0, SIDE + GAP))
    images.write_png(given.out, whole, {"pictures": [p.parameters for p in drawn]})


if __name__ == "__main__":
    main()
