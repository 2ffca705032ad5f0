"""One run of a protocol: draws its pictures, judges and measures them, and writes the result."""

import dataclasses
import functools
import hashlib
import itertools
import pathlib
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
from jaxtyping import UInt8

from glide_jax.compiling import in_usual_numbers
from glide_jax.errors import InputError
from glide_jax.evaluation import (
    caption_scores,
    distances,
    diversity,
    draws,
    shapes_judge,
    shapes_scores,
)
from glide_jax.evaluation.emoji_judge import EmojiJudge
from glide_jax.evaluation.features.clip import Clip
from glide_jax.evaluation.features.extractor import Features, Outputs, collect, extract
from glide_jax.evaluation.protocols import Protocol
from glide_jax.evaluation.report import write_json
from glide_jax.sampling.glide import Glide
from glide_jax.version import __version__

Progress = Callable[[str, int, int], None]  # task, pictures done, pictures in all
MOST_ON_SHEET = 64

_NOT_SAMPLING = ("prompt", "index", "model_path")  # parameters that differ within a run


@dataclasses.dataclass
class Evaluator:
    """A protocol and its judges; the reference pictures are read once for all runs.

    Attributes:
        protocol: the prompts and the reference pictures.
        features: the extractor, or None to compare no distributions.
        clip: a CLIP that scores pictures against their captions, or None.
        alignment: a judge of emoji that does the same, or None.
    """

    protocol: Protocol
    features: Features | None = None
    clip: Clip | None = None
    alignment: EmojiJudge | None = None
    _references: dict[int, tuple[Outputs, str]] = dataclasses.field(default_factory=dict)

    @in_usual_numbers
    def run(
        self,
        glide: Glide,
        folder: pathlib.Path,
        options: dict[str, Any],
        *,
        batch_size: int,
        progress: Progress = lambda task, done, total: None,
    ) -> dict[str, Any]:
        """Draws missing pictures, computes everything from the files, writes result.json.

        Nothing is carried over from drawing to measuring, so stopping and starting again, however
        often, changes nothing in the result but the seconds.

        Args:
            glide: the model.
            folder: the run's folder.
            options: sampling options, which override the protocol's own.
            batch_size: pictures drawn at once.
            progress: called after every batch or picture.

        Raises:
            InputError: an option is wrong, or a file of the run is damaged.
        """
        began, protocol = time.monotonic(), self.protocol
        options, n = {**protocol.fixed(glide), **options}, len(protocol.prompts)
        draw = functools.partial(
            draws.draw_missing, glide, protocol.prompts, folder, options,
            batch_size=batch_size, progress=functools.partial(progress, "draw"),
        )  # fmt: skip
        reference, reference_sha256 = None, ""
        if self.features is not None:
            # Checks after one batch that there are reference pictures of this size.
            draw(part=(0, -(-n // batch_size)))
            side = next(draws.read_drawn(folder, 1)).shape[0]
            reference, reference_sha256 = self._reference(self.features, side, progress)
        draw()
        drawn = functools.partial(draws.read_drawn, folder, n)
        [parameters] = glide.parameters(protocol.prompts[:1], **options, batch_size=batch_size)
        result: dict[str, Any] = {
            "protocol": protocol.name,
            "glide_jax": __version__,
            "prompts_sha256": protocol.prompts_sha256,
            "n": n,
            "sampling": {k: v for k, v in parameters.items() if k not in _NOT_SAMPLING},
            "samples_sha256": _sum_of_pixels(folder, n),
        }
        if protocol.filtered:
            result["filtered"] = protocol.filtered
        if protocol.judged:
            verdicts = map(shapes_judge.judge_caption, drawn(), protocol.prompts)
            result["shapes"] = shapes_scores.tally(verdicts, protocol.groups)
            if len(set(protocol.prompts)) < n:
                result["diversity"] = diversity.measure_spread(drawn(), protocol.prompts)
        if self.features is not None and reference is not None:
            result["reference_sha256"] = reference_sha256
            report = lambda done: progress("features", done, n)
            pictures = _counted(drawn(), report)
            generated = collect(extract(self.features, pictures))
            result["features"] = distances.compare_sets(self.features, generated, reference)
        if self.clip is not None:
            result["clip"] = caption_scores.by_clip(self.clip, drawn(), protocol)
        if self.alignment is not None:
            result["alignment"] = caption_scores.by_judge(self.alignment, drawn(), protocol)
        result["seconds"] = round(time.monotonic() - began)
        write_json(folder / "result.json", result)
        return result

    def _reference(self, features: Features, side: int, progress: Progress) -> tuple[Outputs, str]:
        """The reference at a side in pixels, and the sum of its pixels."""
        if side not in self._references:
            digest = hashlib.sha256()

            def read() -> Iterator[np.ndarray]:
                for picture in self.protocol.reference(side):
                    digest.update(picture.tobytes())
                    yield picture

            pictures = _counted(read(), lambda done: progress("reference", done, 0))
            if (first := next(pictures, None)) is None:
                raise InputError(
                    f"no picture of the reference has {side} pixels a side, as those drawn have; "
                    "give larger ones, or draw with --no-upsample."
                )
            batches = extract(features, itertools.chain([first], pictures))
            self._references[side] = collect(batches), digest.hexdigest()
        return self._references[side]


def scalars_of(result: dict[str, Any]) -> dict[str, float]:
    """The numbers of a result that curves can be drawn from."""
    parts = {**result.get("features", {}), **result.get("clip", {})}
    scalars = {key: value for key, value in parts.items() if isinstance(value, float)}
    judged = result.get("alignment", {})
    scalars |= {f"alignment_{k}": v for k, v in judged.items() if isinstance(v, float)}
    for aspect, share in result.get("shapes", {}).get("*", {}).items():
        scalars[f"{aspect}_right"] = share["share"]
    for aspect, spread in result.get("diversity", {}).get("spread", {}).items():
        scalars[f"{aspect}_spread"] = spread["ratio"]
    return scalars


def write_sheet(folder: pathlib.Path, prompts: tuple[str, ...]) -> None:
    """Writes a run's sheet.png: pictures at even distances, since prompts lie in groups."""
    n = min(MOST_ON_SHEET, len(prompts))
    chosen: list[int] = np.linspace(0, len(prompts) - 1, n).round().astype(int).tolist()
    draws.write_contact_sheet(folder, prompts, chosen)


def _sum_of_pixels(folder: pathlib.Path, n: int) -> str:
    digest, shape = hashlib.sha256(), None
    for i, image in enumerate(draws.read_drawn(folder, n)):
        shape = shape or image.shape
        if image.shape != shape:
            raise InputError(f"{str(draws.path_of(folder, i))!r} has another size than others.")
        digest.update(image.tobytes())
    return digest.hexdigest()


def _counted(
    pictures: Iterable[UInt8[np.ndarray, "h w 3"]], report: Callable[[int], None]
) -> Iterator[UInt8[np.ndarray, "h w 3"]]:
    """Passes pictures on and reports the number of each."""
    for i, picture in enumerate(pictures, 1):
        report(i)
        yield picture
