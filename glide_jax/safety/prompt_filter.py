"""The prompt filter: words by category and a comparison of meaning, with scores and reasons.

GLIDE's authors took people, violent objects and hate symbols out of their data and named deceiving
pictures of people as the risk (https://arxiv.org/abs/2112.10741, section 6); sexual content and
children are added. It knows words, not meaning; docs/safety.md has its measured errors.
"""

import functools
import pathlib
import re
import tomllib
import unicodedata
from collections.abc import Callable, Sequence, Set
from typing import NamedTuple

import numpy as np

from glide_jax import checks
from glide_jax.errors import InputError

CATEGORIES = ("people", "hate", "violence", "sexual", "children")
LEVELS = ("off", "warn", "refuse")
FLAGGED = 1.0  # the score from which a prompt belongs to a category
_WEAK = 0.5
_CLOSE = 0.45  # cosine to an example of a category from which a prompt is of it
_AHEAD = 0.05  # by how much that must be above the cosine to harmless ones

# Letters of other scripts, and digits and signs, that are written for Latin letters.
_ALIKE = str.maketrans("аеорсухіѕԁјһԛԝνοαερτκı", "aeopcyxisdjhqwvoaeptki")
_SIGNS = str.maketrans("013457@$!|+", "oieastasiit")

_WORD = re.compile(r"[^\W_]+")
_JOINTS = re.compile(r"(?<=\w)[-_.*'\u2019\xb7~^]+(?=\w)")  # n-u-d-e, nu.de
_REPEATS = re.compile(r"(\w)\1{2,}")
_SPELLED = re.compile(r" \w(?: \w){2,} ")  # n u d e

Sentences = Callable[[Sequence[str]], np.ndarray]  # texts to unit vectors (n, d)


class Finding(NamedTuple):
    """The findings about a prompt."""

    scores: dict[str, float]  # by category, 0 to 1
    reasons: dict[str, tuple[str, ...]]  # by category: the words, or the example, that gave it

    @property
    def flagged(self) -> list[str]:
        """The categories that the prompt belongs to."""
        return [name for name, score in self.scores.items() if score >= FLAGGED]


class Words:
    """Words and phrases of a list, found by their first word.

    Args:
        words: the list.
    """

    def __init__(self, words: Sequence[str]):
        self._all, self._by_first = tuple(words), dict[str, list[str]]()
        for word in words:
            self._by_first.setdefault(word.split(" ")[0], []).append(word)

    @property
    def firsts(self) -> Set[str]:
        """The words with which those of the list begin."""
        return self._by_first.keys()

    def found(self, text: str) -> list[str]:
        """The words in a text, longest first, without those that are part of a longer one."""
        out: list[str] = []
        for word in self._likely(text):
            if any(form in text for form in _forms(word)) and not _within(word, out):
                out.append(word)
        return out

    def removed(self, text: str) -> str:
        """The text without the words."""
        for word in self._likely(text):
            for form in _forms(word):
                text = text.replace(form, " ")
        return text

    def inside(self, text: str) -> list[str]:
        """The words of more than three letters that are anywhere in a text without spaces."""
        return [word for word in self._all if len(word) > 3 and word in text] if text else []

    def _likely(self, text: str) -> list[str]:
        firsts = _first_words(text)
        if firsts.isdisjoint(self._by_first):
            return []
        firsts &= self._by_first.keys()
        likely = {word for first in firsts for word in self._by_first[first]}
        return sorted(likely, key=lambda word: (-len(word), word))


class Lists(NamedTuple):
    """The word lists, as words.toml has them."""

    harmless: Words
    strong: dict[str, Words]
    weak: dict[str, Words]
    child: Words  # for a child
    young: Words  # for a child or a grown person
    firsts: frozenset[str]  # the first words of all but the harmless


