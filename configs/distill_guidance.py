r"""The config of `glide-jax distill --what guidance`: one evaluation for guidance's two.

    glide-jax distill --from glide --what guidance --workdir runs/guided --data PICTURES
    glide-jax distill --from shapes --what guidance --workdir runs/shapes-guided --size shapes

The network and the diffusion are the teacher's, with the scale of guidance and a negative prompt
(`model.away`, in its pooled form) as further inputs
(Meng et al., 2022, "On distillation of guided diffusion models", stage 1).
"""

from ml_collections import ConfigDict

from glide_jax.configs import presets

SIZES = ("full", "shapes", "smoke")


def get_config(size: str = "full") -> ConfigDict:
    """The run's config; `size` is full, shapes or smoke, for upsamplers with -upsample added."""
    presets.check(size, *SIZES, *(f"{size}-upsample" for size in SIZES))
    config = presets.student(size, "guidance")
    config.model.update(guidance=(1.0, 6.0), away=True)
    if size == "shapes":
        config.model.guidance = (1.0, 4.0)  # the model is drawn with 3
        config.distill.away_fraction = 0.1
        # As the teacher was trained: what is drawn is decided at noisy timesteps.
        config.diffusion.update(max_snr=5.0, noisy_share=0.5, noisy_from=0.5)
        config.optim.update(name="muon", lr=3e-4, b1=0.95, b2=0.99, warmup_steps=20, accumulate=2)
        config.train.update(num_steps=1200, batch_size=64)
    return config
