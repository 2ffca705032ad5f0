"""A run of a protocol: draw, judge, measure, and say everything that the numbers depend on."""

import dataclasses
import functools
import hashlib
import itertools
import json
import pathlib
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from glide_jax import images
from glide_jax.errors import InputError
from glide_jax.evaluation import draws, measuring, metrics, shapes_judge, shapes_report
from glide_jax.evaluation.features import Features, extract
from glide_jax.evaluation.features.clip import Clip
from glide_jax.evaluation.protocols import Protocol
from glide_jax.files import replacing
from glide_jax.version import __version__
from launch.studies import diversity

Progress = Callable[[str, int, int], None]  # what, done, in all
MOST_ON_SHEET = 64


@dataclasses.dataclass(frozen=True)
class Judges:
    """Who looks at the pictures.

    Attributes:
        features: the extractor, or None to compare no distributions.
        clip: a CLIP that scores pictures against their captions, or None.
        batch_size: pictures at once.
    """

    features: Features | None = None
    clip: Clip | None = None
    batch_size: int = 32


class Reference:
    """A protocol's reference as one extractor sees it, read once for many runs."""

    def __init__(self, protocol: Protocol, judges: Judges):
        """Reads nothing yet."""
        self.protocol, self.judges = protocol, judges
        self._known: dict[int, tuple[measuring.Summary, str]] = {}

    def at(self, side: int, progress: Progress) -> tuple[measuring.Summary, str]:
        """The summary at a side, and the sum of the pictures' pixels."""
        if side not in self._known:
            assert self.judges.features is not None, "asked for by those who have one"
            digest = hashlib.sha256()

            def read() -> Iterator[np.ndarray]:
                for i, picture in enumerate(self.protocol.reference(side)):
                    digest.update(picture.tobytes())
                    progress("reference", i + 1, 0)
                    yield picture

            pictures = read()
            if (first := next(pictures, None)) is None:
                raise InputError(
                    f"no picture of the reference has {side} pixels a side, as those drawn have; "
                    "give larger ones, or draw with --no-upsample."
                )
            pictures = itertools.chain([first], pictures)
            batches = extract(self.judges.features, pictures, batch_size=self.judges.batch_size)
            self._known[side] = (measuring.summarise(batches), digest.hexdigest())
        return self._known[side]


