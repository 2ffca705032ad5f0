"""OpenAI's CLIP against its layers written anew in numpy, and its pictures against Pillow's."""

import numpy as np
import pytest
from PIL import Image

from glide_jax.checkpoints.torch import writer
from glide_jax.errors import InputError
from glide_jax.evaluation.features import extractor, openai_clip
from glide_jax.tokenizers import ClipBPE

SIDE, PATCH, WIDTH, TEXT, EMBEDDING = 16, 8, 128, 64, 16


def state_of() -> dict[str, np.ndarray]:
    """Two layers a tower, two heads in the pictures' and one in the texts'."""
    rng = np.random.default_rng(0)
    normal = lambda *shape: (
        rng.standard_normal(shape) * (0.3 if len(shape) < 2 else shape[-1] ** -0.5)
    )
    state = {
        "visual.conv1.weight": normal(WIDTH, 3, PATCH, PATCH),
        "visual.class_embedding": normal(WIDTH),
        "visual.positional_embedding": normal((SIDE // PATCH) ** 2 + 1, WIDTH),
        "visual.proj": normal(WIDTH, EMBEDDING),
        "token_embedding.weight": normal(ClipBPE.vocab_size, TEXT),
        "positional_embedding": normal(77, TEXT),
        "text_projection": normal(TEXT, EMBEDDING),
        "logit_scale": np.array(np.log(100.0)),
        "context_length": np.array(77),
    }
    norms = [("visual.ln_pre", WIDTH), ("visual.ln_post", WIDTH), ("ln_final", TEXT)]
    for stack, d in (("visual.transformer", WIDTH), ("transformer", TEXT)):
        for i in range(2):
            at = f"{stack}.resblocks.{i}"
            norms += [(f"{at}.ln_1", d), (f"{at}.ln_2", d)]
            for name, rows, columns in (("attn.out_proj", d, d), ("mlp.c_fc", 4 * d, d),
                                        ("mlp.c_proj", d, 4 * d)):  # fmt: skip
                state[f"{at}.{name}.weight"] = normal(rows, columns)
                state[f"{at}.{name}.bias"] = normal(rows)
            state[f"{at}.attn.in_proj_weight"] = normal(3 * d, d)
            state[f"{at}.attn.in_proj_bias"] = normal(3 * d)
    for name, d in norms:
        state[f"{name}.weight"], state[f"{name}.bias"] = 1 + normal(d), normal(d)
    return {name: array.astype(np.float32) for name, array in state.items()}


def normed(state, name, x):
    x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
    return x * state[f"{name}.weight"] + state[f"{name}.bias"]


def transformer(state, stack, x, causal):
    n, d = x.shape
    dense = lambda name, x: x @ state[f"{name}.weight"].T + state[f"{name}.bias"]
    for i in range(2):
        at = f"{stack}.resblocks.{i}"
        y = normed(state, f"{at}.ln_1", x)
        qkv = y @ state[f"{at}.attn.in_proj_weight"].T + state[f"{at}.attn.in_proj_bias"]
        q, k, v = qkv.reshape(n, 3, d // 64, 64).transpose(1, 2, 0, 3)
        logits = q @ k.swapaxes(1, 2) / 8 + (np.triu(np.full((n, n), -np.inf), 1) if causal else 0)
        weights = np.exp(logits - logits.max(-1, keepdims=True))
        seen = (weights / weights.sum(-1, keepdims=True) @ v).swapaxes(0, 1).reshape(n, d)
        x = x + dense(f"{at}.attn.out_proj", seen)
        h = dense(f"{at}.mlp.c_fc", normed(state, f"{at}.ln_2", x))
        x = x + dense(f"{at}.mlp.c_proj", h / (1 + np.exp(-1.702 * h)))
    return x


def image_embedding(state, picture):
    mean, std = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]
    x = (picture / 255 - mean) / std
    patches = x.reshape(SIDE // PATCH, PATCH, SIDE // PATCH, PATCH, 3).transpose(0, 2, 4, 1, 3)
    rows = patches.reshape(-1, 3 * PATCH**2) @ state["visual.conv1.weight"].reshape(WIDTH, -1).T
    x = np.concatenate([state["visual.class_embedding"][None], rows])
    x = normed(state, "visual.ln_pre", x + state["visual.positional_embedding"])
    x = transformer(state, "visual.transformer", x, causal=False)
    return normed(state, "visual.ln_post", x[0]) @ state["visual.proj"]


def text_embedding(state, text):
    ids = [ClipBPE.start, *ClipBPE().encode(text), ClipBPE.end]
    x = state["token_embedding.weight"][ids] + state["positional_embedding"][: len(ids)]
    x = normed(state, "ln_final", transformer(state, "transformer", x, causal=True)[-1])
    z = x @ state["text_projection"]
    return z / np.linalg.norm(z)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("clip") / "clip.pt"
    writer.write_state_dict(path, state_of())
    return path


def test_both_towers_are_openais(file, cache):
    clip = openai_clip.load_openai_clip(file)
    assert clip.network.logit_scale == pytest.approx(100, rel=1e-6)
    assert clip.images.name == f"clip-{clip.images.sha256[:8]}"
    state = {name: array.astype(np.float64) for name, array in state_of().items()}
    pictures = np.random.default_rng(1).integers(0, 256, (3, SIDE, SIDE, 3)).astype(np.uint8)
    found = extractor.collect(extractor.extract(clip.images, pictures, batch_size=2)).pool
    expected = np.stack([image_embedding(state, picture) for picture in pictures])
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    texts = ["a red circle", "toys for girls!"]
    expected = np.stack([text_embedding(state, text) for text in texts])
    np.testing.assert_allclose(clip.texts(texts), expected, atol=1e-5)


@pytest.mark.parametrize("shape", [(8, 8), (24, 24), (12, 30), (41, 20)])
def test_pictures_are_prepared_as_by_pillow(shape):
    picture = np.random.default_rng(2).integers(0, 256, (*shape, 3)).astype(np.uint8)
    found = np.asarray(openai_clip.clip_resize(picture[None].astype(np.float32), SIDE))[0]
    height, width = shape
    short = min(shape)
    wide, tall = SIDE * width // short, SIDE * height // short
    # Rows, then columns, as one call did until Pillow 13, which may begin with columns.
    image = Image.fromarray(picture).resize((wide, height), Image.Resampling.BICUBIC)
    image = image.resize((wide, tall), Image.Resampling.BICUBIC)
    left, top = round((wide - SIDE) / 2), round((tall - SIDE) / 2)
    expected = np.asarray(image.crop((left, top, left + SIDE, top + SIDE)), np.float32)
    assert np.abs(found - expected).max() <= 1  # Pillow's weights are rounded
    assert (found != expected).mean() < 0.02


def test_another_network_is_refused(tmp_path):
    writer.write_state_dict(tmp_path / "other.pt", {"conv1.weight": np.zeros((3, 3), np.float32)})
    with pytest.raises(InputError, match="not a CLIP with a vision transformer"):
        openai_clip.load_openai_clip(tmp_path / "other.pt")
    state = state_of()
    state["visual.ln_pre.bias"] = state["visual.ln_pre.bias"][:5]
    writer.write_state_dict(tmp_path / "cut.pt", state)
    with pytest.raises(InputError, match=r"image/ln_in/bias is \(5,\) instead of \(128,\)"):
        openai_clip.load_openai_clip(tmp_path / "cut.pt")
