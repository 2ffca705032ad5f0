"""Named feature extractors: what turns pictures into the vectors that metrics compare."""

from glide_jax.evaluation.features.extractor import Features, Outputs, collect, extract
from glide_jax.evaluation.features.known import NAMES, open_features

__all__ = ["NAMES", "Features", "Outputs", "collect", "extract", "open_features"]
