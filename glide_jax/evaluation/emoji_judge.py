"""Whether an emoji shows what its caption names, in the eyes of a reader that taught no generator.

Kernel ridge regression leads from MobileNetV2's features of a picture to MiniLM's vector of its
caption. Both networks come in packages, and neither is a teacher of any loss here. It is no CLIP:
it is fitted on emoji alone, and is to be quoted beside what it makes of real ones.
"""

import contextlib
import dataclasses
import functools
import hashlib
import json
import pathlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8

from glide_jax.data import catalogue
from glide_jax.data.example import Example, Rejected, Source
from glide_jax.data.recipes.rendering import reduce
from glide_jax.data.transforms import center_crop
from glide_jax.evaluation.features import minilm, mobilenet
from glide_jax.evaluation.features.extractor import Features, collect, extract
from glide_jax.evaluation.protocols import choose
from glide_jax.files import replacing
from glide_jax.types import Params

NAME = f"{mobilenet.NAME}-to-{minilm.NAME}"
SIDE = 64  # pixels at which every picture is read, so that an upsampler changes nothing
LOOK = 128  # pixels to which the network's input is enlarged
GAMMA = 3.0  # how fast the likeness of two pictures falls with the angle between their features
RIDGE = 0.1  # the penalty: of 1, a picture's likeness to itself
FLOOR = 0.1  # directions of captions with less than this part of the largest variance are small
WITHHELD = 500  # training pictures that it is not fitted on: the protocol's prompts are of them

Progress = Callable[[int, int], None]


@dataclasses.dataclass(frozen=True)
class EmojiJudge:
    """Predicted vectors of pictures (`images.pool`), and the vectors of captions."""

    images: Features
    sentences: minilm.Sentences
    centre: Float[np.ndarray, " e"]  # the mean caption
    whiten: Float[np.ndarray, "e e"]  # weighs the directions in which captions differ alike

    def look(self, pictures: Iterable[UInt8[np.ndarray, "h w 3"]]) -> Float[np.ndarray, "n d"]:
        """Predicted vectors of square pictures of one size; larger ones are read at SIDE."""
        return collect(extract(self.images, (reduce(one, SIDE) for one in pictures))).pool

    def texts(self, captions: Sequence[str]) -> Float[np.ndarray, "n d"]:
        """Vectors of captions, of any length, next to which a picture's can be laid."""
        return (self.sentences(captions) - self.centre) @ self.whiten


class Fit(NamedTuple):
    """The relation of n pictures with d features and their captions' vectors of length e."""

    feature: Float[np.ndarray, " d"]  # the mean of the pictures
    known: Float[np.ndarray, "n d"]  # the pictures about it, as unit vectors
    coefficients: Float[np.ndarray, "n e"]
    centre: Float[np.ndarray, " e"]
    whiten: Float[np.ndarray, "e e"]


def fit(features: Float[np.ndarray, "n d"], vectors: Float[np.ndarray, "n e"]) -> Fit:
    """Kernel ridge regression with exp(GAMMA (cos - 1)), in float64, to whitened vectors.

    Without whitening most of a caption's vector is what all emoji have in common. Directions of
    little variance are mostly noise, hence FLOOR.

    Args:
        features: one row for each picture.
        vectors: one row for the captions of each, in the same order.
    """
    x, y = np.asarray(features, np.float64), np.asarray(vectors, np.float64)
    feature, centre = x.mean(axis=0), y.mean(axis=0)
    known = x - feature
    known /= np.linalg.norm(known, axis=1, keepdims=True).clip(min=1e-12)
    values, directions = np.linalg.eigh(np.cov(y.T, bias=True))
    whiten = directions / np.sqrt(values.clip(min=FLOOR * values.max()))
    likeness = np.exp(GAMMA * (known @ known.T - 1.0))
    likeness[np.diag_indices_from(likeness)] += RIDGE
    coefficients = np.linalg.solve(likeness, (y - centre) @ whiten)
    found = (feature, known, coefficients, centre, whiten)
    return Fit(*(array.astype(np.float32) for array in found))


