"""Sets written once as TFDS datasets in ArrayRecord files; TensorFlow is not needed.

A set's name is a recipe and a size, such as emoji_64. A recipe gives one source for each split;
its pictures are shrunk by area, repeated ones are left out, and the rest is written in an order
that only the names decide. A set is whole or absent: it is written beside its
place and moved there at the end.
"""

import contextlib
import hashlib
import io
import pathlib
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple

import numpy as np
import tensorflow_datasets as tfds
from numpy.typing import NDArray
from PIL import Image

from glide_jax.data import catalogue
from glide_jax.data.example import Rejected, Source
from glide_jax.data.readers import built, shapes
from glide_jax.data.readers.procedural import Scenes
from glide_jax.data.recipes import clipart, emoji, rendering
from glide_jax.data.recipes.packages import locked
from glide_jax.data.recipes.packing import Progress
from glide_jax.errors import InputError
from glide_jax.extras import extra

SIZES = {"shapes_64": 50_000, "shapes_256": 10_000}  # default pictures of the train split
NAMES = tuple(f"{name}_{side}" for name in catalogue.SETS for side in catalogue.SIDES)

_COCO = (
    "COCO captions (2017): annotations CC BY 4.0 by the COCO Consortium; the photographs belong to "
    "their authors on Flickr, under the licence that the annotations give for each."
)
_FORMATS: dict[int, Literal["PNG", "WEBP"]] = {64: "PNG", 256: "WEBP"}
_HELD_OUT_SHAPES = 2_000
_SEEDS = {"train": 0, "held_out": 1}  # the splits of shapes


class Recipe(NamedTuple):
    """The origin of a set: a source for each split, those withheld from training first."""

    splits: Mapping[str, Source]
    attribution: str
    rejected: Mapping[str, int] = {}  # what had been left out before


class Pairs(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[call-arg]
    """The TFDS builder of every set; `name` is the set's, such as emoji_64."""

    VERSION = tfds.core.Version(built.VERSION)
    url_infos = {}  # noqa: RUF012  TFDS downloads nothing; finding its list of sums takes a package

    def __init__(
        self, name: str, recipe: Recipe, data_dir: pathlib.Path, progress: Progress | None = None
    ):
        self.name = name  # pyright: ignore[reportAttributeAccessIssue]
        self.recipe, self.progress = recipe, progress
        self.side = _side(name)
        self.rejected: Counter[str] = Counter(recipe.rejected)
        self._seen: set[bytes] = set()
        super().__init__(data_dir=data_dir, file_format="array_record")

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description=f"Captioned pictures, {self.side} pixels on the shorter side.",
            license=self.recipe.attribution,
            features=tfds.features.FeaturesDict(
                {
                    # Bytes go in as they are; arrays would be encoded by TensorFlow.
                    "image": tfds.features.Image(shape=(None, None, 3)),
                    "captions": tfds.features.Sequence(tfds.features.Text()),
                    "name": tfds.features.Text(),
                }
            ),
            # `rejected` goes on counting; it is written when all splits are.
            metadata=tfds.core.MetadataDict(
                rejected=self.rejected, attribution=self.recipe.attribution
            ),
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Iterator]:
        wanted = [split for split, source in self.recipe.splits.items() if len(source)]
        return {split: self._generate_examples(split) for split in wanted}

    def _generate_examples(self, split: str) -> Iterator[tuple[str, dict[str, Any]]]:
        source, usable = self.recipe.splits[split], 0
        for index in range(len(source)):
            if self.progress:
                self.progress(split, index, len(source))
            try:
                example = source[index]
                self._refuse_twins(example.image, example.name)
            except Rejected as rejected:
                self.rejected[rejected.reason] += 1
                continue
            usable += 1
            image = _encode(rendering.reduce(example.image, self.side), _FORMATS[self.side])
            yield (
                example.name,
                {"image": image, "captions": list(example.captions), "name": example.name},
            )
        if not usable:
            reasons = ", ".join(f"{count} {why}" for why, count in self.rejected.items())
            raise InputError(f"no picture of {self.name}'s split {split} is usable: {reasons}.")
        if self.progress:
            self.progress(split, len(source), len(source))

    def _refuse_twins(self, image: NDArray[np.uint8], name: str) -> None:
        # At 64 pixels, so that the sets of both sizes hold the same pictures.
        small = rendering.reduce(image, 64)
        digest = hashlib.sha256(repr(small.shape).encode() + small.tobytes()).digest()
        if digest in self._seen:
            raise Rejected("exact duplicate", name)
        self._seen.add(digest)


