"""The forms of the captions that a model was trained on, and the nearest one to a prompt."""

import dataclasses
import difflib
import functools
from collections.abc import Mapping
from typing import Any

from glide_jax import checks
from glide_jax.errors import InputError

_ARTICLES = ("a", "an")  # one element of a form, which is written "a"
_MOST_TOKENS = 48  # a form has no more, and no more of a prompt are compared
_MOST_WORDS = 500  # in all, since a model's file may be anyone's
_LONGEST = 1000  # letters of a form, of what a model understands, and of a word
_ALIKE = 0.7  # `difflib`'s ratio from which a word is taken for a slip of another
_SLIP, _OTHER = 0.5, 1.5  # the costs of words that differ
_ARTICLE, _WORD = 0.0, 1.0  # the costs of one that is missing or too much


@dataclasses.dataclass(frozen=True)
class Forms:
    """The captions that a model was trained on: a person reads `about`, a program the forms.

    Attributes:
        about: a sentence.
        forms: captions with slots, such as "a {colour} {shape}"; none where captions are free.
        words: what may stand in each slot; the first is the default.
    """

    about: str = ""
    forms: tuple[str, ...] = ()
    words: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)

    def fit(self, prompt: str) -> bool:
        """Whether a prompt has one of the forms; a blank one and free captions always do."""
        tokens = self._tokens(prompt)
        if not tokens or not self.forms:
            return True
        return any(
            len(tokens) == len(form) and all(map(self._matches, form, tokens))
            for form in self._elements
        )

    def nearest(self, prompt: str) -> str:
        """The caption of one of the forms that takes the fewest changes of a prompt's words."""
        tokens = self._tokens(prompt)[:_MOST_TOKENS]
        aligned = [self._aligned(form, tokens) for form in self._elements]
        _, filled = min(aligned, key=lambda pair: pair[0])
        words = " ".join(filled).split(" ")
        for k, word in enumerate(words[:-1]):
            if word in _ARTICLES:
                words[k] = "an" if words[k + 1][:1] in "aeiou" else "a"
        return " ".join(words)

    def record(self) -> dict[str, Any]:
        """The content of a model's forms.json."""
        return dataclasses.asdict(self)

    @functools.cached_property
    def _elements(self) -> list[list[str]]:
        return [form.split() for form in self.forms]

    @functools.cached_property
    def _phrases(self) -> list[list[str]]:
        """Words of slots that are several, the longest first."""
        phrases = [word.split() for words in self.words.values() for word in words if " " in word]
        return sorted(phrases, key=len, reverse=True)

    def _tokens(self, prompt: str) -> list[str]:
        """A prompt's words, without case; those that are one in a slot together."""
        words, out, k = prompt.lower().strip().rstrip(".").split(), [], 0
        while k < len(words):
            starts = (p for p in self._phrases if words[k : k + len(p)] == p)
            taken = next(starts, words[k : k + 1])
            out.append(" ".join(taken))
            k += len(taken)
        return out

    def _choice(self, element: str) -> tuple[str, ...]:
        """The words that may stand for an element of a form, the default first."""
        if element in _ARTICLES:
            return _ARTICLES
        return self.words[element[1:-1]] if element.startswith("{") else (element,)

    def _matches(self, element: str, token: str) -> bool:
        return token in self._choice(element)

    def _aligned(self, form: list[str], tokens: list[str]) -> tuple[float, list[str]]:
        """The least cost of making a form of a prompt's words, and the form filled so.

        It is the distance of Levenshtein over words; row by row, each entry holds its cost and
        what the elements so far are filled with.
        """
        row = [(0.0, list[str]())]
        for token in tokens:
            row.append((row[-1][0] + _single(token), []))
        for k, element in enumerate(form):
            choice, earlier = self._choice(element), form[:k].count(element)
            default = choice[0] if element in _ARTICLES else choice[earlier % len(choice)]
            cost, filled = row[0]
            new = [(cost + _single(element), [*filled, default])]
            for j, token in enumerate(tokens):
                change, word = _change(token, choice, default)
                new.append(
                    min(
                        (row[j][0] + change, [*row[j][1], word]),
                        (row[j + 1][0] + _single(element), [*row[j + 1][1], default]),
                        (new[j][0] + _single(token), new[j][1]),
                        key=lambda pair: pair[0],
                    )
                )
            row = new
        return row[-1]


def _single(word: str) -> float:
    return _ARTICLE if word in _ARTICLES else _WORD


@functools.lru_cache(maxsize=4096)
def _change(token: str, choice: tuple[str, ...], default: str) -> tuple[float, str]:
    """The cost of a token in place of an element, and the word that it then is."""
    if token in choice:
        return 0.0, token
    near = [phrase for phrase in choice if token in phrase.split()]
    near = near or difflib.get_close_matches(token[:_LONGEST], choice, 1, _ALIKE)
    return (_SLIP, near[0]) if near else (_OTHER, default)


def parse_forms(values: Mapping[str, Any], where: str) -> Forms:
    """The forms of a model's file.

    Args:
        values: the file's object.
        where: the file, for messages.

    Raises:
        InputError: something in it is of the wrong kind, or more than any model needs.
    """
    unknown = sorted(values.keys() - {field.name for field in dataclasses.fields(Forms)})
    if unknown:
        raise InputError(f"{where} has an unknown field {checks.shown(unknown[0])}.")
    about, forms = values.get("about", ""), values.get("forms", [])
    words = values.get("words", {})
    lists: list[Any] = [forms, *words.values()] if isinstance(words, dict) else [None]
    if not all(isinstance(part, list) for part in lists):
        raise InputError(f"{where}: forms must be a list, and words a list for each slot.")
    texts = [about, *(text for part in lists for text in part)]
    for text in texts:
        if len(checks.label(f"{where}: a text", text)) > _LONGEST:
            raise InputError(f"{where}: {checks.shown(text)} has over {_LONGEST} letters.")
    elements = [element for form in forms for element in form.split()]
    if len(texts) > _MOST_WORDS or max((len(f.split()) for f in forms), default=1) > _MOST_TOKENS:
        raise InputError(
            f"{where} has over {_MOST_WORDS} forms and words, or a form of over {_MOST_TOKENS}."
        )
    for slot in (element for element in elements if element.startswith("{")):
        if not words.get(slot[1:-1]):
            raise InputError(f"{where}: a form has the slot {checks.shown(slot)} without words.")
    if not all(form.split() for form in forms):
        raise InputError(f"{where} has a blank form.")
    tidy = lambda word: " ".join(word.lower().split())
    return Forms(about, tuple(forms), {k: tuple(map(tidy, v)) for k, v in words.items()})
