r"""Fine-tunes the shapes base to inpaint: four more input channels that start at zero.

    glide-jax train --config configs/shapes_64_inpaint.py --workdir runs/shapes_64_inpaint

Step 0 draws what the model that it starts from does (`train.init_from`, by default the one in the
box). Then `python -m launch.studies.measure_inpainting --inpaint runs/shapes_64_inpaint/model ...`.
"""

from ml_collections import ConfigDict

from glide_jax.configs import presets, shapes_64


def get_config(size: str = "full") -> ConfigDict:
    """The run's config; `size` is full or smoke."""
    config = presets.inpainting(shapes_64.get_config(size))
    config.name = config.name.replace("shapes_64", "shapes_64_inpaint")
    config.sampling.eta = 0.0  # the value that was measured
    if size == "full":
        config.train.update(num_steps=300, init_from="shapes")
        config.optim.update(lr=5e-4, warmup_steps=20, decay_fraction=0.5)
        config.log.update(sample_every_steps=200, checkpoint_every_steps=50)
    return config
