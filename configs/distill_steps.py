r"""The config of `glide-jax distill --what steps`: one step for two, round after round.

    glide-jax distill --from runs/guided/model --what steps --workdir runs/few --data PICTURES
    glide-jax distill --from runs/few/steps-4/model --what steps --stage upsample ...
    glide-jax distill --from runs/shapes-guided/model --what steps --workdir runs/shapes-few \
        --size shapes

Each student begins as its teacher and learns where two of the teacher's steps of DDIM lead
(Salimans & Ho, 2022, "Progressive distillation"). A base that is drawn with guidance has its
guidance distilled first.
"""

from ml_collections import ConfigDict

from glide_jax.configs import presets

SIZES = ("full", "shapes", "smoke")
ROUNDS, ROUNDS_UPSAMPLE = (16, 8, 4, 2), (4, 2, 1)


def get_config(size: str = "full") -> ConfigDict:
    """The run's config; `size` is full, shapes or smoke, for upsamplers with -upsample added."""
    presets.check(size, *SIZES, *(f"{size}-upsample" for size in SIZES))
    config = presets.student(size, "steps")
    rounds = ROUNDS_UPSAMPLE if size.endswith("-upsample") else ROUNDS
    rounds = rounds[-2:] if size.startswith("smoke") else rounds
    config.distill.rounds = rounds
    if size.startswith("shapes"):
        config.diffusion.max_snr = 5.0
        config.optim.update(name="muon", lr=2e-4, b1=0.95, b2=0.99)
    if size == "shapes":
        config.distill.grid = "noisy"
        config.distill.away_fraction = 0.1
        config.optim.accumulate = 2
        config.train.update(num_steps=500, batch_size=64)
    if size == "shapes-upsample":
        config.distill.grid = "logsnr_trailing"
        config.train.update(num_steps=300, batch_size=16)
    return config
