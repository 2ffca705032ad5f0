"""What all tokenizers promise: shapes, masks, cutting, hostile prompts, saving."""

import json
import pickle
import subprocess
import sys
import warnings

import numpy as np
import pytest

from glide_jax import tokenizers
from glide_jax.errors import InputError
from glide_jax.tokenizers import ClipBPE, GlideBPE, PromptTruncated, SentencePiece

CAPTIONS = [f"{a} {b} on a {c} table" for a in "ab" for b in ("cat", "dog") for c in ("red", "old")]
ALL = [GlideBPE(), ClipBPE(), SentencePiece.train(CAPTIONS, 300)]
PROMPTS = [
    "",
    "A cat",
    "a corgi wearing a top hat",
    "naïve café 猫 😺",
    "  two\nlines\t",
    "x" * 500,
]


@pytest.fixture(params=ALL, ids=lambda t: t.kind)
def tokenizer(request):
    return request.param


def test_rows_have_one_length_and_masks_are_true_then_false(tokenizer):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PromptTruncated)
        tokens, mask = tokenizer(PROMPTS, 40)
    assert tokens.shape == mask.shape == (len(PROMPTS), 40)
    assert (tokens.dtype, mask.dtype) == (np.int32, np.bool_)
    assert tokens.min() >= 0
    assert tokens.max() < tokenizer.vocab_size
    assert not np.any(~mask[:, :-1] & mask[:, 1:])


def test_no_prompts_are_no_rows(tokenizer):
    assert tokenizer([], 10).tokens.shape == (0, 10)


def test_row_holds_what_encode_returns(tokenizer):
    tokens, mask = tokenizer(["a corgi"], 40)
    row = tokens[0][mask[0]].tolist()
    ids = tokenizer.encode("a corgi")
    assert row == ([49406, *ids, 49407] if tokenizer.kind == "clip_bpe" else ids)
    assert tokenizer.decode(row) == "a corgi"


def test_row_does_not_depend_on_the_batch(tokenizer):
    together = tokenizer(PROMPTS[:4], 40)
    for i, prompt in enumerate(PROMPTS[:4]):
        alone = tokenizer([prompt], 40)
        np.testing.assert_array_equal(alone.tokens[0], together.tokens[i])
        np.testing.assert_array_equal(alone.mask[0], together.mask[i])


def test_empty_prompt_is_padding():
    for tokenizer, pad in ((ALL[0], 50256), (ALL[2], 0)):
        tokens, mask = tokenizer([""], 8)
        assert tokens.tolist() == [[pad] * 8]
        assert not mask.any()
    tokens, mask = ClipBPE()([""], 8)
    assert tokens.tolist() == [[49406, 49407, 0, 0, 0, 0, 0, 0]]
    assert mask.sum() == 2


@pytest.mark.parametrize("prompt", PROMPTS)
def test_case_does_not_matter_and_text_comes_back(tokenizer, prompt):
    assert tokenizer.encode(prompt.title()) == tokenizer.encode(prompt)
    back = tokenizer.decode(tokenizer.encode(prompt))
    if tokenizer.kind == "glide_bpe":
        assert back == prompt.lower()
    else:
        assert back == " ".join(prompt.lower().split())


@pytest.mark.parametrize(
    "prompt", ["<|endoftext|>", "<|startoftext|> a <|ENDOFTEXT|>", "<pad><unk>"]
)
def test_typed_control_tokens_are_text(tokenizer, prompt):
    control = {50256} if tokenizer.kind == "glide_bpe" else {49406, 49407}
    control = {0, 1} if tokenizer.kind == "sentencepiece" else control
    ids = tokenizer.encode(prompt)
    assert not control & set(ids)
    assert tokenizer.decode(ids).replace(" ", "") == prompt.lower().replace(" ", "")


def test_clip_control_tokens_as_the_reference_has_them():
    clip = ClipBPE(reference=True)
    assert clip.encode("a <|EndOfText|>&lt;|startoftext|&gt;") == [320, 49407, 49406]
    assert clip.encode("\ud800") == clip.encode("\ufffd")


def test_clip_undoes_html_twice_and_knows_the_long_s():
    clip = ClipBPE()
    assert clip.encode("<b> &amp;lt; it") == clip.encode("<b> < it")
    assert clip.encode("it'\u017f") != clip.encode("it' \u017f")  # one word "'s", not two


def test_cut_prompt_warns_with_what_was_cut(tokenizer):
    prompt = "a red cat on a red table " + "and a dog " * 20 + "with a golden crown"
    n = len(tokenizer.encode(prompt))
    room = 30 if tokenizer.kind == "clip_bpe" else 32
    with pytest.warns(PromptTruncated) as caught:
        _, mask = tokenizer(["a cat", prompt], 32)
    assert len(caught) == 1
    message = str(caught[0].message)
    assert f"{n} tokens and {room} fit" in message
    assert "a red cat on a red table" in message
    assert len(message) < 300
    assert mask[1].all()


