"""Numbers about sets of pictures, from features that an extractor has made; float64, on the host.

What conventions are whose is said in docs/evaluation.md.
"""

from glide_jax.evaluation.metrics.alignment import clip_score, own_caption_first, retrieval
from glide_jax.evaluation.metrics.fidelity import inception_score, kernel_distance
from glide_jax.evaluation.metrics.frechet import (
    Moments,
    frechet_distance,
    merge,
    moments,
    read_moments,
    write_moments,
)
from glide_jax.evaluation.metrics.intervals import binomial_interval, difference_interval
from glide_jax.evaluation.metrics.manifold import nearest, precision_recall

__all__ = [
    "Moments",
    "binomial_interval",
    "clip_score",
    "difference_interval",
    "frechet_distance",
    "inception_score",
    "kernel_distance",
    "merge",
    "moments",
    "nearest",
    "own_caption_first",
    "precision_recall",
    "read_moments",
    "retrieval",
    "write_moments",
]
