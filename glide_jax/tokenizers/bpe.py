"""Byte-pair encoding: a table of merges, and the fast way to apply it to one word."""

import functools
import heapq
import itertools
from collections.abc import Iterable
from pathlib import Path

from glide_jax.errors import InputError

ASSETS = Path(__file__).parent / "assets"

# A word of text repeats; a word this long is an accident or an attack, and is not remembered.
_REMEMBER_BYTES = 64


class MergeTable:
    """A vocabulary that follows from an ordered list of merges.

    Ids are the 256 bytes, then (with `end_of_word`) the 256 bytes that end a word, then one id per
    merge in order. So the id of a merged piece is also its priority: lowest first.

    Sennrich et al. 2016 (arXiv:1508.07909), section 3.2; on bytes: Radford et al. 2019 (GPT-2).
    """

    def __init__(self, merges: Iterable[str], end_of_word: bool):
        # In a merges file a printable byte of Latin-1 stands for itself and the others, in order,
        # for U+0100 onwards, so that a merge is two words on a line.
        printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
        others = sorted(set(range(256)) - set(printable))
        named = {chr(b): bytes([b]) for b in printable}
        named |= {chr(0x100 + i): bytes([b]) for i, b in enumerate(others)}
        self._id_of_byte = {piece[0]: i for i, piece in enumerate(named.values())}
        self._end = len(named) if end_of_word else 0
        if end_of_word:
            named |= {f"{name}</w>": piece + b" " for name, piece in named.items()}
        self.pieces = list(named.values())
        ids = {name: i for i, name in enumerate(named)}
        self._merged = {}
        for merge in merges:
            left, right = merge.split(" ")
            pair = ids[left], ids[right]
            ids[left + right] = self._merged[pair] = len(self.pieces)
            self.pieces.append(self.pieces[pair[0]] + self.pieces[pair[1]])
        self._remembered = functools.lru_cache(maxsize=2**15)(self._encode)

    def encode(self, word: bytes) -> tuple[int, ...]:
        """Returns the ids of one non-empty word."""
        return (self._remembered if len(word) <= _REMEMBER_BYTES else self._encode)(word)

    def decode(self, ids: Iterable[int]) -> str:
        """Returns the text of `ids`, with U+FFFD where their bytes are not UTF-8."""
        return b"".join(self.pieces[i] for i in ids).decode("utf-8", errors="replace")

    def _encode(self, word: bytes) -> tuple[int, ...]:
        ids = [self._id_of_byte[b] for b in word]
        ids[-1] += self._end
        return tuple(self._merge(ids))

    def _merge(self, ids: list[int]) -> list[int]:
        """Merges neighbours, lowest id first and from the left, until no merge applies.

        A heap of candidates over a linked list: O(n log n), where rescanning the word after each
        merge is O(n^2) and lets one long prompt block a server. A merge only makes pairs of higher
        id, so the heap's order is that of rescanning.
        """
        n, merged = len(ids), self._merged
        before, after = list(range(-1, n - 1)), list(range(1, n + 1))
        heap = [(merged[p], i) for i, p in enumerate(itertools.pairwise(ids)) if p in merged]
        heapq.heapify(heap)
        while heap:
            new, i = heapq.heappop(heap)
            j = after[i]
            if j == n or merged.get((ids[i], ids[j])) != new:
                continue  # one of the two has been merged with its other neighbour since
            ids[i], ids[j], after[i] = new, -1, after[j]
            if after[i] < n:
                before[after[i]] = i
                if pair := merged.get((new, ids[after[i]])):
                    heapq.heappush(heap, (pair, i))
            if (k := before[i]) >= 0 and (pair := merged.get((ids[k], new))):
                heapq.heappush(heap, (pair, k))
        return [i for i in ids if i >= 0]


def read_merges(name: str, sha256: str, size: int) -> list[str]:
    """Returns the lines of a packaged gzip file, without comments and empty ones.

    Args:
        name: the file's name.
        sha256: the SHA-256 of its unpacked content.
        size: bytes of that content.

    Raises:
        InputError: the file is missing, or does not unpack to `size` bytes of that SHA-256.
    """
    import hashlib
    import zlib

    try:
        packed = (ASSETS / name).read_bytes()
        data = zlib.decompressobj(wbits=31).decompress(packed, size + 1)  # never more than needed
    except (OSError, zlib.error) as error:
        raise InputError(f"Tokenizer file {name} cannot be read ({error}); reinstall.") from error
    digest = hashlib.sha256(data).hexdigest()
    if digest != sha256:
        raise InputError(
            f"Tokenizer file {name} is damaged: its SHA-256 is {digest[:12]}... where "
            f"{sha256[:12]}... is right; reinstall."
        )
    return [line for line in data.decode().split("\n") if line and not line.startswith("#version")]


def check_merges(spec_sha256: object, sha256: str) -> None:
    """Refuses a saved tokenizer that was made from merges other than ours.

    Raises:
        InputError: it was.
    """
    if spec_sha256 not in (None, sha256):
        raise InputError(
            f"The tokenizer was saved with merges of SHA-256 {str(spec_sha256)[:64]!r}, but this "
            f"version has {sha256!r}."
        )
