"""Protocols: prompts in a frozen order, and the reference pictures they are compared with."""

import contextlib
import dataclasses
import functools
import hashlib
import json
import pathlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from jaxtyping import UInt8

from glide_jax import checks
from glide_jax.data import catalogue
from glide_jax.data.example import Rejected, Source
from glide_jax.data.readers import shapes
from glide_jax.data.readers.coco import Coco
from glide_jax.data.readers.folder import Folder
from glide_jax.data.recipes import emoji
from glide_jax.data.transforms import center_crop
from glide_jax.errors import InputError
from glide_jax.evaluation import coco_filter, shapes_judge
from glide_jax.sampling.glide import Glide
from glide_jax.sampling.outline import Outline

NAMES = ("shapes", "folder", "emoji", "emoji_flat", "coco30k", "shapes_repeats")
COCO_CAPTIONS = 30_000
REPEATS = 4  # pictures of each caption of `shapes_repeats`
_SHAPES_STREAM = 2**31  # a stream of random numbers apart from those of training

Pictures = Callable[[int], Iterator[UInt8[np.ndarray, "s s 3"]]]


@dataclasses.dataclass(frozen=True)
class Protocol:
    """Everything that a result depends on besides the model and how it is sampled.

    Attributes:
        name: with a version, which changes whenever prompts or reference do.
        prompts: in order; picture i of a run is of prompt i.
        groups: each prompt's group, for results by group; "" where there are none.
        reference: makes the reference pictures at a side in pixels, in order.
        sampling: sampling options that the protocol fixes unless they are given.
        judged: whether the shapes judge reads the pictures.
        filtered: the filter of the set and what it left out, with sums; empty without a filter.
    """

    name: str
    prompts: tuple[str, ...]
    groups: tuple[str, ...]
    reference: Pictures
    sampling: dict[str, Any] = dataclasses.field(default_factory=dict)
    judged: bool = False
    filtered: dict[str, Any] = dataclasses.field(default_factory=dict)

    def fixed(self, model: Glide | Outline) -> dict[str, Any]:
        """The options that the protocol fixes for a model; a distilled one's steps are its own."""
        options = dict(self.sampling)
        if "steps" in options and model.loaded.stages["base"].distilled:
            del options["steps"]
        return options

    @property
    def prompts_sha256(self) -> str:
        """The sum of the prompts as a JSON list, so that it can be made anew anywhere."""
        return hashlib.sha256(json.dumps(self.prompts).encode()).hexdigest()


def open_protocol(
    name: str,
    *,
    n: int | str | None = None,
    path: str | None = None,
    data_dir: pathlib.Path | None = None,
    filtered: str | None = None,
) -> Protocol:
    """A protocol by its name.

    Args:
        name: one of NAMES.
        n: captions of each kind and split for shapes and shapes_repeats (50), of each split for
            emoji (200), in all for the others (1000).
        path: the folder of `folder`, or COCO's own.
        data_dir: where built sets lie.
        filtered: the part left out of coco30k; see `coco_filter.apply_filter`.

    Raises:
        InputError: there is no such protocol, or its data is missing.
    """
    checks.one_of("protocol", name, NAMES)
    count = None if n is None else checks.whole("n", n, 1, 1_000_000)
    if name in ("folder", "coco30k") and not path:
        raise InputError(f"protocol {name!r} compares with pictures of yours; say where: --path.")
    if filtered is not None and name != "coco30k":
        raise InputError(f"filtered is of protocol 'coco30k' and of none else, such as {name!r}.")
    if name == "folder":
        return _folder_protocol(Folder(path or ""), count or 1000)
    if name in ("emoji", catalogue.FLAT):
        return emoji_protocol(data_dir, count or 200, name)
    if name == "coco30k":
        source = Coco(path or "", "val", year=2014)
        kept = None if filtered is None else coco_filter.apply_filter(filtered, source, path or "")
        return coco_protocol(source, count or COCO_CAPTIONS, kept)
    return (shapes_repeats_protocol if name == "shapes_repeats" else shapes_protocol)(count or 50)


def shapes_protocol(n: int) -> Protocol:
    """The first n different captions of each kind and split, and newly drawn scenes of them.

    Where a kind has fewer (48 of a single object are held out), all of them.
    """
    prompts, groups, scenes = [], [], []
    for split in ("train", "held_out"):
        for kind in shapes.KINDS:
            rng = np.random.default_rng(_SHAPES_STREAM)
            drawn: dict[str, shapes.Scene] = {}
            while len(drawn) < min(n, _caption_counts(split)[kind]):
                scene = shapes.sample_scene(rng, split=split, kinds=(kind,))
                drawn.setdefault(shapes.caption(scene), scene)
            prompts += drawn
            groups += [f"{split}/{kind}"] * len(drawn)
            scenes += drawn.values()
    reference = lambda side: (shapes.render(scene, side) for scene in scenes)
    return Protocol("shapes/1", tuple(prompts), tuple(groups), reference, judged=True)


