"""Tokenizers against 206 prompts recorded from the reference (made with Unicode 14)."""

import numpy as np
import pytest

from glide_jax.errors import InputError
from glide_jax.tokenizers import ClipBPE, GlideBPE
from tests.golden.files import has_json, read_json

pytestmark = pytest.mark.filterwarnings("ignore::glide_jax.tokenizers.PromptTruncated")


@pytest.fixture(scope="module")
def rows(goldens):
    if not has_json(goldens / "tok", "tokenizer"):
        pytest.skip("no tokenizers in this directory")
    return read_json(goldens / "tok", "tokenizer")["rows"]


def _same(rows, tokenizer, name, expected, actual):
    bad = [r["prompt"] for r in rows if expected(r[name]) != actual(tokenizer, r["prompt"])]
    assert not bad, f"{len(bad)} of {len(rows)}, for example {bad[:3]!a}"


def _padded(context):
    return lambda tokenizer, text: tokenizer([text], context).tokens[0].tolist()


def _length(context):
    return lambda tokenizer, text: int(tokenizer([text], context).mask[0].sum())


@pytest.fixture(scope="module")
def glide_rows(rows):
    return [r for r in rows if "error" not in r["glide"]]


def test_glide_ids(glide_rows):
    _same(glide_rows, GlideBPE(), "glide", lambda r: r["ids"], lambda k, t: k.encode(t))


@pytest.mark.parametrize(
    ("context", "padded", "n_true"), [(128, "padded128", "n_true"), (16, "padded16", "n_true16")]
)
def test_glide_padding_and_mask(glide_rows, context, padded, n_true):
    _same(glide_rows, GlideBPE(), "glide", lambda r: r[padded], _padded(context))
    _same(glide_rows, GlideBPE(), "glide", lambda r: r[n_true], _length(context))


def test_glide_mask_is_true_then_false(glide_rows):
    mask = GlideBPE()([r["prompt"] for r in glide_rows], 128).mask
    assert not np.any(~mask[:, :-1] & mask[:, 1:])


def test_glide_decoded(glide_rows):
    for row in glide_rows:
        assert GlideBPE().decode(row["glide"]["ids"]) == row["glide"]["decoded"]


def test_glide_refuses_what_the_reference_cannot_encode(rows):
    for row in rows:
        if "error" in row["glide"]:
            with pytest.raises(InputError, match="surrogate"):
                GlideBPE().encode(row["prompt"])


def test_clip_ids(rows):
    _same(rows, ClipBPE(reference=True), "clip", lambda r: r["ids"], lambda k, t: k.encode(t))


def test_clip_padding_and_length(rows):
    _same(rows, ClipBPE(reference=True), "clip", lambda r: r["padded77"], _padded(77))
    _same(rows, ClipBPE(reference=True), "clip", lambda r: r["len"], _length(77))


def test_clip_decoded(rows):
    plain = [r["clip"] for r in rows if not {49406, 49407} & set(r["clip"]["ids"])]
    for row in plain:  # the reference leaves a space at the end
        assert ClipBPE().decode(row["ids"]) == row["decoded"].removesuffix(" ")


def test_clip_differs_from_the_reference_only_in_hostile_text(rows):
    hostile = ("<|endoftext|>", "<|startoftext|>", "a <|endoftext|> b", "<|ENDOFTEXT|>", "\ud800")
    rows = [r for r in rows if r["prompt"] not in hostile]
    _same(rows, ClipBPE(), "clip", lambda r: r["ids"], lambda k, t: k.encode(t))
