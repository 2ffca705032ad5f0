"""Distances between two sets of pictures, under names that say which network measured them."""

import dataclasses
from collections.abc import Iterable
from typing import Any

import numpy as np
from jaxtyping import Float

from glide_jax.evaluation.features.extractor import Features, Outputs
from glide_jax.evaluation.metrics import fidelity, frechet, manifold

MOST_NEIGHBOURS = 10_000  # vectors of a set for precision and recall, as ADM's evaluator


@dataclasses.dataclass(frozen=True)
class Summary:
    """Features of a set; spatial ones, which are many, only as moments."""

    pool: Float[np.ndarray, "n d"]
    spatial: frechet.Moments | None
    logits: Float[np.ndarray, "n c"] | None


def summarise(batches: Iterable[Outputs]) -> Summary:
    """Collects a set's features batch by batch."""
    pools, spatial, logits = [], [], []
    for batch in batches:
        pools.append(np.asarray(batch.pool, np.float32))
        if batch.spatial is not None:
            spatial = [frechet.merge_moments([*spatial, frechet.moments_of(batch.spatial)])]
        if batch.logits is not None:
            logits.append(np.asarray(batch.logits, np.float32))
    return Summary(
        np.concatenate(pools),
        spatial[0] if spatial else None,
        np.concatenate(logits) if logits else None,
    )


def compare_sets(
    features: Features, generated: Summary, reference: Summary, *, seed: int = 0
) -> dict[str, Any]:
    """Every distance and score of generated pictures next to reference ones, ready for JSON.

    Only the Inception network of 2015 gives the names `fid`, `sfid` and `inception_score`; other
    extractors' numbers of the same kind have general names.

    Args:
        features: the extractor of both summaries.
        generated: features of the generated pictures.
        reference: features of the reference pictures.
        seed: for the random subsets of metrics that use them.
    """
    ours, theirs = generated.pool, reference.pool
    fewest = min(len(ours), len(theirs))
    numbers: dict[str, Any] = {
        "extractor": {"name": features.name, "sha256": features.sha256},
        "n": len(ours),
        "n_reference": len(theirs),
        "frechet_distance": frechet.frechet_distance(
            frechet.moments_of(ours), frechet.moments_of(theirs)
        ),
    }
    if fewest > 1:
        mean, error = fidelity.kernel_distance(ours, theirs, seed=seed)
        numbers |= {"kernel_distance": mean, "kernel_distance_error": error}
    if generated.spatial is not None and reference.spatial is not None:
        spatial = frechet.frechet_distance(generated.spatial, reference.spatial)
        numbers["spatial_frechet_distance"] = spatial
    if generated.logits is not None:
        splits = min(fidelity.SCORE_SPLITS, max(1, len(generated.logits) // 100))
        score, spread = fidelity.inception_score(generated.logits, splits=splits)
        name = "inception_score" if features.is_fid else "class_score"
        numbers |= {name: score, f"{name}_spread": spread, f"{name}_splits": splits}
    if fewest > 3:
        size, rng = min(MOST_NEIGHBOURS, fewest), np.random.default_rng(seed)
        pick = lambda pool: pool[np.sort(rng.choice(len(pool), size, replace=False))]
        both = manifold.precision_recall(pick(theirs), pick(ours))
        numbers |= {**both._asdict(), "n_neighbours": size}
    if features.is_fid:
        for name, short in (("frechet_distance", "fid"), ("spatial_frechet_distance", "sfid")):
            if name in numbers:
                numbers[short] = numbers[name]
    return numbers
