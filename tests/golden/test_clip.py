"""The noise-aware CLIP at full size: embeddings, inner activations and the guidance gradient.

Its parts are among the operators, and a small one steers two of the trajectories.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from glide_jax.diffusion import scores
from tests.golden import weights
from tests.golden.compare import Entry, Tolerance, check, entry
from tests.golden.files import Arrays, read_json, read_npz
from tests.golden.weights import image_input, nhwc

EMBEDDING = Tolerance(max=2e-5, rms=3e-6)
GRADIENT = Tolerance(max=1e-4, rms=1e-5)
INNER = {  # the reference's name, and the module of ours with the same output
    "image_embed_tok_slice": ("image", "ln_in"),
    "image_block0_slice": ("image", "block_0"),
    "text_block0_slice": ("text", "block_0"),
}


def read(goldens) -> tuple[dict, Arrays]:
    lists = {side: read_json(goldens / "params", f"clip_{side}") for side in ("image", "text")}
    return lists, read_npz(goldens / "full", "clip")


def probe(module, tokens, mask, x_t, t) -> tuple[jax.Array, jax.Array]:
    """Both encoders' outputs before they are made unit vectors."""
    return module.text(tokens, mask), module.image(x_t, t)


def entries(lists: dict, stored: Arrays) -> list[Entry]:
    params = {side: listed["params"] for side, listed in lists.items()}
    salts = {side: listed["salt"] for side, listed in lists.items()}
    clip = weights.clip(lists["image"]["options"], params, salts)
    model, last = clip.model, f"block_{clip.config.image_layers - 1}"
    places = {*INNER.values(), ("image", last)}
    scale = float(stored.pop("grad_scale"))

    tokens, t = jnp.asarray(stored["in_tokens"]), jnp.asarray(stored["in_t"])
    mask = jnp.arange(tokens.shape[1]) < stored["in_lens"][:, None]
    x_t = nhwc(image_input(stored, "image", "clip"))

    @jax.jit
    def forward(params):
        variables = {"params": params}
        (text, image), seen = model.apply(
            *(variables, tokens, mask, x_t, t),
            method=probe,
            capture_intermediates=lambda module, _: module.path in places,
            mutable=["intermediates"],
        )
        seen = seen["intermediates"]
        inner = {k: seen[a][b]["__call__"][0][:, :12, :64] for k, (a, b) in INNER.items()}
        text_emb = model.apply(variables, tokens, mask, method="encode_text")
        log_prob = lambda x, t: model.apply(variables, x, t, text_emb[: len(x)], method="log_prob")
        return inner | {
            "text_raw": text,
            "image_raw": image,
            "image_probe": seen["image"][last]["__call__"][0][:, 0],
            "text_emb": text_emb,
            "image_emb": model.apply(variables, x_t, t, method="encode_image"),
            "grad": scores.classifier(log_prob, scale)(x_t, t).transpose(0, 3, 1, 2),
        }

    ours = {k: np.asarray(a) for k, a in forward(clip.params).items()}
    tolerance = lambda key: GRADIENT if key == "grad" else EMBEDDING
    found = [
        entry(a, (k if k in INNER else f"{k}_f64", tolerance(k)), (k, tolerance(k)))
        for k, a in ours.items()
    ]
    logit_scale = np.log(clip.config.logit_scale)  # the reference keeps its logarithm
    return [
        *found,
        entry(logit_scale, ("logit_scale", Tolerance(max=1e-13, per="element"))),
    ]


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_full_size_clip_agrees(goldens, full_clip_case):
    lists, stored = read(goldens)
    check(stored, entries(lists, stored), "CLIP, full size")
