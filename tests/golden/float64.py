"""The first prediction of x_0 of the CLIP-guided DDPM run, by the same network in float64.

    python -m tests.golden.float64

prints the one number that is not clipped, which `test_trajectories.FLOAT64` holds.
"""

import numpy as np


def first_x_0() -> np.ndarray:
    """x_0, NCHW, clipped to [-1, 1], where the run starts; call it in a process of its own."""
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)
    jnp.float32 = jnp.float64  # norms and softmax name float32 outright
    from glide_jax.diffusion import schedules
    from tests.conftest import VENDORED
    from tests.golden import test_trajectories as runs
    from tests.golden import weights

    case = "clip_guided_ddpm10"
    meta, stored = runs.read(VENDORED, case)
    described = meta["cases"][case]
    made = meta["models"][described["model"]]
    network = weights.glide(made["create_model_kwargs"], made["params"], made["salt"])
    unet, text = (
        part.clone(dtype=jnp.float64) for part in (network.model.unet, network.model.text)
    )
    model = network.model.clone(unet=unet, text=text)
    variables = {"params": jax.tree.map(lambda p: np.asarray(p, np.float64), network.params)}
    tokens, mask = jnp.asarray(stored["in_tokens"]), jnp.asarray(stored["in_mask"])
    encoded = model.apply(variables, tokens, mask, method="encode")
    x_t = np.asarray(runs.nhwc(runs.normal(f"traj/{case}/init", described["shape"])), np.float64)
    t = int(np.asarray(schedules.respace(described["respacing"]))[described["n_steps"] - 1])
    alpha_bar = float(schedules.alpha_bar(described["schedule"])[t])
    cond = runs.image_conditions(stored)._replace(text=encoded)
    eps = np.asarray(model.apply(variables, jnp.asarray(x_t), jnp.full(len(x_t), t), cond).eps)
    assert eps.dtype == np.float64
    x_0 = x_t / np.sqrt(alpha_bar) - np.sqrt(1.0 / alpha_bar - 1.0) * eps
    return runs.nchw(np.clip(x_0, -1.0, 1.0))


if __name__ == "__main__":
    print(repr(float(first_x_0()[1, 1, 8, 12])))
