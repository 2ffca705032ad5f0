"""The other side of the benchmark, with a stand-in for the network of the checkout."""

import contextlib
import types

import pytest

from glide_jax.benchmarks import reference
from glide_jax.benchmarks.reference import Reference
from glide_jax.benchmarks.timing import in_turn
from glide_jax.errors import InputError


class Network:
    """Encodes text as the reference does: only without a cache, or with one that is empty."""

    cache_text_emb, cache = False, None

    def __init__(self):
        self.encoded = []

    def __call__(self, x_t, t, tokens):
        if not (self.cache_text_emb and self.cache is not None):
            self.encoded.append(tokens)
            if self.cache_text_emb:
                self.cache = tokens
        elif self.cache != tokens:
            raise AssertionError("the cache is of other tokens")


@pytest.fixture
def theirs(monkeypatch):
    """A reference without torch; what it is given is its tokens."""
    monkeypatch.setattr(Reference, "__init__", lambda self: None)
    monkeypatch.setattr(Reference, "_given", lambda self, x: ((None, None), {"tokens": x}))
    made = Reference()
    made.device, made.model = "cpu", Network()
    made.torch = types.SimpleNamespace(no_grad=contextlib.nullcontext)
    return made


def test_the_text_cache_saves_encoding_in_every_round_though_the_sides_take_turns(theirs):
    calls = {
        "without": theirs.evaluate("a", cached=False),
        "with": theirs.evaluate("a", cached=True),
        "with, of others": theirs.evaluate("b", cached=True),
    }
    in_turn(calls, 4)
    assert theirs.model.encoded.count("a") == 5 + 1
    assert theirs.model.encoded.count("b") == 1


def test_a_checkout_that_is_none_is_said(monkeypatch, tmp_path):
    monkeypatch.setattr(reference.importlib, "import_module", lambda name: None)
    with pytest.raises(InputError, match="has no folder glide_text2im"):
        reference.find(tmp_path)