def build(
    name: str,
    data_dir: pathlib.Path,
    *,
    size: int = 0,
    path: str = "",
    progress: Progress | None = None,
) -> pathlib.Path:
    """Builds a set if it is not there, and returns its folder; a second process waits.

    Args:
        name: one of NAMES.
        data_dir: where sets are built.
        size: pictures in the train split of shapes; 0 for the set's default.
        path: COCO's own folder, which holds annotations, train2017 and val2017.
        progress: called with (split, pictures done, pictures in all).

    Raises:
        InputError: there is no such set, or what it is made of is missing.
    """
    if name not in NAMES:
        raise InputError(f"there is no set {name!r}; known are {', '.join(NAMES)}.")
    if size and not name.startswith("shapes"):
        raise InputError(f"size is {size}, but only the shapes sets have a size to choose.")
    extra("array_record")  # before the work that it would be missed after
    folder = data_dir / name / built.VERSION
    with locked(data_dir / f".{name}.lock"):
        if (folder / built.INFO).exists():
            there = built.split_lengths(folder)["train"]
            if size and size != there:
                raise InputError(
                    f"size is {size}, but {folder} is built with {there} pictures: delete it to "
                    "build anew."
                )
            return folder
        for left in folder.parent.glob(f"incomplete.*_{built.VERSION}"):
            shutil.rmtree(left)  # a build that was killed left it; the lock proves that it is over
        builder = Pairs(name, _recipe(name, data_dir, size, path), data_dir, progress)
        tfds.disable_progress_bar()  # `progress` is the caller's
        config = tfds.download.DownloadConfig(try_download_gcs=False)
        with (
            contextlib.redirect_stdout(io.StringIO()),  # only the command line prints
            tempfile.TemporaryDirectory() as downloads,  # TFDS makes none
        ):
            builder.download_and_prepare(download_dir=downloads, download_config=config)
    return folder


def _recipe(name: str, data_dir: pathlib.Path, size: int, path: str) -> Recipe:
    kind, side = name.rsplit("_", 1)[0], _side(name)
    if kind == "shapes":
        size = size or SIZES[name]
        counts = {"held_out": min(_HELD_OUT_SHAPES, max(1, size // 10)), "train": size}
        scenes = {
            split: Scenes(side, split, _SEEDS[split], shapes.KINDS, n)
            for split, n in counts.items()
        }
        return Recipe(scenes, "Coloured shapes drawn by glide_jax, MIT.")
    if kind == "coco":
        return _coco(path)
    large = data_dir / f"{kind}_{catalogue.SIDES[-1]}" / built.VERSION
    if side < catalogue.SIDES[-1] and (large / built.INFO).exists():
        # Drawn already: the same pictures only need to be made smaller.
        notes = built.notes(large)
        splits = {split: built.Built(large, split) for split in built.split_lengths(large)}
        return Recipe(splits, notes["attribution"], notes["rejected"])
    if kind == "clipart":
        return Recipe(clipart.splits(data_dir), clipart.attribution())
    people = kind != "emoji_no_people"
    return Recipe(emoji.splits(data_dir, people=people), emoji.attribution())


def _coco(path: str) -> Recipe:
    from glide_jax.data.readers import coco

    if not path:
        raise InputError(
            "coco needs COCO's own folder, with annotations, train2017 and val2017 in it: give it "
            "with --path, and --download if it is to be fetched."
        )
    there = [s for s in ("val", "train") if (pathlib.Path(path) / f"{s}2017").is_dir()]
    splits = {split: coco.Coco(path, split) for split in there or ["train"]}
    return Recipe(splits, _COCO)


def _side(name: str) -> int:
    return int(name.rsplit("_", 1)[1])


def _encode(image: NDArray[np.uint8], kind: Literal["PNG", "WEBP"]) -> bytes:
    """Encodes a picture without loss; WebP takes half the room of PNG where that matters."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format=kind, lossless=True)
    return buffer.getvalue()
