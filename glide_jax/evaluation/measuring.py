"""From two sets of pictures to one table of numbers, under names that say what they are."""

import dataclasses
from collections.abc import Iterable
from typing import Any

import numpy as np
from jaxtyping import Float

from glide_jax.evaluation import metrics
from glide_jax.evaluation.features import Features, Outputs
from glide_jax.evaluation.metrics.fidelity import SCORE_SPLITS

MOST_NEIGHBOURS = 10_000  # vectors of a set for precision and recall, as ADM's evaluator


@dataclasses.dataclass(frozen=True)
class Summary:
    """What is kept of a set's features; spatial ones only as moments, for they are many."""

    pool: Float[np.ndarray, "n d"]
    spatial: metrics.Moments | None
    logits: Float[np.ndarray, "n c"] | None

    @property
    def moments(self) -> metrics.Moments:
        """Of the pooled features."""
        return metrics.moments(self.pool)


def summarise(batches: Iterable[Outputs]) -> Summary:
    """A set's features, batch by batch."""
    pools, spatial, logits = [], [], []
    for batch in batches:
        pools.append(np.asarray(batch.pool, np.float32))
        if batch.spatial is not None:
            found = metrics.moments(batch.spatial)
            spatial = [metrics.merge([*spatial, found])]
        if batch.logits is not None:
            logits.append(np.asarray(batch.logits, np.float32))
    return Summary(
        np.concatenate(pools),
        spatial[0] if spatial else None,
        np.concatenate(logits) if logits else None,
    )


def compare(
    features: Features, generated: Summary, reference: Summary, *, seed: int = 0
) -> dict[str, Any]:
    """All that can be said of generated pictures next to reference ones, JSON-able.

    Only the Inception network of 2015 gives the names `fid`, `sfid` and `inception_score`; other
    extractors' numbers of the same kind are called by what they are.
    """
    fid = features.is_fid
    found: dict[str, Any] = {
        "extractor": {"name": features.name, "sha256": features.sha256},
        "n": len(generated.pool),
        "n_reference": len(reference.pool),
        "frechet_distance": metrics.frechet_distance(generated.moments, reference.moments),
    }
    if min(len(generated.pool), len(reference.pool)) > 1:
        mean, error = metrics.kernel_distance(generated.pool, reference.pool, seed=seed)
        found |= {"kernel_distance": mean, "kernel_distance_error": error}
    if generated.spatial is not None and reference.spatial is not None:
        value = metrics.frechet_distance(generated.spatial, reference.spatial)
        found["spatial_frechet_distance"] = value
    if generated.logits is not None:
        splits = min(SCORE_SPLITS, max(1, len(generated.logits) // 100))
        score, spread = metrics.inception_score(generated.logits, splits=splits)
        name = "inception_score" if fid else "class_score"
        found |= {name: score, f"{name}_spread": spread, f"{name}_splits": splits}
    if min(len(generated.pool), len(reference.pool)) > 3:
        size = min(MOST_NEIGHBOURS, len(generated.pool), len(reference.pool))
        rng = np.random.default_rng(seed)
        pick = lambda pool: pool[np.sort(rng.choice(len(pool), size, replace=False))]
        both = metrics.precision_recall(pick(reference.pool), pick(generated.pool))
        found |= {**both._asdict(), "n_neighbours": size}
    if fid:
        found["fid"] = found["frechet_distance"]
        if "spatial_frechet_distance" in found:
            found["sfid"] = found["spatial_frechet_distance"]
    return found
