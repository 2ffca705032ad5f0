"""A table of scores by Ray Data: the same parts, written by the workers of a Ray cluster."""

from typing import Any

import numpy as np

from glide_jax.extras import extra
from glide_jax.safety.score_table import Job


def write_all(job: Job) -> None:
    """Writes the parts that are missing, on the cluster that is connected or else on one here.

    A task that Ray runs twice writes the same bytes to the same name, so nothing is doubled.
    The set and the table must lie where every worker sees them.
    """
    ray, data = extra("ray"), extra("ray.data")
    todo = np.array(job.missing())
    if not len(todo):
        return
    if not ray.is_initialized():
        ray.init(logging_level="error")
    data.DataContext.get_current().enable_progress_bars = False

    def write(batch: dict[str, Any]) -> dict[str, Any]:
        return {"rows": np.array([job.write(int(todo[k])) for k in batch["id"]])}

    parts = data.range(len(todo), override_num_blocks=len(todo))
    parts.map_batches(write, batch_size=1).materialize()