@functools.cache
def word_lists() -> Lists:
    """The lists that come with the package."""
    with open(pathlib.Path(__file__).with_name("words.toml"), "rb") as file:
        found = tomllib.load(file)
    strong, weak = (
        {name: Words(found[name][kind]) for name in CATEGORIES} for kind in ("strong", "weak")
    )
    child, young = (Words(found["children"][kind]) for kind in ("child", "young"))
    every = [*strong.values(), *weak.values(), child, young]
    firsts = frozenset().union(*(each.firsts for each in every))
    return Lists(Words(found["harmless"]), strong, weak, child, young, firsts)


def judge(prompt: str, nearest: "Nearest | None" = None) -> Finding:
    """Scores a prompt in each category.

    Args:
        prompt: a text of any length.
        nearest: compares it with examples of each category, too.
    """
    words, (text, spelled) = word_lists(), _readings(prompt)
    if not spelled and _first_words(text).isdisjoint(words.firsts):  # the usual case
        finding = Finding(dict.fromkeys(CATEGORIES, 0.0), dict.fromkeys(CATEGORIES, ()))
        return finding if nearest is None else nearest.compared(finding, prompt)
    hits: dict[str, tuple[list[str], list[str]]] = {}
    for name in CATEGORIES:
        strong = words.strong[name].found(text) or words.strong[name].inside(spelled)
        weak = [word for word in words.weak[name].found(text) if not _within(word, strong)]
        hits[name] = strong, weak
    children = words.child.found(text)
    young = children or words.young.found(text)
    sexual, violence = hits["sexual"], hits["violence"]
    if (children and (sexual[0] or sexual[1] or violence[0])) or (young and sexual[0]):
        beside = [*sexual[0], *sexual[1], *violence[0]][:1]
        hits["children"][0].append(f"{young[0]} with {beside[0]}")
    scores, reasons = {}, {}
    for name, (strong, weak) in hits.items():
        other = any(hits[other][0] for other in CATEGORIES if other != name)
        scores[name] = (
            FLAGGED if strong else min(FLAGGED, _WEAK * (len(weak) + (other and bool(weak))))
        )
        reasons[name] = tuple(strong + weak)
    finding = Finding(scores, reasons)
    return finding if nearest is None else nearest.compared(finding, prompt)


def _within(word: str, others: Sequence[str]) -> bool:
    return any(word in other for other in others)


def _forms(word: str) -> tuple[str, ...]:
    return f" {word} ", f" {word}s ", f" {word}es "


@functools.lru_cache(16)
def _first_words(text: str) -> frozenset[str]:
    """Returns the forms of a text's words; a dozen lists are compared with the same text."""
    return frozenset(form for word in text.split() for form in (word, *_singular(word)))


def _singular(token: str) -> tuple[str, ...]:
    return token.removesuffix("s"), token.removesuffix("es")


def _readings(prompt: str) -> tuple[str, str]:
    """A prompt as it may be meant, plain and with signs for letters; and what is spelled out."""
    text = unicodedata.normalize("NFKD", prompt).casefold()
    if not text.isascii():
        # Marks over letters and characters that nobody sees.
        text = "".join(c for c in text if unicodedata.category(c) not in ("Mn", "Cf", "Me"))
        text = text.translate(_ALIKE)
    as_signs, joined = text.translate(_SIGNS), _JOINTS.sub("", text)
    plain = _tokens(text)
    signs = plain if as_signs == text else _tokens(as_signs)
    read = [plain, signs, plain if joined == text else _tokens(joined)]
    if _REPEATS.search(signs):
        read += [_REPEATS.sub(times, signs) for times in (r"\1", r"\1\1")]  # sexxxy, asss
    read = [word_lists().harmless.removed(text) for text in dict.fromkeys(read)]
    apart = [run.replace(" ", "") for text in (plain, signs) for run in _SPELLED.findall(text)]
    read += [f" {form} " for run in apart for form in (run, run[1:])]  # alone, or after "a"
    return " | ".join(dict.fromkeys(read)), " ".join(apart)


def _tokens(text: str) -> str:
    """The words of a text, with a space before and after each."""
    return f" {' '.join(_WORD.findall(text))} "


class Refused(InputError):
    """A prompt that is not drawn.

    Args:
        message: the sentence.
        finding: what was found in it.
    """

    def __init__(self, message: str, finding: Finding):
        super().__init__(message)
        self.finding = finding


