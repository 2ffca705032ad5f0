"""Models of a second: every part that a real one has, a few channels wide, weights by a seed."""

import dataclasses
import pathlib
import zlib

import numpy as np

from glide_jax.model_dir import reading, schema, writing
from glide_jax.networks import initial, zoo
from glide_jax.tokenizers import ClipBPE, SentencePiece
from glide_jax.trees import flatten, unflatten

CAPTIONS = (
    "a large red circle on a white background",
    "two blue stars on a black background",
    "a small green square left of a yellow ring",
)
BASE = zoo.ModelConfig(
    image_size=16,
    channels=32,
    channel_mult=(1, 2),
    res_blocks=1,
    attention=(8,),
    head_channels=16,
    resblock_updown=False,
    dropout=0.0,
    text_width=32,
    text_layers=1,
    text_heads=2,
    text_context=12,
    vocab_size=300,
)
UPSAMPLE = zoo.ModelConfig(
    image_size=32,
    channels=32,
    channel_mult=(1,),
    res_blocks=1,
    attention=(),
    head_channels=32,
    patch=2,
    dropout=0.0,
    text_width=32,
    text_layers=1,
    text_heads=2,
    text_context=12,
    vocab_size=300,
    upsampler=True,
)
CLIP = zoo.ClipConfig(
    image_size=16,
    image_width=32,
    image_layers=1,
    image_heads=2,
    text_width=32,
    text_layers=1,
    text_heads=2,
    vocab_size=49_408,
    embedding_width=32,
)


def weights(config: zoo.ModelConfig | zoo.ClipConfig) -> dict:
    """Small numbers for every parameter, so that no part of the network is idle."""

    def fill(path: str, shape: tuple[int, ...]) -> np.ndarray:
        noise = np.random.default_rng(zlib.crc32(path.encode())).standard_normal(shape)
        fan_in = max(1, int(np.prod(shape[:-1])))
        scale = 0.1 if len(shape) < 2 or "embedding" in path else fan_in**-0.5
        return np.float32(noise * scale + ("scale" in path))

    shapes = flatten(initial.shapes(config))
    return unflatten({path: fill(path, leaf.shape) for path, leaf in shapes.items()})


def model(name: str, *, inpaint: bool = False, upsample: bool = True, clip: bool = False):
    """A `reading.Model`: base, upsampler and CLIP as asked for."""
    sampling = {
        "base": dict(steps="4", guidance_scale=3.0),
        "upsample": dict(steps="3", sampler="ddim", guidance_scale=1.0),
    }
    configs = {"base": BASE, "upsample": UPSAMPLE} if upsample else {"base": BASE}
    stages = {}
    for stage, config in configs.items():
        config = dataclasses.replace(config, inpaint=inpaint)
        stages[stage] = (schema.StageConfig(config, sampling=sampling[stage]), weights(config))
    tokenizer = SentencePiece.train(CAPTIONS, 300)
    return reading.Model(
        name, tokenizer, stages, (CLIP, ClipBPE(), weights(CLIP)) if clip else None
    )


def save(folder: pathlib.Path, name: str, **parts: bool) -> pathlib.Path:
    """The model directory `folder`/`name`."""
    writing.write_model(folder / name, model(name, **parts), card=f"# {name}\n")
    return folder / name
