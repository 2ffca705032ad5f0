"""What runs share: every field there is, with its default and what it means.

A config file takes `text_to_image` or `clip`, changes what is its own, and gives it back. Any field
can be changed from the command line, e.g. `--config.optim.lr=3e-4`.
"""

import dataclasses
from typing import Any

from ml_collections import ConfigDict

from glide_jax.networks import zoo

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
        name: of the run.
        model: a named size of `zoo`.
        **fields: of the model, in place of that size's.
    """
    config = _shared(name)
    config.objective = "text_to_image"
    config.model = dataclasses.asdict(zoo.named(model)) | fields
    config.diffusion = dict(
        noise_schedule="squaredcos_cap_v2",  # or linear
        prediction="eps",  # or v
        null_fraction=0.0,  # of captions emptied; 0.2 makes classifier-free guidance possible
        vb_weight=1e-3,  # of the variational bound, which trains the variance
        max_snr=float("inf"),  # Min-SNR's gamma; 5 is usual
        noisy_share=0.0,  # of timesteps drawn from the noisy end of the chain besides
        noisy_from=0.95,  # where that end begins
        text_loss_weight=0.0,  # of the text encoder's own loss
    )
    config.sampling = dict(  # the exported model's defaults
        steps="100", sampler="ddpm", guidance_scale=3.0, eta=0.0, temperature=1.0
    )
    return config


def upsampler(name: str, model: str = "upsample", **fields: Any) -> ConfigDict:
    """As `text_to_image`, from a quarter of the size (GLIDE, section 2.1)."""
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


def clip(name: str, **fields: Any) -> ConfigDict:
    """A noise-aware CLIP's run (GLIDE, sections 2.4 and 4.4, app. B.1)."""
    config = _shared(name)
    config.objective = "clip"
    config.model = dataclasses.asdict(zoo.CLIP) | fields
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


def _shared(name: str) -> ConfigDict:
    return ConfigDict(
        dict(
            name=name,
            seed=0,  # of the weights, the order of the data, the noise
            objective="",
            model={},
            diffusion={},
            sampling={},
            data=dict(
                source="",  # a name of `glide-jax data`: shapes, emoji, coco, folder ...
                path="",  # the folder or files of folder, webdataset, parquet; else of built sets
                split="train",
                kinds=(),  # of scenes of shapes_endless: single, count, pair, relation; (): all
                crop="center",  # or random
                flip=0.0,  # chance of a mirror image; captions that say left or right forbid it
                caption="random",  # or first, where a picture has several
                low_res=0,  # side of an upsampler's small picture; 0 for none
                low_res_blur=0.0,  # largest sigma in pixels of the small picture
                low_res_noise=0.0,  # largest sigma on [-1, 1]
                masks=(),  # kinds of erased regions, for inpainting
                whole_mask_fraction=0.0,  # of pictures erased altogether
                window=0,  # side of the part of a picture that is trained on; 0: the whole
                max_rejected=0.01,  # part of the records that may be unusable
                workers=2,  # processes that decode; 0 for none
            ),
            tokenizer=dict(kind="glide", vocab_size=50_257),  # glide, clip or sentencepiece
            optim=dict(
                name="adamw",  # or sgd, adafactor, lion, muon
                lr=1e-4,
                schedule="constant",  # or cosine, linear
                warmup_steps=0,
                decay_fraction=1.0,  # part of the run that linear falls over
                b1=0.9,
                b2=0.999,
                eps=1e-8,
                weight_decay=0.0,  # of kernels
                clip_norm=0.0,  # 0 for none
                accumulate=1,  # parts that a batch is cut into
            ),
            train=dict(
                num_steps=1_000_000,
                batch_size=2048,  # of all devices together
                ema=(0.9999,),  # the first is sampled from and exported
                dtype="bfloat16",  # that the network computes in; parameters are float32
                remat="none",  # or blocks: less memory, a third more work
                loss_scale="none",  # or dynamic, for float16
                freeze=(),  # regular expressions of parameter paths, e.g. ^text/
                init_from="",  # a model directory
                redraw=(),  # regular expressions of what is not taken from it but drawn anew
                max_nonfinite_in_a_row=10,
            ),
            log=dict(
                every_steps=100,
                sample_every_steps=5000,  # 0 for never
                checkpoint_every_steps=2000,
                keep=2,  # newest checkpoints, besides the best
                prompts=(),  # of the sample grid; none: the first captions of the data
                guidance_scale=3.0,
                sample_steps="50",
                peak_tflops=0.0,  # of one device, for MFU; 0: looked up by the device's name
            ),
            mesh=dict(  # of devices; see glide_jax/sharding.py
                data=-1,  # that the batch is split over; -1: those that are left
                fsdp=1,  # and over which parameters, averages and moments are spread
                tensor=1,  # over which the work inside a layer is
                slices=1,  # of a TPU pod, that `data` goes over first
            ),
        )
    )
