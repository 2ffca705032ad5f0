"""Merging: the heap against the definition, the tables, and damaged files."""

import gzip
import itertools
import random

import pytest

from glide_jax.errors import InputError
from glide_jax.tokenizers import ClipBPE, GlideBPE, bpe, clip_bpe, glide_bpe


def merge_by_definition(table, ids):
    """Merges every occurrence of the first pair in the table, from the left, and starts again."""
    ids = list(ids)
    while pairs := [p for p in itertools.pairwise(ids) if p in table]:
        best, i, out = min(pairs, key=table.get), 0, []
        while i < len(ids):
            if tuple(ids[i : i + 2]) == best:
                out.append(table[best])
                i += 2
            else:
                out.append(ids[i])
                i += 1
        ids = out
    return ids


WORDS = ["a", "aa", "aaa", "aaaaaaa", "hello", "ababab", "supercalifragilistic", " the", "猫😺é"]


@pytest.mark.parametrize("tokenizer", [glide_bpe, clip_bpe])
def test_heap_merges_as_the_definition_does(tokenizer):
    table, rng = tokenizer._table(), random.Random(0)
    words = [w.encode() for w in WORDS]
    words += [bytes(rng.choices(b"aeinrst lho", k=rng.randrange(1, 40))) for _ in range(300)]
    words += [rng.randbytes(rng.randrange(1, 20)) for _ in range(50)]
    for word in words:
        ids = [table._id_of_byte[b] for b in word]
        ids[-1] += table._end
        assert list(table.encode(word)) == merge_by_definition(table._merged, ids), word


@pytest.mark.parametrize(("module", "tokenizer"), [(glide_bpe, GlideBPE), (clip_bpe, ClipBPE)])
def test_vocabulary_has_the_ids_it_says(module, tokenizer):
    pieces, markers = module._table().pieces, 1 if module is glide_bpe else 2
    assert len(pieces) + markers == tokenizer.vocab_size
    assert len(set(pieces)) == len(pieces)  # merging by id rests on this


def test_merges_only_make_pairs_of_higher_id():
    for table in (glide_bpe._table(), clip_bpe._table()):
        assert all(max(pair) < new for pair, new in table._merged.items())


@pytest.mark.parametrize("size", [64, 10_000])
def test_long_words_are_merged_and_not_remembered(size):
    table = glide_bpe._table()
    before = table._remembered.cache_info().currsize
    word = random.Random(size).choices(b"abcdefgh", k=size + 1)
    assert b"".join(table.pieces[i] for i in table.encode(bytes(word))) == bytes(word)
    assert table._remembered.cache_info().currsize == before


def test_long_word_takes_few_steps(monkeypatch):
    """Counts the heap's work, which does not depend on the machine: rescanning needs millions."""
    pushed = []
    push = bpe.heapq.heappush
    monkeypatch.setattr(bpe.heapq, "heappush", lambda h, x: (pushed.append(x), push(h, x)))
    for word in (b"a" * 10_000, b"the" * 3_333):
        glide_bpe._table().encode(word)
    assert len(pushed) < 60_000


HOSTILE = {
    "missing": None,
    "empty": b"",
    "not gzip": b"#version: 0.2\na b\n",
    "other content": gzip.compress(b"#version: 0.2\na b\n"),
    "cut": gzip.compress(b"#version: 0.2\na b\n" * 99)[:-20],
    "bomb": gzip.compress(bytes(10**7)),
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE.keys())
def test_damaged_file_is_one_clear_error(monkeypatch, tmp_path, content):
    monkeypatch.setattr(bpe, "ASSETS", tmp_path)
    if content is not None:
        (tmp_path / "x.gz").write_bytes(content)
    with pytest.raises(InputError, match=r"x\.gz .*reinstall") as error:
        bpe.read_merges("x.gz", "0" * 64, 1000)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("module", [glide_bpe, clip_bpe])
def test_packaged_file_is_whole_and_no_longer_than_it_says(module):
    assert len(bpe.read_merges(module._FILE, module._SHA256, module._SIZE)) in (50_000, 48_894)
    with pytest.raises(InputError, match="damaged"):
        bpe.read_merges(module._FILE, module._SHA256, module._SIZE - 2)