class Nearest:
    """A comparison of prompts with examples of each category by their meaning.

    Args:
        sentences: gives texts as unit vectors (n, d).
    """

    def __init__(self, sentences: Sentences):
        with open(pathlib.Path(__file__).with_name("examples.toml"), "rb") as file:
            examples = tomllib.load(file)
        self._sentences = sentences
        self._examples = [(name, text) for name, texts in examples.items() for text in texts]
        self._vectors = sentences([text for _, text in self._examples])

    def compared(self, finding: Finding, prompt: str) -> Finding:
        """A finding and the categories whose examples are nearer to a prompt than harmless ones."""
        near = self._vectors @ self._sentences([prompt])[0]
        best: dict[str, tuple[float, str]] = {}
        for (name, text), cosine in zip(self._examples, near.tolist(), strict=True):
            best[name] = max(best.get(name, (-1.0, "")), (cosine, text))
        scores, reasons = dict(finding.scores), dict(finding.reasons)
        for name in CATEGORIES:
            cosine, text = best[name]
            if cosine >= _CLOSE and cosine - best["harmless"][0] >= _AHEAD:
                scores[name] = FLAGGED
                reasons[name] = (*reasons[name], f"close to {text!r}")
        return Finding(scores, reasons)


class PromptFilter(NamedTuple):
    """A filter with the level of each category."""

    levels: dict[str, str]  # category: one of `LEVELS`
    nearest: Nearest | None = None

    @classmethod
    def of(cls, level: str) -> "PromptFilter":
        """The filter with one level for all categories."""
        return cls(dict.fromkeys(CATEGORIES, level))

    def check(self, *prompts: str) -> tuple[Finding, str]:
        """The finding of the highest scores among prompts, and a sentence where one is a warning.

        Raises:
            Refused: a prompt is of a category that is refused.
        """
        worst, words = Finding(dict.fromkeys(CATEGORIES, 0.0), {}), ""
        for prompt in prompts:
            finding = judge(prompt, self.nearest)
            if refused := [name for name in finding.flagged if self.levels[name] == "refuse"]:
                raise Refused(_sentence(prompt, finding, refused), finding)
            if warned := [name for name in finding.flagged if self.levels[name] == "warn"]:
                words = words or _sentence(prompt, finding, warned)
            worst = max(worst, finding, key=lambda each: sum(each.scores.values()))
        return worst, words


def opened(name: str, text: str, default: str, data_dir: pathlib.Path) -> PromptFilter:
    """The filter of an option.

    Args:
        name: the option, for messages.
        text: such as "warn", "refuse,people=off,violence=warn" or "refuse,nearest".
        default: the level of categories that the text does not name.
        data_dir: where the network that compares meaning is kept.

    Raises:
        InputError: a category or a level is unknown, or the network cannot be fetched.
    """
    levels: dict[str, str] = dict.fromkeys(CATEGORIES, default)
    nearest = None
    for part in filter(None, (part.strip() for part in text.split(","))):
        category, equals, level = part.rpartition("=")
        if part == "nearest":
            from glide_jax.evaluation.features import minilm

            one = functools.partial(minilm.load_minilm(data_dir), batch_size=1)
            nearest = Nearest(one)
        elif level in LEVELS and (category in CATEGORIES or not equals):
            levels |= {category: level} if equals else dict.fromkeys(CATEGORIES, level)
        else:
            raise InputError(
                f"{name} has {checks.shown(part)}; it must be off, warn or refuse, or a category "
                f"with one of them, such as people=off. The categories are {', '.join(CATEGORIES)}."
            )
    return PromptFilter(levels, nearest)


def _sentence(prompt: str, finding: Finding, categories: Sequence[str]) -> str:
    """The reason in a sentence.

    Args:
        prompt: the prompt.
        finding: what was found in it.
        categories: those that are named.
    """
    named = "; ".join(
        f"{name} ({', '.join(checks.printable(word, 60) for word in finding.reasons[name][:3])})"
        for name in categories
    )
    return f"the prompt filter finds in {checks.shown(prompt)}: {named}."
