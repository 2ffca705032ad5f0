"""MiniLM against the same layers in numpy, sentence by sentence and head by head."""

import math

import jax
import numpy as np

from glide_jax.networks.minilm import HEADS, encode_sentences

WIDTH, LAYERS, WORDS = 24, 2, 11


def arrays():
    rng = np.random.default_rng(0)
    shapes = {
        "embeddings.word_embeddings.weight": (WORDS, WIDTH),
        "embeddings.position_embeddings.weight": (8, WIDTH),
        "embeddings.token_type_embeddings.weight": (2, WIDTH),
    }
    layers = {"embeddings.LayerNorm": None}
    for i in range(LAYERS):
        name = f"encoder.layer.{i}"
        layers |= {f"{name}.attention.self.{part}": WIDTH for part in ("query", "key", "value")}
        layers |= {f"{name}.attention.output.dense": WIDTH, f"{name}.intermediate.dense": 4 * WIDTH}
        layers |= {f"{name}.attention.output.LayerNorm": None, f"{name}.output.LayerNorm": None}
        shapes[f"{name}.output.dense.weight"] = (WIDTH, 4 * WIDTH)
        shapes[f"{name}.output.dense.bias"] = (WIDTH,)
    for name, width in layers.items():
        shapes[f"{name}.weight"] = (WIDTH,) if width is None else (width, WIDTH)
        shapes[f"{name}.bias"] = (width or WIDTH,)
    return {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}


def reference(a, ids):
    dense = lambda x, name: x @ a[f"{name}.weight"].T + a[f"{name}.bias"]

    def norm(x, name):
        x = (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 1e-12)
        return x * a[f"{name}.weight"] + a[f"{name}.bias"]

    e = "embeddings."
    x = a[f"{e}word_embeddings.weight"][ids] + a[f"{e}position_embeddings.weight"][: len(ids)]
    x = norm(x + a[f"{e}token_type_embeddings.weight"][0], f"{e}LayerNorm")
    for i in range(LAYERS):
        name = f"encoder.layer.{i}"
        q, k, v = (dense(x, f"{name}.attention.self.{p}") for p in ("query", "key", "value"))
        parts, size = [], WIDTH // HEADS
        for h in range(HEADS):
            mine = slice(h * size, (h + 1) * size)
            score = np.exp(q[:, mine] @ k[:, mine].T / math.sqrt(size))
            parts.append(score / score.sum(1, keepdims=True) @ v[:, mine])
        mixed = dense(np.concatenate(parts, 1), f"{name}.attention.output.dense")
        x = norm(x + mixed, f"{name}.attention.output.LayerNorm")
        h = dense(x, f"{name}.intermediate.dense")
        h = h * 0.5 * (1 + np.vectorize(math.erf)(h / math.sqrt(2)))
        x = norm(x + dense(h, f"{name}.output.dense"), f"{name}.output.LayerNorm")
    mean = x.mean(0)
    return mean / np.linalg.norm(mean)


def test_sentences_of_any_length_are_their_own_mean_whatever_is_padded(cache):
    a = arrays()
    rows = [[1, 5, 9, 3, 2], [4, 10]]
    tokens = np.array([row + [0] * (6 - len(row)) for row in rows], np.int32)
    mask = np.array([[i < len(row) for i in range(6)] for row in rows])
    found = jax.jit(encode_sentences)(a, tokens, mask)
    wide = {name: array.astype(np.float64) for name, array in a.items()}
    for got, row in zip(found, rows, strict=True):
        np.testing.assert_allclose(got, reference(wide, row), atol=2e-5)
