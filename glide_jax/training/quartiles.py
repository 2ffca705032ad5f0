"""Numbers that training reports: by quartile of the timestep, and their means over steps."""

import re
from collections.abc import Mapping

import jax.numpy as jnp
from jaxtyping import Array, Float, Int


def by_quartile(
    name: str, value: Float[Array, " b"], i: Int[Array, " b"], num_steps: Int[Array, ""] | int
) -> dict[str, Array]:
    """The means `name`_q0 (the cleanest timesteps) ... `name`_q3, and the images in each of them.

    One mean hides that the clean and the noisy end learn at different times. A quartile without
    an image in this batch has the count 0 and the value 0, which `average` leaves out.

    Args:
        name: the metric's.
        value: the metric of each image.
        i: the step of each image, 0 ... num_steps - 1.
        num_steps: steps of the diffusion.
    """
    quartile, found = i * 4 // num_steps, {}
    for k in range(4):
        inside = quartile == k
        count = inside.sum().astype(jnp.float32)
        found[f"{name}_q{k}"] = jnp.where(inside, value, 0.0).sum() / jnp.maximum(count, 1.0)
        found[f"count_q{k}"] = count
    return found


def average(stacked: Mapping[str, Float[Array, " n"]]) -> dict[str, Array]:
    """The metrics of n steps or parts of a batch as one: means by weight, counts as sums.

    `x_q0` is weighted by `count_q0`. Steps whose `nonfinite` is 1 have no part in any mean but
    that of `nonfinite`. What then has no weight at all is 0, never NaN; its count says so.
    """
    finite = 1.0 - jnp.asarray(stacked.get("nonfinite", 0.0))
    means: dict[str, Array] = {}
    for name, values in stacked.items():
        values = jnp.asarray(values, jnp.float32)
        weight = jnp.broadcast_to(finite, values.shape)
        if name == "nonfinite":
            means[name] = values.mean()
            continue
        if name.startswith("count_"):
            means[name] = (values * weight).sum()
            continue
        quartile = re.search(r"_(q\d)$", name)
        if quartile:
            weight = weight * stacked[f"count_{quartile[1]}"]
        total = jnp.where(weight > 0, values * weight, 0.0).sum()
        means[name] = total / jnp.maximum(weight.sum(), 1e-30)
    return means
