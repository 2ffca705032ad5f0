"""Starting points of config files, which all have the same sections.

Every field is listed with its default, its range and its meaning in glide_jax/training/sections.py;
`model` has the fields of `ModelConfig` or `ClipConfig` (glide_jax/networks/zoo.py), and `data` also
those of `DataOptions` (glide_jax/data/loader.py). A config file takes `text_to_image`, `upsampler`
or `clip`, changes what is its own, and returns it. Any field can be changed from the command line,
e.g. `--config.optim.lr=3e-4`.
"""

import dataclasses
from typing import Any

from ml_collections import ConfigDict

from glide_jax.data.loader import DataOptions
from glide_jax.networks import zoo
from glide_jax.training import sections

SIZES = ("full", "smoke")
MASKS = ("box", "boxes", "strokes", "half", "border", "ellipse", "blob")
SHAPES_PROMPTS = (
    "a large red circle on a white background",
    "a small blue star on a black background",
    "three green squares on a white background",
    "a yellow triangle to the left of a purple diamond on a gray background",
    "two pink hearts on a white background",
    "a cyan ring above an orange cross on a black background",
    "a large green heart on a gray background",
    "a red square and a blue circle on a white background",
)
EMOJI_PROMPTS = (
    "a noto emoji of red apple",
    "a twemoji emoji of red apple",
    "a flat emoji of grinning face",
    "a noto emoji of cat face",
    "a twemoji emoji of sailboat",
    "a noto emoji of birthday cake",
    "a 3d emoji of rocket",
    "a blob emoji of ghost",
)
PHOTO_PROMPTS = (
    "a cat sleeping on a couch",
    "a red double-decker bus on a city street",
    "a plate of food with broccoli",
    "a man riding a wave on a surfboard",
    "a bathroom with a white sink",
    "two giraffes standing in a field",
    "a stop sign in front of a building",
    "an oil painting of a corgi",
)


def text_to_image(name: str, model: str = "base", **fields: Any) -> ConfigDict:
    """A base's or an upsampler's run; defaults are the paper's, or ADM's where it is silent.

    Args:
        name: the run's.
        model: a named size of `zoo`.
        **fields: replace fields of that size.
    """
    config = _shared(name, "text_to_image", zoo.named(model), fields)
    config.diffusion = dataclasses.asdict(sections.Diffusion())
    config.sampling = dict(  # the exported model's defaults
        steps="100", sampler="ddpm", guidance_scale=3.0, eta=0.0, temperature=1.0
    )
    return config


def upsampler(name: str, model: str = "upsample", **fields: Any) -> ConfigDict:
    """An upsampler's run, from a quarter of the size (GLIDE, section 2.1)."""
    config = text_to_image(name, model, **fields)
    config.diffusion.noise_schedule = "linear"
    config.data.low_res = config.model.image_size // 4
    config.sampling = dict(
        steps="fast27", sampler="ddim", guidance_scale=1.0, eta=0.0, temperature=0.997
    )
    config.train.batch_size = 512
    config.log.update(guidance_scale=1.0, sample_steps="27")
    return config


def inpainting(config: ConfigDict) -> ConfigDict:
    """Makes a run one of inpainting: random regions erased, the rest as input (section 4.3)."""
    config.model.inpaint = True
    config.data.update(masks=MASKS, whole_mask_fraction=0.1)
    return config


def student(size: str, what: str) -> ConfigDict:
    """A distillation's run; the network and the diffusion become those of a teacher.

    Args:
        size: full, shapes or smoke, for an upsampler with -upsample after it.
        what: guidance or steps.
    """
    upsample = size.endswith("-upsample")
    config = (upsampler if upsample else text_to_image)(f"distill_{what}")
    config.distill = dataclasses.asdict(sections.Distill(what))
    config.data.source = "folder"
    config.diffusion.update(prediction="v", null_fraction=0.0 if upsample else 0.1)
    # As Salimans & Ho: a rate that falls to 0 within each round, and plain Adam. Their rounds have
    # 50,000 updates of batch 128 or more; these are for one GPU.
    config.optim.update(lr=1e-4, schedule="linear", decay_fraction=1.0, clip_norm=1.0)
    config.train.update(num_steps=10_000, batch_size=64, ema=(0.999,))
    if upsample:
        config.train.update(num_steps=5_000, batch_size=16)
    config.log.update(every_steps=50, sample_every_steps=1000, checkpoint_every_steps=500)
    if not size.startswith("full"):
        config.data.source = "shapes_endless"
        config.train.update(ema=(0.98,), dtype="float32")
        config.log.update(every_steps=25, sample_every_steps=250, checkpoint_every_steps=100)
    if size == "shapes":
        config.log.prompts = SHAPES_PROMPTS
    if size == "shapes-upsample":
        config.data.update(window=128, low_res_noise=0.12, low_res_blur=0.6)
    if size.startswith("smoke"):
        config.data.workers = 0
        config.train.update(num_steps=4, batch_size=4, ema=(0.9,))
        config.log.update(every_steps=2, checkpoint_every_steps=2, sample_every_steps=4)
        config.log.update(sample_steps="2", prompts=SHAPES_PROMPTS[:2])
    return config


