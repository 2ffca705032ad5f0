r"""Emoji at 64 px: 30 M parameters, half an hour of one large GPU; `tiny` for two CPU cores.

    glide-jax data build emoji_64
    glide-jax train --config configs/emoji_64.py --workdir runs/emoji_64
    glide-jax train --config configs/emoji_64.py:tiny --workdir runs/emoji_64-tiny
    glide-jax train --config configs/emoji_64.py:more --workdir runs/emoji_64-more
    glide-jax train --config configs/emoji_64.py:polish --workdir runs/emoji_64-polish
    glide-jax train --config configs/emoji_64.py:words --workdir runs/emoji_64-words
    glide-jax train --config configs/emoji_64.py:styled --workdir runs/emoji_64-styled

`tiny` is the network of `shapes`, which it goes on from: edges and flat colours are learned, and
words are new. `more` and `polish` each go on from the one before, the last with more of the clear
timesteps, for edges. From the emoji model in the box instead: `--config.train.init_from=emoji`.

In `words` and `styled` every caption names its style, and three pictures in four are of the three
flat styles. In `words` the text encoder alone learns what captions look like. In `styled` the rest
of the base learns to read that.

An experiment of two by two, from nothing on the flat styles, each with the same pictures in the
same order (`--config.train.num_steps` is what two hours hold):

    glide-jax train --config configs/emoji_64.py:plain-v --workdir runs/emoji_64-plain-v

`plain-v`, `named-v`, `plain-x0` and `named-x0`: captions as they are, or always naming the style
(and half of the time the colours); v on patches of 2, or x_0 with the loss in v on patches of 4.
"""

from ml_collections import ConfigDict

from glide_jax.configs import presets, shapes_64

TINY = ("tiny", "more", "polish", "words", "styled")
TRIALS = ("plain-v", "named-v", "plain-x0", "named-x0")
STYLES = ("twemoji", "flat", "emojione")  # the first is the default
ALL_STYLES = (*STYLES, "noto", "blob", "3d", "firefox")
MOSTLY_FLAT = "+".join(["emoji"] + ["emoji_flat"] * 4)  # three pictures in four are flat


def get_config(size: str = "full") -> ConfigDict:
    """The run's config; `size` is full, smoke, or one of TINY and TRIALS."""
    presets.check(size, "full", *TINY, *TRIALS, "smoke")
    if size in TINY:
        return _tiny(size)
    if size in TRIALS:
        return _trial(*size.split("-"))
    text = dict(text_width=256, text_layers=6, text_heads=4, text_context=32)
    config = presets.text_to_image("emoji_64", channels=64, res_blocks=2, **text)
    presets.shapes_tokens(config, 4096)
    config.data.update(source="emoji", workers=8)
    config.diffusion.update(null_fraction=0.1, max_snr=5.0)
    config.optim.update(lr=3e-4, warmup_steps=500, schedule="linear", decay_fraction=0.3)
    config.optim.clip_norm = 1.0
    config.train.update(num_steps=10_000, batch_size=256, ema=(0.999, 0.9999))
    config.log.update(every_steps=50, sample_every_steps=1000, checkpoint_every_steps=500)
    config.log.prompts = presets.EMOJI_PROMPTS
    return presets.smoke(config) if size == "smoke" else config


def of_emoji(config: ConfigDict) -> ConfigDict:
    """A run of shapes as one of emoji: other pictures, and more and longer words."""
    presets.shapes_tokens(config, 2048)
    config.model.text_context = 32
    config.data.update(source="emoji", kinds=(), workers=0)
    config.log.prompts = presets.EMOJI_PROMPTS
    return config


def anew(config: ConfigDict, name: str) -> ConfigDict:
    """A run of shapes as one of emoji that goes on from the shapes model, but for its words."""
    config = presets.from_shapes(of_emoji(config))
    config.name = name
    return config


def _tiny(size: str) -> ConfigDict:
    config = shapes_64.get_config()
    config.sampling.eta = 0.0  # the value that was measured
    if size == "tiny":
        anew(config, "emoji_64-tiny")
        config.train.num_steps = 2600
    else:
        of_emoji(config).name = f"emoji_64-{size}"
    config.diffusion.update(noisy_share=0.6, noisy_from=0.75)  # where captions matter
    if size == "more":
        config.optim.schedule = "constant"
        config.train.update(num_steps=1000, init_from="runs/emoji_64-tiny/model", ema=(0.99,))
    if size == "polish":
        config.diffusion.noisy_share = 0.3
        config.optim.update(lr=7e-4, warmup_steps=20, decay_fraction=0.9)
        config.train.update(num_steps=300, init_from="runs/emoji_64-more/model", ema=(0.98,))
    if size in ("words", "styled"):
        config.data.update(source=MOSTLY_FLAT, styles=ALL_STYLES)
    if size == "words":
        config.objective = "sketches"
        config.optim.update(lr=2e-3, schedule="cosine", warmup_steps=100, accumulate=1)
        config.train.update(num_steps=12_000, init_from="runs/emoji_64-polish/model")
        config.train.update(batch_size=128, ema=(0.98,))
        config.log.sample_every_steps = 0  # the UNet is as it was
    if size == "styled":
        # The chain ends at timestep 100, so timesteps around it count: decision 9, Grain.
        config.diffusion.update(noisy_share=0.4, max_snr=20.0)
        config.sampling.steps = ",".join(["0"] * 2 + ["2"] * 17 + ["12"])
        config.sampling.eta = 1.0  # kernel distance 0.190, and 0.219 without noise in the steps
        config.optim.decay_fraction = 0.5
        config.train.update(num_steps=2000, init_from="runs/emoji_64-words/model", ema=(0.99,))
        config.train.freeze = ("^text/",)  # else it forgets what pictures of the batch do not ask
    return config


def _trial(captions: str, prediction: str) -> ConfigDict:
    """A run of the experiment."""
    config = of_emoji(shapes_64.get_config())
    config.name = f"emoji_64-{captions}-{prediction}"
    config.data.source = "emoji_flat"
    config.diffusion.update(noisy_share=0.3, noisy_from=0.75)
    config.sampling.eta = 0.0
    config.train.update(num_steps=2000, ema=(0.997,))
    config.optim.update(warmup_steps=100, decay_fraction=0.4)
    if captions == "named":
        config.data.styles = STYLES
    if prediction == "x0":
        config.diffusion.prediction = "x_0"
        config.model.update(patch=4, channels=96, channel_mult=(1, 2), attention=(16, 8))
    return config