def evaluate(
    drawer: draws.Drawer,
    protocol: Protocol,
    folder: pathlib.Path,
    options: dict[str, Any],
    reference: Reference,
    *,
    batch_size: int,
    progress: Progress = lambda what, done, total: None,
) -> dict[str, Any]:
    """Draws what is missing, computes everything from the files, and writes result.json.

    Nothing is carried over from drawing to measuring, so stopping and starting again, however
    often, changes nothing in the result but the seconds.

    Raises:
        InputError: an option is wrong, or a file of the run is damaged.
    """
    began, options = time.monotonic(), {**protocol.sampling, **options}
    tell = lambda what: lambda done, total: progress(what, done, total)
    n, judges = len(protocol.prompts), reference.judges
    draw = functools.partial(
        draws.draw, drawer, protocol.prompts, folder, options,
        batch_size=batch_size, progress=tell("draw"),
    )  # fmt: skip
    if judges.features is not None:
        # A reference that is missing is told of after one batch and not after all.
        draw(part=(0, -(-n // batch_size)))
        side = next(draws.read(folder, 1)).shape[0]
        summary, reference_sha256 = reference.at(side, progress)
    draw()
    [how] = drawer.parameters(protocol.prompts[:1], **options, batch_size=batch_size)
    result: dict[str, Any] = {
        "protocol": protocol.name,
        "glide_jax": __version__,
        "prompts_sha256": protocol.prompts_sha256,
        "n": n,
        "sampling": {key: value for key, value in how.items() if key not in draws.ELSEWHERE},
        "samples_sha256": _sum(folder, n),
    }
    if protocol.filtered:
        result["filtered"] = protocol.filtered
    if protocol.judged:
        verdicts = (
            shapes_judge.check(image, prompt)
            for image, prompt in zip(draws.read(folder, n), protocol.prompts, strict=True)
        )
        result["shapes"] = shapes_report.tally(verdicts, protocol.groups)
        if len(set(protocol.prompts)) < n:
            result["diversity"] = diversity.measure(draws.read(folder, n), protocol.prompts)
    if judges.features is not None:
        result["reference_sha256"] = reference_sha256
        pictures = _told(draws.read(folder, n), n, tell("features"))
        batches = extract(judges.features, pictures, batch_size=judges.batch_size)
        found = measuring.summarise(batches)
        result["features"] = measuring.compare(judges.features, found, summary)
    if judges.clip is not None:
        result["clip"] = _clip(judges.clip, folder, protocol, judges.batch_size)
    result["seconds"] = round(time.monotonic() - began)
    write_json(folder / "result.json", result)
    return result


def numbers(result: dict[str, Any]) -> dict[str, float]:
    """The scalars of a result that curves can be drawn of."""
    parts = {**result.get("features", {}), **result.get("clip", {})}
    found = {key: value for key, value in parts.items() if isinstance(value, float)}
    for aspect, share in result.get("shapes", {}).get("*", {}).items():
        found[f"{aspect}_right"] = share["share"]
    for aspect, spread in (result.get("diversity") or {}).get("spread", {}).items():
        found[f"{aspect}_spread"] = spread["ratio"]
    return found


def write_json(path: pathlib.Path, value: Any) -> None:
    """A JSON file, whole or absent."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def write_sheet(folder: pathlib.Path, prompts: Sequence[str]) -> pathlib.Path:
    """The first pictures of a run, unselected, with their prompts."""
    n = min(MOST_ON_SHEET, len(prompts))
    # Over all groups: every k-th, as prompts lie in groups.
    chosen: list[int] = np.linspace(0, len(prompts) - 1, n).round().astype(int).tolist()
    pictures = [images.read(draws.path_of(folder, i)) for i in chosen]
    sheet = images.contact_sheet(pictures, [prompts[i] for i in chosen], side=128)
    images.write_png(folder / "sheet.png", sheet, {"contact_sheet_of": chosen})
    return folder / "sheet.png"


def _sum(folder: pathlib.Path, n: int) -> str:
    digest = hashlib.sha256()
    shape = None
    for i, image in enumerate(draws.read(folder, n)):
        shape = shape or image.shape
        if image.shape != shape:
            raise InputError(f"{str(draws.path_of(folder, i))!r} has another size than others.")
        digest.update(image.tobytes())
    return digest.hexdigest()


def _told(
    pictures: Iterator[np.ndarray], n: int, progress: Callable[[int, int], None]
) -> Iterator[np.ndarray]:
    for i, picture in enumerate(pictures):
        progress(i + 1, n)
        yield picture


def _clip(clip: Clip, folder: pathlib.Path, protocol: Protocol, batch_size: int) -> dict[str, Any]:
    prompts, groups = protocol.prompts, np.array(protocol.groups)
    pictures = draws.read(folder, len(prompts))
    parts = extract(clip.images, pictures, batch_size=batch_size)
    found = np.concatenate([part.pool for part in parts])
    texts = clip.texts(prompts)
    candidates = min(100, len(set(prompts)))
    result: dict[str, Any] = {
        "extractor": {"name": clip.images.name, "sha256": clip.images.sha256},
        "clip_score": metrics.clip_score(found, texts),
        **metrics.retrieval(found, texts, prompts),
    }
    if candidates > 1:
        first = metrics.own_caption_first(found, texts, prompts, candidates=candidates)
        result |= {"r_precision": float(first.mean()), "r_precision_candidates": candidates}
        result["by_group"] = {
            name: {
                "clip_score": metrics.clip_score(found[groups == name], texts[groups == name]),
                "own_caption_first": shapes_report.share(
                    int(first[groups == name].sum()), int((groups == name).sum())
                ),
            }
            for name in dict.fromkeys(protocol.groups)
        }
    return result