def clip(name: str, **fields: Any) -> ConfigDict:
    """A noise-aware CLIP's run (GLIDE, sections 2.4 and 4.4, app. B.1)."""
    config = _shared(name, "clip", zoo.CLIP, fields)
    config.diffusion = dict(noise_schedule="squaredcos_cap_v2")
    config.tokenizer = dict(kind="clip", vocab_size=49_408)
    config.optim.update(weight_decay=0.0125, warmup_steps=2000, schedule="cosine")
    config.train.update(batch_size=32_768, num_steps=390_000)
    config.log.sample_every_steps = 0
    return config


def shapes_tokens(config: ConfigDict, vocab_size: int = 400) -> ConfigDict:
    """Captions of few words: a vocabulary trained on them, of the size the model has."""
    config.tokenizer = dict(kind="sentencepiece", vocab_size=vocab_size)
    config.model.vocab_size = vocab_size
    return config


def from_shapes(config: ConfigDict) -> ConfigDict:
    """Goes on from the shapes model in the box, with another vocabulary: words begin anew."""
    config.train.update(init_from="shapes", redraw=("(^|/)text/.*embedding",))
    return config


def smoke(config: ConfigDict) -> ConfigDict:
    """The same run in miniature: seconds on a CPU, through the same code."""
    model = config.model
    config.name += "-smoke"
    config.data.update(source="shapes_endless", path="", split="train", window=0, workers=0)
    model.update(image_size=16, text_width=32, text_layers=1, text_heads=2)
    if config.data.low_res:
        config.data.low_res = 8
    if config.objective == "clip":
        model.update(image_width=32, image_layers=1, image_heads=2, embedding_width=32)
    else:
        model.update(channels=32, channel_mult=(1,), res_blocks=1, heads=1, heads_up=-1, patch=1)
        model.update(attention=() if config.data.low_res else (16,), head_channels=16)
        model.norm_groups = 8  # 32 of 32 channels would normalise each alone
        model.resblock_updown = False
    model.text_context = 32
    shapes_tokens(config, 300)
    config.train.update(batch_size=4, num_steps=4, dtype="float32", loss_scale="none")
    config.train.update(init_from="", redraw=())
    config.optim.update(warmup_steps=1)
    config.log.update(every_steps=2, checkpoint_every_steps=2, sample_steps="2")
    config.log.prompts = SHAPES_PROMPTS[:2]
    config.log.sample_every_steps = min(config.log.sample_every_steps, 4)
    return config


def check(size: str, *known: str) -> None:
    """Refuses a size that the file does not have."""
    if size not in (known or SIZES):
        raise ValueError(f"size is {size!r}; it must be one of {', '.join(known or SIZES)}.")


def _shared(name: str, objective: str, model: Any, fields: dict[str, Any]) -> ConfigDict:
    """Every section with its defaults."""
    data = dataclasses.asdict(DataOptions(image_size=1, batch_size=1, workers=2))
    for name_of_run in ("image_size", "batch_size", "seed"):  # the model's or the run's own
        del data[name_of_run]
    return ConfigDict(
        dict(
            name=name,
            seed=0,
            objective=objective,
            model=dataclasses.asdict(model) | fields,
            diffusion={},
            sampling={},
            data=dataclasses.asdict(sections.Data()) | data,
            tokenizer=dataclasses.asdict(sections.TokenizerChoice()),
            optim=dataclasses.asdict(sections.Optim()),
            train=dataclasses.asdict(sections.Train()),
            log=dataclasses.asdict(sections.Log()),
            mesh=dataclasses.asdict(sections.MeshShape()),
        )
    )