def shapes_repeats_protocol(n: int) -> Protocol:
    """The captions of `shapes_protocol`, each drawn several times: how much pictures of one differ.

    The reference is as many newly drawn scenes of each.
    """
    once = shapes_protocol(n)
    prompts = tuple(prompt for prompt in once.prompts for _ in range(REPEATS))
    groups = tuple(group for group in once.groups for _ in range(REPEATS))

    def reference(side: int) -> Iterator[UInt8[np.ndarray, "s s 3"]]:
        for i, prompt in enumerate(prompts):
            rng = np.random.default_rng((_SHAPES_STREAM, i))
            scene = shapes.scene_of(shapes_judge.parse_caption(prompt), rng)
            yield shapes.render(scene, side)

    return Protocol("shapes_repeats/1", prompts, groups, reference, judged=True)


@functools.cache
def _caption_counts(split: str) -> Counter[str]:
    """How many different captions of shapes each kind has."""
    specs = map(shapes.parse, shapes.captions(split))
    return Counter(spec.kind for spec in specs if spec is not None)


def _folder_protocol(source: Source, n: int) -> Protocol:
    """A caption of each of n pictures, chosen by the sum of their names; all are the reference."""
    prompts = tuple(caption for caption, _ in choose("folder/1", source, n))
    groups = ("",) * len(prompts)
    return Protocol("folder/1", prompts, groups, lambda side: _pictures(source, side))


def emoji_protocol(data_dir: pathlib.Path | None, n: int, name: str = "emoji") -> Protocol:
    """A caption of each of n emoji of training, of withheld (concept, style) pairs and concepts.

    Chosen by the sum of their names; the reference is those emoji themselves.

    Args:
        data_dir: where built sets lie.
        n: emoji of each split.
        name: emoji, or emoji_flat for those of `emoji_views.Flat`.

    Raises:
        InputError: the set is not built.
    """
    at = lambda split, side: catalogue.open_source(
        name, split=split, image_size=side, data_dir=data_dir
    )
    chosen = {
        split: choose(f"emoji, {split}", at(split, 64), n) for split in reversed(emoji.SPLITS)
    }
    prompts = [caption for pairs in chosen.values() for caption, _ in pairs]
    groups = [split for split, pairs in chosen.items() for _ in pairs]

    def reference(side: int) -> Iterator[UInt8[np.ndarray, "s s 3"]]:
        for split, pairs in chosen.items():  # sets of other sizes have the same order
            yield from _pictures(at(split, side), side, [i for _, i in pairs])

    version = {"emoji": 2}.get(name, 1)
    return Protocol(f"{name}/{version}", tuple(prompts), tuple(groups), reference)


def choose(name: str, source: Source, n: int) -> list[tuple[str, int]]:
    """Captions and numbers of n usable pictures, in an order that their names' sums decide.

    Args:
        name: the source's, for the message.
        source: the examples.
        n: pictures at the most.

    Raises:
        InputError: none can be used.
    """
    usable = []
    for i in range(len(source)):
        with contextlib.suppress(Rejected):
            example = source[i]
            order = hashlib.sha256(example.name.encode()).hexdigest()
            usable.append((order, example.captions[int(order[:8], 16) % len(example.captions)], i))
    if not usable:
        raise InputError(f"none of the pictures of {name} can be used; there must be one or more.")
    return [(caption, i) for _, caption, i in sorted(usable)[:n]]


def coco_protocol(
    source: Coco, n: int = COCO_CAPTIONS, kept: coco_filter.Filtered | None = None
) -> Protocol:
    """The paper's protocol: n captions of COCO's 2014 validation set against all its pictures.

    The paper does not say which 30,000 of the 202,654 captions were drawn, so the list is this
    project's own: the first of a permutation, by numpy's default generator of seed 0, of all
    captions in the order of their pictures' and their own numbers. Its sum is in the result.
    With a filter it is the same of the captions that are left, under a name of its own.

    Args:
        source: COCO's 2014 validation set.
        n: captions.
        kept: the pictures that a filter left.
    """
    everything = tuple(range(len(source)))
    reference = everything if kept is None else kept.reference
    lists = [source.caption_lists[i] for i in (everything if kept is None else kept.prompts)]
    captions = [text.strip() for texts in lists for text in texts]
    captions = [text for text in captions if text]
    order = np.random.default_rng(0).permutation(len(captions))[:n]
    prompts = tuple(captions[i] for i in order)
    name, about = "coco30k/1", {} if kept is None else kept.about
    if kept is not None:
        name += f" filtered {about['name']} {about['pictures_sha256'][:16]}"
    name += "" if n == COCO_CAPTIONS else f" (the first {n})"
    return Protocol(
        name,
        prompts,
        ("",) * len(prompts),
        lambda side: _pictures(source, side, reference),
        {"steps": "250"},
        filtered=about,
    )


def _pictures(
    source: Source, side: int, chosen: Sequence[int] | None = None
) -> Iterator[UInt8[np.ndarray, "s s 3"]]:
    """The middle squares of the chosen pictures, or of all, that can be used."""
    for i in range(len(source)) if chosen is None else chosen:
        with contextlib.suppress(Rejected):
            yield center_crop(source[i].image, side)
