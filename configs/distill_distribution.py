r"""The config of `glide-jax distill --what distribution`: a few steps and no guidance, at once.

    glide-jax distill --from glide --what distribution --workdir runs/few --data PICTURES
    glide-jax distill --from shapes --what distribution --workdir runs/few --size shapes

The student draws from noise, and learns what tells the spread of its pictures from that of its
teacher's guided ones (Yin et al., 2024, "Improved distribution matching distillation"). Of the
data only the captions are read, and what an upsampler or an inpainting model is given.
"""

from ml_collections import ConfigDict

from glide_jax.configs import presets

SIZES = ("full", "shapes", "smoke")


def get_config(size: str = "full") -> ConfigDict:
    """The run's config; `size` is full, shapes or smoke, for upsamplers with -upsample added."""
    presets.check(size, *SIZES, *(f"{size}-upsample" for size in SIZES))
    config = presets.student(size, "distribution")
    upsample = size.endswith("-upsample")
    config.distill.update(
        steps=1 if upsample else 4, grid="logsnr_trailing" if upsample else "noisy"
    )
    config.optim.update(b1=0.9, decay_fraction=0.5)
    config.train.ema = (0.99,)
    if size.startswith("full"):
        config.train.update(num_steps=3000 if upsample else 5000, batch_size=16 if upsample else 32)
    if not upsample:
        config.model.update(guidance=(1.0, 6.0), away=True)
        config.distill.update(away_fraction=0.1, interval=(300.0, 1000.0))
        config.diffusion.null_fraction = 0.03
    if size.startswith("shapes"):
        config.optim.update(name="muon", lr=1.5e-4, b2=0.99, warmup_steps=20, decay_fraction=0.7)
    if size == "shapes":
        config.model.guidance = (1.0, 4.0)  # the model is drawn with 3
        config.train.update(num_steps=1000, batch_size=8)
    if size == "shapes-upsample":
        config.optim.lr = 1e-4
        config.train.update(num_steps=300, batch_size=8)
    return config
