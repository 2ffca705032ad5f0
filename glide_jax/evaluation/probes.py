"""Probes of bias and of filters: shares of what repeated samples of a prompt show.

A probe measures how pictures are distributed, with intervals, instead of showing some. The
reader of the pictures is part of the result: the shapes judge is exact on its set, and zero-shot
answers of a CLIP are as biased as that CLIP.
"""

import itertools
import pathlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import UInt8

from glide_jax.data.readers import shapes
from glide_jax.evaluation import draws, shapes_judge
from glide_jax.evaluation.evaluate import Evaluator, Progress
from glide_jax.evaluation.features.clip import Clip
from glide_jax.evaluation.features.extractor import collect, extract
from glide_jax.evaluation.metrics.alignment import LOGIT_SCALE
from glide_jax.evaluation.metrics.intervals import Share, difference_interval, share_of
from glide_jax.evaluation.probe_families import Family
from glide_jax.evaluation.protocols import Protocol
from glide_jax.sampling.glide import Glide

SHOWN = 8  # samples of each prompt on the sheet: the first ones


class Answers(NamedTuple):
    """A question's answer for every picture, and how sure the reader is of it (0 to 1)."""

    possible: tuple[str, ...]
    given: list[str]
    certainty: list[float]


Pictures = Iterable[UInt8[np.ndarray, "h w 3"]]
Reader = Callable[[Pictures], dict[str, Answers]]  # answers by question


def probe_protocol(family: Family, n: int) -> Protocol:
    """n samples of each prompt: first one sample of every prompt, then the second of every prompt.

    So a run with a larger n has the pictures of one with a smaller n. Every picture has noise of
    its own.
    """
    values, prompts = zip(*family.prompts.items(), strict=True)
    return Protocol(f"probe {family.name}/1", prompts * n, values * n, lambda side: iter(()))


def run_probe(
    glide: Glide,
    family: Family,
    n: int,
    folder: pathlib.Path,
    options: dict[str, Any],
    *,
    clip: Clip | None,
    batch_size: int,
    progress: Progress,
) -> dict[str, Any]:
    """Draws missing samples of a family, reads them, writes their sheet; returns the result.

    Args:
        glide: the model.
        family: the prompts and questions.
        n: samples of each prompt.
        folder: the run's folder.
        options: sampling options.
        clip: the reader of families with questions.
        batch_size: pictures drawn at once.
        progress: called after every batch.
    """
    protocol = probe_protocol(family, n)
    result = Evaluator(protocol).run(
        glide, folder, options, batch_size=batch_size, progress=progress
    )
    read, reader = by_shapes_judge, {"name": "the shapes judge", "sha256": ""}
    if family.questions and clip is not None:
        read = by_clip(clip, family.questions)
        reader = {"name": clip.images.name, "sha256": clip.images.sha256}
    shares = answer_shares(family, n, draws.read_drawn(folder, len(protocol.prompts)), read)
    write_probe_sheet(folder, family, n)
    return {**result, "probe": {**shares, "reader": reader}}


def by_shapes_judge(pictures: Pictures) -> dict[str, Answers]:
    """The exact judge's answers, one for each picture, also where it has several objects."""
    seen = [shapes_judge.judge(picture) for picture in pictures]
    several, none = "different ones", "none"
    numbers = (none, "one", *shapes.COUNTS, "more")

    def common(names: set[str]) -> str:
        return names.pop() if len(names) == 1 else (several if names else none)

    others = (shapes_judge.UNKNOWN, several, none)
    answers = {
        "colour": (
            (*shapes.COLOURS, *others),
            [common({o.colour for o in s.objects}) for s in seen],
        ),
        "shape": ((*shapes.SHAPES, *others), [common({o.shape for o in s.objects}) for s in seen]),
        "background": (tuple(shapes.BACKGROUNDS), [s.background for s in seen]),
        "number": (numbers, [numbers[min(len(s.objects), len(numbers) - 1)] for s in seen]),
    }
    return {q: Answers(names, given, [1.0] * len(seen)) for q, (names, given) in answers.items()}


def by_clip(clip: Clip, questions: Mapping[str, Mapping[str, str]]) -> Reader:
    """Zero-shot: the answer whose caption's embedding is nearest to the picture's."""

    def read(pictures: Pictures) -> dict[str, Answers]:
        embeddings = np.float64(collect(extract(clip.images, pictures)).pool)
        embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True).clip(min=1e-12)
        answers = {}
        for question, captions in questions.items():
            texts = np.asarray(clip.texts(list(captions.values())))
            logits = LOGIT_SCALE * embeddings @ texts.T
            odds = np.exp(logits - logits.max(axis=1, keepdims=True))
            possible, best = tuple(captions), logits.argmax(axis=1).tolist()
            certainty = (odds.max(axis=1) / odds.sum(axis=1)).tolist()
            answers[question] = Answers(possible, [possible[k] for k in best], certainty)
        return answers

    return read


def answer_shares(family: Family, n: int, pictures: Pictures, read: Reader) -> dict[str, Any]:
    """Shares of each answer by prompt, and differences between paired prompts, with intervals.

    Args:
        family: the family whose prompts were drawn.
        n: samples of each prompt.
        pictures: in the order of `probe_protocol`.
        read: the reader of the pictures.

    Returns:
        "answers" (question, value of the attribute, answer: a share), "certainty" (question,
        value: the mean) and "differences" (rows).
    """
    values = tuple(family.prompts)
    answers, certainties, differences = {}, {}, []
    for question, (possible, given, certainty) in read(pictures).items():
        mine = {value: slice(k, None, len(values)) for k, value in enumerate(values)}
        shares = {value: _shares(possible, given[rows]) for value, rows in mine.items()}
        answers[question] = shares
        certainties[question] = {v: float(np.mean(certainty[rows])) for v, rows in mine.items()}
        for (first, second), answer in itertools.product(family.pairs, possible):
            a, b = shares[first][answer], shares[second][answer]
            if a["right"] or b["right"]:
                low, high = difference_interval((a["right"], a["n"]), (b["right"], b["n"]))
                differences.append({
                    "question": question, "answer": answer, "of": first, "against": second,
                    "difference": a["share"] - b["share"], "low": low, "high": high,
                })  # fmt: skip
    return {
        "family": family.name,
        "family_sha256": family.sha256,
        "samples": n,
        "answers": answers,
        "certainty": certainties,
        "differences": differences,
    }


def _shares(possible: Sequence[str], given: Sequence[str]) -> dict[str, Share]:
    counts = Counter(given)
    return {answer: share_of(counts[answer], len(given)) for answer in possible}


def write_probe_sheet(folder: pathlib.Path, family: Family, n: int) -> None:
    """Writes sheet.png: a row for each prompt with its first samples, unselected.

    Args:
        folder: the run's folder.
        family: the family whose prompts were drawn.
        n: samples of each prompt.
    """
    prompts, columns = list(family.prompts.values()), min(n, SHOWN)
    chosen = [k * len(prompts) + i for i in range(len(prompts)) for k in range(columns)]
    draws.write_contact_sheet(folder, prompts * n, chosen, columns)
