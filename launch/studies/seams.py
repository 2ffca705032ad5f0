"""Whether a picture shows where part of it was painted."""

import numpy as np
from jaxtyping import Bool, Num

_LEVEL = 1.0  # out of 255; added to both sides, so that two flat pictures compare as equal


def seam(image: Num[np.ndarray, "h w c"], painted: Bool[np.ndarray, "h w"]) -> float:
    """Mean jump between neighbouring pixels across the border, by that of neighbours inside.

    1 is a border that shows no more than anything else in what was painted; a visible seam is
    above it.

    Args:
        image: the result, 0 to 255.
        painted: True where it was painted; both kinds of pixels must be there.
    """
    pixels, across, inside = np.asarray(image, np.float64), [], []
    for axis in (0, 1):
        a, b = (np.take(painted, range(s, painted.shape[axis] + s - 1), axis) for s in (0, 1))
        jump = np.abs(np.diff(pixels, axis=axis)).mean(axis=-1)
        across.append(jump[a != b])
        inside.append(jump[a & b])
    mean = lambda parts: float(np.concatenate(parts).mean())
    return (mean(across) + _LEVEL) / (mean(inside) + _LEVEL)
