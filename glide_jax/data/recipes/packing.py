"""A built set as a few Parquet files, small enough to travel to a machine without a network.

The `parquet` source reads them, and needs neither TFDS nor ArrayRecord.
"""

import io
import itertools
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

from PIL import Image

from glide_jax import files
from glide_jax.data.readers import built
from glide_jax.extras import extra

_KEPT = 6144  # bytes up to which a picture stays without loss; flat art nearly always does
_QUALITY = 95  # for the rest, whose soft shading takes three times the room without loss
_GROUP = 512  # rows that are read together

Progress = Callable[[str, int, int], None]  # split, pictures done, pictures in all


def pack(
    folder: pathlib.Path, out: pathlib.Path, progress: Progress | None = None
) -> list[pathlib.Path]:
    """Writes SPLIT.parquet for each split of a built set, and its attribution as README.md.

    Pictures of many colours lose a little (WebP at quality 95): nothing visible at their own size,
    and less once they are shrunk.

    Args:
        folder: one version of a built set.
        out: the folder to write to.
        progress: called with (split, pictures done, pictures in all).

    Returns:
        The Parquet files.
    """
    paths = []
    for split in built.split_lengths(folder):
        paths.append(out / f"{split}.parquet")
        _write(built.Built(folder, split), paths[-1], progress)
    with files.replacing(out / "README.md") as temporary:
        temporary.write_text(f"{built.notes(folder).get('attribution', '')}\n", encoding="utf-8")
    return paths


def _write(source: built.Built, path: pathlib.Path, progress: Progress | None) -> None:
    def rows() -> Iterator[dict[str, Any]]:
        for done in range(1, len(source) + 1):
            record = source.record(done - 1)
            yield {**record, "image": _small(record["image"])}
            if progress:
                progress(source.split, done, len(source))

    write_rows(rows(), path)


def write_rows(rows: Iterator[dict[str, Any]], path: pathlib.Path) -> None:
    """Writes encoded pictures ("image"), their "captions" and "name" as one Parquet file."""
    arrow, parquet = extra("pyarrow"), extra("pyarrow.parquet")
    texts = arrow.list_(arrow.string())
    schema = arrow.schema(
        {"image": arrow.binary(), "captions": texts, "name": arrow.string()}.items()
    )
    options = {"compression": {"captions": "zstd"}, "use_dictionary": False}
    with (
        files.replacing(path) as temporary,
        parquet.ParquetWriter(temporary, schema, **options) as writer,
    ):
        while group := list(itertools.islice(rows, _GROUP)):
            writer.write_table(arrow.Table.from_pylist(group, schema))


def _small(image: bytes) -> bytes:
    if len(image) <= _KEPT:
        return image
    buffer = io.BytesIO()
    with Image.open(io.BytesIO(image)) as picture:
        picture.save(buffer, format="WEBP", quality=_QUALITY, method=6, use_sharp_yuv=True)
    return min(image, buffer.getvalue(), key=len)