def open_judge(data_dir: pathlib.Path, progress: Progress = lambda done, total: None) -> EmojiJudge:
    """The judge, fitted on the emoji of training and their captions.

    Reading every picture takes minutes, so what comes of it is kept in `data_dir`/judges, under a
    name that the pictures and captions decide.

    Args:
        data_dir: where the set is built and packages are kept.
        progress: called with the pictures read and the number of all.

    Raises:
        InputError: the set is not built, or a package cannot be fetched.
    """
    source = catalogue.open_source("emoji", split="train", image_size=SIDE, data_dir=data_dir)
    examples = fitting_examples(source)
    eyes, sentences = mobilenet.load_mobilenet(data_dir, LOOK), minilm.load_minilm(data_dir)
    file = data_dir / "judges" / f"{NAME}-{_sum_of(examples)[:16]}.npz"
    if not file.exists():
        pictures = _counted([example.image for example in examples], progress)
        features = collect(extract(eyes, pictures)).pool
        fitted = fit(features, caption_vectors(examples, sentences))
        with replacing(file) as temporary, open(temporary, "wb") as target:
            np.savez(target, allow_pickle=False, **fitted._asdict())
    with np.load(file) as kept:
        return judge_of(eyes, sentences, Fit(**kept))


def judge_of(eyes: Features, sentences: minilm.Sentences, fitted: Fit) -> EmojiJudge:
    """A judge from its parts.

    Args:
        eyes: the extractor whose features were fitted.
        sentences: the encoder of captions.
        fitted: the relation between the two.
    """
    digest = hashlib.sha256(eyes.sha256.encode())
    for array in fitted:
        digest.update(np.ascontiguousarray(array).tobytes())
    params = {"eyes": eyes.params, **fitted._asdict()}
    images = Features(
        NAME, digest.hexdigest(), SIDE, params, functools.partial(_predict, eyes.apply)
    )
    return EmojiJudge(images, sentences, fitted.centre, fitted.whiten)


def _counted(pictures: Sequence[np.ndarray], progress: Progress) -> Iterator[np.ndarray]:
    for done, picture in enumerate(pictures, 1):
        yield picture
        progress(done, len(pictures))


def _predict(eyes: Callable[..., Any], params: Params, images: UInt8[Array, "b h w 3"]):
    x = eyes(params["eyes"], images)[0] - params["feature"]
    x /= jnp.linalg.norm(x, axis=1, keepdims=True).clip(min=1e-12)
    product = functools.partial(jnp.matmul, precision="highest")
    likeness = jnp.exp(GAMMA * (product(x, params["known"].T) - 1.0))
    return product(likeness, params["coefficients"]), None, None


def fitting_examples(source: Source) -> list[Example]:
    """The usable examples but those that `protocols.emoji_protocol` takes its prompts from first.

    A picture of the training set thus is as new to the judge as a withheld one.
    """
    withheld = {i for _, i in choose("emoji", source, min(WITHHELD, len(source) // 2))}
    examples = []
    for i in range(len(source)):
        with contextlib.suppress(Rejected):
            if i not in withheld:
                example = source[i]
                examples.append(example._replace(image=center_crop(example.image, SIDE)))
    return examples


def caption_vectors(
    examples: Sequence[Example], sentences: minilm.Sentences
) -> Float[np.ndarray, "n d"]:
    """The mean vector of each example's captions."""
    vectors = sentences([caption for example in examples for caption in example.captions])
    ends = np.cumsum([len(example.captions) for example in examples])[:-1]
    return np.stack([part.mean(axis=0) for part in np.split(vectors, ends)])


def _sum_of(examples: Sequence[Example]) -> str:
    """Decides the fit, beside this code: pictures, captions, networks and constants."""
    about = [NAME, mobilenet.PACKAGE.sha256, minilm.PACKAGE.sha256, LOOK, GAMMA, RIDGE, FLOOR]
    digest = hashlib.sha256(json.dumps(about).encode())
    for example in examples:
        digest.update(json.dumps(example.captions).encode())
        digest.update(example.image.tobytes())
    return digest.hexdigest()
