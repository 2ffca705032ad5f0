"""Named feature extractors: what turns pictures into the vectors that metrics compare."""

from glide_jax.evaluation.features.catalogue import NAMES, open_features
from glide_jax.evaluation.features.extractor import Features, Outputs, collect, extract

__all__ = ["NAMES", "Features", "Outputs", "collect", "extract", "open_features"]