def test_warning_points_at_the_caller(unwrapped, tokenizer):
    with pytest.warns(PromptTruncated) as caught:
        tokenizer(["a corgi wearing a hat"], 4)
    assert caught[0].filename == __file__


def test_cut_words_are_named():
    with pytest.warns(PromptTruncated, match="not seen: 'wearing a hat'"):
        GlideBPE()(["a corgi wearing a hat"], 3)


def test_prompt_that_just_fits_does_not_warn(tokenizer):
    ids = tokenizer.encode("a corgi with a hat")
    markers = 2 if tokenizer.kind == "clip_bpe" else 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert tokenizer(["a corgi with a hat"], len(ids) + markers).mask.all()


@pytest.mark.parametrize("prompt", ["ab\ud800c", "ab\udfff", "ab\ud83d\ude00"])
def test_surrogate_is_an_error_with_its_position(tokenizer, prompt):
    with pytest.raises(InputError, match=r"surrogate U\+D[0-9A-F]{3} at position 2") as error:
        tokenizer(["fine", prompt], 8)
    str(error.value).encode()  # the message itself can be printed


@pytest.mark.parametrize("prompt", [None, 3, b"bytes", ["a"], float("nan")])
def test_prompt_that_is_no_string_is_an_error(unwrapped, tokenizer, prompt):
    with pytest.raises(InputError, match=f"string, not {type(prompt).__name__}"):
        tokenizer(["fine", prompt], 8)


def test_one_string_for_a_list_is_an_error(tokenizer):
    with pytest.raises(InputError, match="list of strings"):
        tokenizer("a cat", 8)


@pytest.mark.parametrize("context", [0, -1])
def test_context_without_room_is_an_error(tokenizer, context):
    with pytest.raises(InputError, match=f"context is {context}, but"):
        tokenizer(["a"], context)


@pytest.mark.parametrize("shift", [0, 10**6])
def test_unknown_id_is_an_error(tokenizer, shift):
    for i in (tokenizer.vocab_size + shift, -1 - shift):
        with pytest.raises(InputError, match=f"Token id {i} "):
            tokenizer.decode([5, i])


def test_hostile_prompts_have_ids(tokenizer):
    for prompt in (
        "a" * 10_000,
        "🦊" * 3_000,
        "a b" * 3_000,
        " " * 10_000,
        "\0" * 50,
        "''''" * 900,
    ):
        ids = tokenizer.encode(prompt)
        assert all(0 <= i < tokenizer.vocab_size for i in ids)


def test_saved_and_loaded_is_the_same(tokenizer, tmp_path):
    spec = json.loads(json.dumps(tokenizer.save(tmp_path)))
    assert spec["kind"] == tokenizer.kind
    loaded = tokenizers.load(spec, tmp_path)
    assert loaded.vocab_size == tokenizer.vocab_size
    assert [loaded.encode(p) for p in PROMPTS] == [tokenizer.encode(p) for p in PROMPTS]
    assert loaded.save(tmp_path) == spec


def test_clip_reference_switch_is_saved(tmp_path):
    assert tokenizers.load(ClipBPE(reference=True).save(tmp_path), tmp_path).reference
    with pytest.raises(InputError, match="true or false"):
        tokenizers.load({"kind": "clip_bpe", "reference": "no"}, tmp_path)


def test_pickled_is_small_and_the_same(tokenizer):
    tokenizer.encode("a cat")  # tables and memory of words must not travel to worker processes
    data = pickle.dumps(tokenizer)
    assert len(data) < 400_000
    assert pickle.loads(data).encode("a cat") == tokenizer.encode("a cat")


@pytest.mark.parametrize("spec", [{}, {"kind": "word"}, {"kind": ["glide_bpe"]}, None, "glide_bpe"])
def test_unknown_kind_is_an_error(unwrapped, spec, tmp_path):
    with pytest.raises(InputError, match="must be one of glide_bpe, clip_bpe, sentencepiece"):
        tokenizers.load(spec, tmp_path)


@pytest.mark.parametrize("kind", ["glide_bpe", "clip_bpe"])
def test_other_merges_are_an_error(kind, tmp_path):
    with pytest.raises(InputError, match="saved with merges"):
        tokenizers.load({"kind": kind, "sha256": "0" * 64}, tmp_path)


def test_import_brings_nothing_heavy():
    code = (
        "import sys, glide_jax.tokenizers as t; t.GlideBPE(); t.ClipBPE()\n"
        "heavy = {'jax', 'flax', 'numpy', 'regex', 'ftfy', 'sentencepiece'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "assert t.glide_bpe._table.cache_info().currsize == 0"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
