"""Training, saving and damaged models."""

import random

import pytest

from glide_jax import tokenizers
from glide_jax.errors import InputError
from glide_jax.tokenizers import SentencePiece

WORDS = [
    "a",
    "red",
    "blue",
    "green",
    "circle",
    "square",
    "of",
    "the",
    "cat",
    "dog",
    "corgi",
    "painting",
    "photo",
    "small",
]


def captions(n=200, seed=0):
    rng = random.Random(seed)
    return [" ".join(rng.choices(WORDS, k=6)) for _ in range(n)]


def many_characters():
    """More distinct characters than a small vocabulary has ids."""
    rng = random.Random(1)
    extra = ["".join(chr(rng.randrange(0x4E00, 0x9000)) for _ in range(20)) for _ in range(50)]
    return captions() + extra


def test_training_twice_gives_the_same_bytes(tmp_path):
    specs = [SentencePiece.train(iter(captions()), 300).save(tmp_path) for _ in range(2)]
    assert specs[0] == specs[1]
    assert specs[0]["sha256"] != SentencePiece.train(captions(seed=2), 300).save(tmp_path)["sha256"]


@pytest.mark.parametrize("vocab_size", [262, 263, 280, 300, 400, 1000])
@pytest.mark.parametrize("texts", [captions, many_characters])
def test_any_size_trains_and_every_text_comes_back(texts, vocab_size):
    tokenizer = SentencePiece.train(texts(), vocab_size)
    assert 258 < tokenizer.vocab_size <= vocab_size
    for text in ["a red cat", "qwxyz 0123", "猫 😺 ж ͒", "a\0b", "▁a".replace("▁", "")]:
        ids = tokenizer.encode(text)
        assert not {0, 1} & set(ids)
        assert tokenizer.decode(ids) == text


def test_larger_vocabulary_gives_fewer_tokens():
    lengths = [
        len(SentencePiece.train(captions(), n).encode(captions()[0])) for n in (262, 290, 330)
    ]
    assert lengths == sorted(lengths, reverse=True)
    assert lengths[0] > lengths[-1]


def test_few_captions_give_fewer_ids_than_asked():
    assert SentencePiece.train(["a red cat"], 10_000).vocab_size < 300


def test_case_and_hostile_captions_do_not_matter():
    plain = SentencePiece.train(captions(), 300)
    shouted = SentencePiece.train([c.upper() + "\n" for c in captions()] + ["", " ", "\0"], 300)
    assert [plain.encode(c) for c in captions()] == [shouted.encode(c) for c in captions()]


def test_long_captions_are_not_dropped():
    assert SentencePiece.train(["zebra " * 5_000], 300).encode("zebra")[-1] > 257


@pytest.mark.parametrize("vocab_size", [-1, 0, 100, 261])
def test_impossible_size_is_an_error(vocab_size):
    with pytest.raises(InputError, match=f"vocabulary of {vocab_size} is too small.* 262"):
        SentencePiece.train(captions(), vocab_size)


@pytest.mark.parametrize("texts", [[], ["", "  "], ["\0"]])
def test_no_text_is_an_error(texts):
    with pytest.raises(InputError, match="no caption with text"):
        SentencePiece.train(texts, 300)


@pytest.mark.parametrize("caption", [3, None, "a\ud800"])
def test_bad_caption_is_an_error(unwrapped, caption):
    with pytest.raises(InputError):
        SentencePiece.train(iter(["fine", caption]), 300)


@pytest.mark.parametrize("model", [b"", b"garbage", b"\x0a" * 1000])
def test_bytes_that_are_no_model_are_an_error(model):
    with pytest.raises(InputError, match="not a SentencePiece model"):
        SentencePiece(model)


def test_model_cut_short_is_an_error(tmp_path):
    SentencePiece.train(captions(), 300).save(tmp_path)
    with pytest.raises(InputError, match="not a SentencePiece model"):
        SentencePiece((tmp_path / "tokenizer.model").read_bytes()[:1000])


def test_saved_file_is_read_by_name_and_checked(tmp_path):
    spec = SentencePiece.train(captions(), 300).save(tmp_path / "new")
    assert spec["file"] == "tokenizer.model"
    path = tmp_path / "new" / spec["file"]
    data = path.read_bytes()
    path.write_bytes(data[:-1])
    with pytest.raises(InputError, match="damaged"):
        tokenizers.load(spec, tmp_path / "new")
    path.unlink()
    with pytest.raises(InputError, match="cannot be read: No such file"):
        tokenizers.load(spec, tmp_path / "new")


@pytest.mark.parametrize(
    "name", ["../secret", "/etc/passwd", "a/b", "", ".", "..", "a\0b", None, 3]
)
def test_file_outside_the_directory_is_an_error(tmp_path, name):
    spec = SentencePiece.train(captions(), 300).save(tmp_path) | {"file": name}
    with pytest.raises(InputError):
        tokenizers.load(spec, tmp_path)


def test_spec_without_hash_is_an_error(tmp_path):
    spec = SentencePiece.train(captions(), 300).save(tmp_path)
    del spec["sha256"]
    with pytest.raises(InputError, match="SHA-256"):
        tokenizers.load(spec, tmp_path)
