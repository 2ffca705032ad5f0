"""Probes of bias and of filters: how often repeated samples of a prompt show what.

A probe says how pictures are distributed, with intervals, instead of showing some of them. Whose
eyes it looks through is part of the result: the shapes judge is exact on its set, and zero-shot
answers of a CLIP are as biased as that CLIP.
"""

import itertools
import pathlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import UInt8

from glide_jax import images
from glide_jax.data.readers import shapes
from glide_jax.evaluation import draws, metrics, shapes_judge
from glide_jax.evaluation.features import extract
from glide_jax.evaluation.features.clip import Clip
from glide_jax.evaluation.metrics.alignment import LOGIT_SCALE
from glide_jax.evaluation.probe_families import Family
from glide_jax.evaluation.protocols import Protocol
from glide_jax.evaluation.shapes_report import Share, share

SHOWN = 8  # samples of each prompt on the sheet: the first ones


class Answers(NamedTuple):
    """A question's answer for every picture, and how sure the reader is of it (0 to 1)."""

    possible: tuple[str, ...]
    given: list[str]
    certainty: list[float]


Pictures = Iterable[UInt8[np.ndarray, "h w 3"]]
Reader = Callable[[Pictures], dict[str, Answers]]  # by question


def protocol(family: Family, n: int) -> Protocol:
    """n samples of each prompt: of all prompts the first, of all prompts the second, ...

    So a run with a larger n has the pictures of one with a smaller n. Every picture has noise of
    its own.
    """
    values, prompts = zip(*family.prompts.items(), strict=True)
    name = f"probe {family.name}/1"
    return Protocol(name, prompts * n, values * n, lambda side: iter(()))


def by_shapes_judge(pictures: Pictures) -> dict[str, Answers]:
    """What the exact judge sees: one answer a picture, also where it has several objects."""
    seen = [shapes_judge.judge(picture) for picture in pictures]
    several, unknown = "different ones", shapes_judge.UNKNOWN
    numbers = ("none", "one", *shapes.COUNTS, "more")

    def common(names: set[str]) -> str:
        return names.pop() if len(names) == 1 else (several if names else "none")

    found = {
        "colour": (
            (*shapes.COLOURS, unknown, several, "none"),
            [common({o.colour for o in s.objects}) for s in seen],
        ),
        "shape": (
            (*shapes.SHAPES, unknown, several, "none"),
            [common({o.shape for o in s.objects}) for s in seen],
        ),
        "background": (tuple(shapes.BACKGROUNDS), [s.background for s in seen]),
        "number": (numbers, [numbers[min(len(s.objects), len(numbers) - 1)] for s in seen]),
    }
    return {
        question: Answers(possible, given, [1.0] * len(given))
        for question, (possible, given) in found.items()
    }


def by_clip(
    clip: Clip, questions: Mapping[str, Mapping[str, str]], *, batch_size: int = 32
) -> Reader:
    """Zero-shot: of a question's captions, the one whose embedding is nearest to the picture's."""

    def read(pictures: Pictures) -> dict[str, Answers]:
        parts = extract(clip.images, pictures, batch_size=batch_size)
        found = np.concatenate([np.asarray(part.pool, np.float64) for part in parts])
        found /= np.linalg.norm(found, axis=1, keepdims=True).clip(min=1e-12)
        answers = {}
        for question, captions in questions.items():
            logits = LOGIT_SCALE * found @ np.asarray(clip.texts(list(captions.values()))).T
            odds = np.exp(logits - logits.max(axis=1, keepdims=True))
            possible, best = tuple(captions), logits.argmax(axis=1).tolist()
            certainty = (odds.max(axis=1) / odds.sum(axis=1)).tolist()
            answers[question] = Answers(possible, [possible[k] for k in best], certainty)
        return answers

    return read


def findings(family: Family, n: int, pictures: Pictures, read: Reader) -> dict[str, Any]:
    """Shares of each answer by prompt, and differences between paired prompts, all with intervals.

    Args:
        family: whose prompts were drawn.
        n: samples of each.
        pictures: in the order of `protocol`.
        read: who answers.

    Returns:
        "answers" (question, value of the attribute, answer: a share), "certainty" (question,
        value: the mean) and "differences" (rows).
    """
    values = tuple(family.prompts)
    result: dict[str, Any] = {
        "family": family.name,
        "family_sha256": family.sha256,
        "samples": n,
        "answers": {},
        "certainty": {},
        "differences": [],
    }
    for question, answers in read(pictures).items():
        by_value = {v: answers.given[k :: len(values)] for k, v in enumerate(values)}
        shares = {value: _shares(answers.possible, given) for value, given in by_value.items()}
        result["answers"][question] = shares
        result["certainty"][question] = {
            value: float(np.mean(answers.certainty[k :: len(values)]))
            for k, value in enumerate(values)
        }
        for (first, second), answer in itertools.product(family.pairs, answers.possible):
            a, b = shares[first][answer], shares[second][answer]
            if a["right"] or b["right"]:
                row = {"question": question, "answer": answer, "of": first, "against": second}
                result["differences"].append({**row, **difference(a, b)})
    return result


def _shares(possible: Sequence[str], given: Sequence[str]) -> dict[str, Share]:
    counts = Counter(given)
    return {answer: share(counts[answer], len(given)) for answer in possible}


def difference(a: Share, b: Share) -> dict[str, float]:
    """Of two shares, with its 95% interval and whether that leaves zero out."""
    low, high = metrics.difference_interval((a["right"], a["n"]), (b["right"], b["n"]))
    return {"difference": a["share"] - b["share"], "low": low, "high": high}


def write_sheet(folder: pathlib.Path, family: Family, n: int) -> pathlib.Path:
    """A row for each prompt with its first samples, unselected."""
    values, columns = list(family.prompts), min(n, SHOWN)
    chosen = [k * len(values) + i for i in range(len(values)) for k in range(columns)]
    pictures = [images.read(draws.path_of(folder, i)) for i in chosen]
    captions = [family.prompts[values[i % len(values)]] for i in chosen]
    sheet = images.contact_sheet(pictures, captions, side=128, columns=columns)
    images.write_png(folder / "sheet.png", sheet, {"contact_sheet_of": chosen})
    return folder / "sheet.png"


def pictures_of(folder: pathlib.Path, family: Family, n: int) -> Iterator[np.ndarray]:
    """All pictures of a run, in the order of `protocol`."""
    return draws.read(folder, n * len(family.prompts))
