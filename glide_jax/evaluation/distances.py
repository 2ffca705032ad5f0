"""Distances between two sets of pictures, under names that say which network measured them."""

from typing import Any

import numpy as np

from glide_jax.evaluation.features.extractor import Features, Outputs
from glide_jax.evaluation.metrics import fidelity, frechet, manifold

MOST_NEIGHBOURS = 10_000  # vectors of a set for precision and recall, as ADM's evaluator
_SHUFFLE_SEED = 0  # frozen, since another order is another score


def compare_sets(features: Features, generated: Outputs, reference: Outputs) -> dict[str, Any]:
    """Every distance and score of generated pictures next to reference ones, ready for JSON.

    Only the Inception network of 2015 gives the names `fid`, `sfid` and `inception_score`; other
    extractors' numbers of the same kind have general names.

    Args:
        features: the extractor of both sets.
        generated: features of all generated pictures.
        reference: features of all reference pictures.
    """
    ours, theirs = generated.pool, reference.pool
    fewest = min(len(ours), len(theirs))
    between = lambda a, b: frechet.frechet_distance(frechet.moments_of(a), frechet.moments_of(b))
    numbers: dict[str, Any] = {
        "extractor": {"name": features.name, "sha256": features.sha256},
        "n": len(ours),
        "n_reference": len(theirs),
        "frechet_distance": between(ours, theirs),
    }
    if fewest > 1:
        mean, error = fidelity.kernel_distance(ours, theirs)
        numbers |= {"kernel_distance": mean, "kernel_distance_error": error}
    if generated.spatial is not None and reference.spatial is not None:
        numbers["spatial_frechet_distance"] = between(generated.spatial, reference.spatial)
    if generated.logits is not None:
        splits = min(fidelity.SCORE_SPLITS, max(1, len(generated.logits) // 100))
        # Pictures come prompt by prompt and group by group; a split is to hold some of each.
        order = np.random.default_rng(_SHUFFLE_SEED).permutation(len(generated.logits))
        score, spread = fidelity.inception_score(generated.logits[order], splits=splits)
        name = "inception_score" if features.is_fid else "class_score"
        numbers |= {name: score, f"{name}_spread": spread, f"{name}_splits": splits}
    if fewest > 3:
        size, rng = min(MOST_NEIGHBOURS, fewest), np.random.default_rng(0)
        pick = lambda pool: pool[np.sort(rng.choice(len(pool), size, replace=False))]
        both = manifold.precision_recall(pick(theirs), pick(ours))
        numbers |= {**both._asdict(), "n_neighbours": size}
    if features.is_fid:
        for name, short in (("frechet_distance", "fid"), ("spatial_frechet_distance", "sfid")):
            if name in numbers:
                numbers[short] = numbers[name]
    return numbers
