r"""Captioned shapes at 64 px: sized for two CPU cores and an hour or two, minutes on a GPU.

    glide-jax train --config configs/shapes_64.py --workdir runs/shapes_64
    glide-jax train --config configs/shapes_64.py:pairs --workdir runs/shapes_64-pairs
    glide-jax train --config configs/shapes_64.py:order --workdir runs/shapes_64-order
    glide-jax train --config configs/shapes_64.py:scenes --workdir runs/shapes_64-scenes
    glide-jax train --config configs/shapes_64.py:relations --workdir runs/shapes_64-relations
    glide-jax train --config configs/shapes_64.py:counts --workdir runs/shapes_64-counts
    glide-jax train --config configs/shapes_64.py:polish --workdir runs/shapes_64-polish
    glide-jax train --config configs/shapes_64.py:plain --workdir runs/shapes_64-plain

Each goes on from the one before: the second with more scenes of two objects, which are learned
last; the third with scenes whose first object is always on the left or above, from which it is
learned that the order of words matters; the fourth with all scenes again, from which it is learned
whose colour is whose; the fifth with more where the first object is on the left or above than where
it is not, so that what the third taught is kept while the other relations are learned; the sixth
with more of several of a kind, which by then are the worst; the seventh with a rate that falls from
start to end. The model in the box had these; the eighth goes on from it with captions of a single
object that leave its size open, since such are what people type.
2 x 2 pixels are one position of the UNet, captions are 24 SentencePiece tokens of 400.
"""

from ml_collections import ConfigDict

from glide_jax.configs import presets
from glide_jax.data.readers import shapes

LATER = ("pairs", "order", "scenes", "relations", "counts", "polish", "plain")


def get_config(size: str = "full") -> ConfigDict:
    """The run's config; `size` is full, smoke or the name of a later part."""
    presets.check(size, "full", *LATER, "smoke")
    config = presets.text_to_image("shapes_64", "shapes-base")
    presets.shapes_tokens(config)
    # Single objects show best which word is which outline.
    config.data.update(source="shapes_endless", kinds=("single",) * 3 + shapes.KINDS[1:])
    config.diffusion.update(prediction="v", max_snr=5.0, noisy_share=0.5, noisy_from=0.5)
    config.diffusion.update(null_fraction=0.1, vb_weight=1e-4)
    config.sampling.update(steps=",".join(["2"] * 19 + ["12"]), sampler="ddim")
    # Noise in every step corrects numbers of objects that the first steps got wrong.
    config.sampling.eta = 1.0
    # Muon: after 100 steps from the same weights its loss was 0.037, AdamW's 0.042.
    config.optim.update(name="muon", lr=1e-3, b1=0.95, b2=0.99, clip_norm=1.0)
    # Two parts: what 16 pictures leave for the backward pass stays in a CPU's cache.
    config.optim.update(schedule="linear", warmup_steps=50, decay_fraction=0.4, accumulate=2)
    config.train.update(num_steps=3800, batch_size=64, ema=(0.997,), dtype="float32")
    config.log.update(every_steps=25, sample_every_steps=250, checkpoint_every_steps=100)
    config.log.update(prompts=presets.SHAPES_PROMPTS, sample_steps="25")
    if size in LATER:
        config.optim.lr = 8e-4
    mixed = ("single", "count", "count", *("pair", "relation") * 3)
    if size == "pairs":
        config.data.kinds = mixed
        config.optim.decay_fraction = 0.5
        config.train.update(num_steps=2600, init_from="runs/shapes_64/model")
    if size == "order":
        config.data.kinds = ("single", "count", "pair", *("to the left of", "above") * 2)
        config.diffusion.update(noisy_share=0.7, noisy_from=0.8)  # where places are decided
        config.optim.decay_fraction = 0.2
        config.train.update(num_steps=500, init_from="runs/shapes_64-pairs/model")
        config.train.redraw = ("positional_embedding",)
    if size in ("scenes", "relations", "counts", "polish", "plain"):
        config.diffusion.update(noisy_share=0.7, noisy_from=0.75)
    if size == "scenes":
        config.data.kinds = mixed
        config.optim.schedule = "constant"
        config.train.update(num_steps=848, init_from="runs/shapes_64-order/model")
    if size == "relations":
        two = ("pair", "pair", *("relation",) * 3, "to the left of", "above")
        config.data.kinds = ("single", "count", "count", *two)
        config.optim.decay_fraction = 0.5
        config.train.update(num_steps=1900, init_from="runs/shapes_64-scenes/model")
    if size == "counts":
        two = ("pair", "pair", "relation", "relation", "to the left of", "above")
        config.data.kinds = ("single", *("count",) * 4, *two)
        config.optim.decay_fraction = 0.6
        config.train.update(num_steps=1200, init_from="runs/shapes_64-relations/model")
    if size == "polish":
        two = (*("pair",) * 3, "relation", "relation", "to the left of", "above")
        config.data.kinds = ("single", *("count",) * 4, *two)
        config.optim.update(lr=6e-4, decay_fraction=0.9)
        config.train.update(num_steps=1100, init_from="runs/shapes_64-counts/model")
    if size == "plain":
        two = (*("pair",) * 2, "relation", "relation", "to the left of", "above")
        config.data.kinds = (*(shapes.PLAIN,) * 3, "single", *("count",) * 3, *two)
        config.optim.update(lr=6e-4, decay_fraction=0.9)
        config.train.update(num_steps=1100, init_from="shapes")
    return presets.smoke(config) if size == "smoke" else config
