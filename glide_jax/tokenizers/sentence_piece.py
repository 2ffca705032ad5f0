"""A tokenizer trained on our own captions, for small models.

A vocabulary of 4,096 instead of 50,257 saves 46,000 rows of the embedding table, most of the
parameters of a small text tower.
"""

import functools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from glide_jax import checks, files
from glide_jax.errors import InputError
from glide_jax.tokenizers.protocol import Tokens, check_ids, check_text, fill, shorten

# Padding and unknown, 256 bytes, and a little room: two characters and what they merge to.
_MIN_VOCAB = 2 + 256 + 4
_MAX_FILE = 64 * 2**20


class SentencePiece:
    """A SentencePiece model on lower-cased text; every character has ids by byte fallback.

    Kudo & Richardson 2018 (arXiv:1808.06226).

    Args:
        model: the bytes of a `.model` file.

    Raises:
        InputError: `model` is not one.
    """

    kind = "sentencepiece"

    def __init__(self, model: bytes):
        self._model = bytes(model)
        _ = self._processor  # so that a bad model fails here

    def __reduce__(self):
        return SentencePiece, (self._model,)

    @functools.cached_property
    def _processor(self):
        import sentencepiece

        try:
            # It takes no bytes at all for a model, one without pieces, and logs at every use.
            if not self._model:
                raise ValueError("it is empty")
            processor = sentencepiece.SentencePieceProcessor(model_proto=self._model)
            processor.encode("a")
        except (RuntimeError, ValueError) as error:
            raise InputError(
                f"This is not a SentencePiece model ({shorten(str(error))})."
            ) from error
        return processor

    @property
    def vocab_size(self) -> int:
        """The number of ids."""
        return self._processor.vocab_size()

    @property
    def pad(self) -> int:
        """The id at masked positions: the model's own, or 0 in a model without one."""
        return max(self._processor.pad_id(), 0)

    def encode(self, text: str) -> list[int]:
        """Returns the ids of the whole text in lower case."""
        return self._processor.encode(check_text(text).lower())

    def decode(self, ids: Iterable[int]) -> str:
        """Returns the text of `ids`; padding has none."""
        return self._processor.decode(check_ids(ids, self.vocab_size))

    def __call__(self, texts: Sequence[str], context: int) -> Tokens:
        """Returns `context` ids per text; an empty text is padding throughout."""
        return fill(self, texts, context, pad=self.pad)

    @classmethod
    def train(cls, captions: Iterable[str], vocab_size: int) -> "SentencePiece":
        """Returns a BPE model of at most `vocab_size` ids, the same for the same captions.

        It has fewer ids when the captions have fewer pieces to give: read `vocab_size` back. Ids 0
        and 1 are padding and unknown, 2 to 257 the bytes, and no text can produce the first two.

        Raises:
            InputError: `vocab_size` has no room for the bytes, or no caption has text.
        """
        if vocab_size < _MIN_VOCAB:
            raise InputError(
                f"A vocabulary of {vocab_size} is too small: 256 bytes, padding and some pieces "
                f"need at least {_MIN_VOCAB}."
            )
        lines = _training_lines(captions, max_characters=(vocab_size - 258) // 2)
        if not lines:
            raise InputError("There is no caption with text to train a tokenizer on.")
        return cls(_train(lines, vocab_size))

    def save(self, directory: Path) -> dict:
        """Writes `tokenizer.model` to `directory` and returns the spec."""
        with files.replacing(Path(directory) / "tokenizer.model") as path:
            path.write_bytes(self._model)
        return {"kind": self.kind, "file": "tokenizer.model", "sha256": _sha256(self._model)}

    @classmethod
    def load(cls, spec: Mapping, directory: Path) -> "SentencePiece":
        """Returns the tokenizer in the file that `spec` names, if its SHA-256 is the saved one.

        Raises:
            InputError: the spec names no file beside it, or that is damaged or another model's.
        """
        name = spec.get("file")
        plain = isinstance(name, str) and name.isprintable()
        if not plain or not name or Path(name).name != name:
            raise InputError(
                f"The tokenizer's file is {shorten(name)}, but must name a file beside it."
            )
        path = Path(directory) / name
        where = f"Tokenizer file {checks.shown(str(path), 200)}"
        if what := files.impostor(path):
            raise InputError(f"{where} {what}.")
        try:
            with open(path, "rb") as file:
                model = file.read(_MAX_FILE)
        except OSError as error:
            raise InputError(f"{where} cannot be read: {error.strerror}.") from error
        digest, right = _sha256(model), spec.get("sha256")
        if digest != right:
            raise InputError(
                f"{where} has SHA-256 {digest[:12]}..., but the model was saved with "
                f"{checks.printable(str(right)[:12])}...: it is damaged or another model's."
            )
        return cls(model)


def _sha256(data: bytes) -> str:
    import hashlib

    return hashlib.sha256(data).hexdigest()


def _training_lines(captions: Iterable[str], max_characters: int) -> list[str]:
    """Returns the captions as the model will see them, with only the most common characters.

    SentencePiece gives each character of its text an id, and fails if they do not fit; the rare
    ones (and NUL, which it cannot hold) become spaces here, and so are left to the bytes.
    """
    import sentencepiece

    # The first step of encoding; it ends with U+2581 in place of spaces, one at the beginning.
    normal = sentencepiece.SentencePieceNormalizer(rule_name="nmt_nfkc")
    lines = [normal.normalize(check_text(c).lower()).replace("\u2581", " ") for c in captions]
    count = Counter()
    for line in lines:
        count.update(line)
    del count[" "], count["\0"]
    # By code point where equally common, so that the order of captions does not matter.
    common = sorted(count, key=lambda c: (-count[c], c))[: max_characters - 1]
    rare = {ord(c): " " for c in count.keys() - set(common)} | {0: " "}
    lines = [" ".join(line.translate(rare).split()) for line in lines]
    return [line for line in lines if line]


def _train(lines: list[str], vocab_size: int) -> bytes:
    import io

    import sentencepiece

    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines),
        model_writer=model,
        model_type="bpe",
        vocab_size=vocab_size,
        hard_vocab_limit=False,  # few captions have few pieces; fewer ids are not an error
        character_coverage=1.0,  # `lines` has been thinned already, to any degree
        byte_fallback=True,
        normalization_rule_name="nmt_nfkc",
        pad_id=0,
        unk_id=1,
        bos_id=-1,
        eos_id=-1,
        max_sentence_length=2**20,  # longer ones would be dropped without a word
        num_threads=1,
        minloglevel=2,
    )
    return model.getvalue()
