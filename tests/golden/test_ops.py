"""Single operators, each through the module or function of the package that performs it."""

import ast
import re
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from glide_jax.checkpoints.torch import names
from glide_jax.networks import blocks
from glide_jax.networks.clip import ClipBlock, ClipImageEncoder
from glide_jax.networks.text import TransformerBlock
from tests.golden.compare import Entry, Tolerance, check, entry
from tests.golden.files import Arrays, read_json, read_npz
from tests.golden.perturbing import Family, assert_seen
from tests.golden.weights import nchw, nhwc, weight

OPS = Tolerance(max=2e-5)
TIME = Tolerance(max=1e-4)  # phases reach 999 radians, whose float32 spacing is 6e-5
State = dict[str, np.ndarray]


def read(goldens, case) -> tuple[dict, Arrays]:
    arrays = read_npz(goldens / "ops", "ops")
    start = f"{case}/"
    stored = {k.removeprefix(start): a for k, a in arrays.items() if k.startswith(start)}
    return read_json(goldens / "ops", "ops")[case] | {"name": case}, stored


def load(shapes, state: State, place: tuple[str, str], entry_of=names.glide_entry):
    """Parameters of one block by the importer: `place` is where the block is, in both trees."""
    ours, theirs = place

    def block_entry(path: str) -> names.Entry:
        _, name, layout = entry_of(f"{ours}{path}")
        return path, name.removeprefix(theirs), layout

    return names.import_params(state, shapes, block_entry)


def apply(module: nn.Module, state: State, place, *inputs, entry_of=names.glide_entry):
    shapes = jax.eval_shape(lambda: module.init(jax.random.key(0), *inputs))["params"]
    return module.apply({"params": load(shapes, state, place, entry_of)}, *inputs)


RES = ("unet/input_1_res/", "input_blocks.1.0.")
ATTENTION = ("unet/input_1_attn/", "input_blocks.1.1.")
TEXT_KEYS_VALUES = ("keys_values/", "input_blocks.1.1.")
STRIDED = ("unet/input_1_", "input_blocks.1.0.")
TEXT_BLOCK = ("text/block_0/", "transformer.resblocks.0.")
CLIP_BLOCK = ("block_0/", "blocks.block_0.")
CLIP_INPUT = ("", "blocks.input.")


class Named(nn.Module):
    """A function of the package that makes one named submodule."""

    function: Callable

    @nn.compact
    def __call__(self, *inputs):
        return self.function(*inputs)


def norm(function, case: dict, x: np.ndarray, state: State) -> jax.Array:
    """A norm over the last axis, weights given as (weight, bias) or (g, b)."""
    scale, bias = state.values()
    params = {"norm": {"scale": jnp.asarray(scale), "bias": jnp.asarray(bias)}}
    return Named(lambda y: function(y, "norm")).apply({"params": params}, x)


def group_norm(case: dict, state: State, in_x: np.ndarray) -> np.ndarray:
    """The norm, then x * sigmoid(beta * x), which is SiLU at beta = 1; 0 is none."""
    beta = float(re.search(r"swish=([\d.]+)", case["note"])[1])
    y = norm(lambda x, name: blocks.GroupNorm(name=name)(x), case, nhwc(in_x), state)
    return nchw(y if beta == 0 else nn.silu(y) if beta == 1 else y * nn.sigmoid(beta * y))


def convolution(case: dict, state: State, in_x: np.ndarray) -> np.ndarray:
    kernel = next(iter(state.values()))
    stride = 2 if "stride2" in case["name"] else 1
    module = Named(lambda x: blocks.conv3x3(len(kernel), jnp.float32, "conv", stride=stride)(x))
    state = {f"op.{name.split('.')[-1]}": a for name, a in state.items()}
    x = nhwc(in_x)
    x = blocks.upsample(x) if "nearest 2x" in case["note"] else x
    return nchw(apply(module, state, STRIDED, x))


def resize(case: dict, state: State, in_x: np.ndarray) -> np.ndarray:
    return nchw(blocks.resize_bilinear(nhwc(in_x), *case["out_shape"][2:]))


def dense(x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> jax.Array:
    layout = names.CONV1D if weight.ndim == 3 else names.LINEAR
    params = {"kernel": names.to_flax(weight, layout), "bias": bias}
    return nn.Dense(len(bias)).apply({"params": params}, x)


def split_heads(x: jax.Array, heads: int, parts: int) -> jax.Array:
    """(b, n, heads * parts * d), the order of the weights, to one (b, n, heads, d) a part."""
    b, n, c = x.shape
    return jnp.moveaxis(x.reshape(b, n, heads, parts, c // heads // parts), 3, 0)


def heads_of(case: dict, default: int) -> int:
    match = re.search(r"(\d+) heads", case["note"])
    return int(match[1]) if match else default


def qkv_attention(case: dict, state: State, in_qkv, in_encoder_kv=None) -> np.ndarray:
    heads = heads_of(case, 1)
    q, k, v = split_heads(jnp.asarray(in_qkv).transpose(0, 2, 1), heads, 3)
    if in_encoder_kv is not None:
        text = split_heads(jnp.asarray(in_encoder_kv).transpose(0, 2, 1), heads, 2)
        k, v = (jnp.concatenate(pair, axis=1) for pair in zip(text, (k, v), strict=True))
    return np.asarray(blocks.attend(q, k, v)).transpose(0, 2, 1)


def attention_block(case: dict, state: State, in_x, in_encoder_out=None) -> np.ndarray:
    heads, text = heads_of(case, 2), None
    own = {k: a for k, a in state.items() if not k.startswith("encoder_kv")}
    if in_encoder_out is not None:
        sequence = np.asarray(in_encoder_out).transpose(0, 2, 1)
        both = dense(sequence, state["encoder_kv.weight"], state["encoder_kv.bias"])
        text = jnp.moveaxis(split_heads(both, heads, 2), 0, 2)
    return nchw(apply(blocks.AttentionBlock(heads), own, ATTENTION, nhwc(in_x), text))


def res_block(case: dict, state: State, in_x, in_emb) -> np.ndarray:
    options = ast.literal_eval(case["note"])
    resample = next((k for k in ("up", "down") if options.get(k)), None)
    module = blocks.ResBlock(
        options.get("out_channels", in_x.shape[1]),
        resample,
        scale_shift=options.get("use_scale_shift_norm", False),
    )
    return nchw(apply(module, state, RES, nhwc(in_x), jnp.asarray(in_emb)))


def text_attention(case: dict, state: State, in_x) -> jax.Array:
    q, k, v = split_heads(
        dense(in_x, state["c_qkv.weight"], state["c_qkv.bias"]), heads_of(case, 4), 3
    )
    return dense(blocks.attend(q, k, v), state["c_proj.weight"], state["c_proj.bias"])


def text_block(case: dict, state: State, in_x) -> jax.Array:
    return apply(TransformerBlock(heads_of(case, 4)), state, TEXT_BLOCK, jnp.asarray(in_x))


def clip_block(causal: bool):
    def run(case: dict, state: State, in_x) -> jax.Array:
        module = ClipBlock(heads_of(case, 2), causal=causal)
        entry_of = names.clip_entry
        return apply(module, state, CLIP_BLOCK, jnp.asarray(in_x), entry_of=entry_of)

    return run


def clip_image_embedding(case: dict, state: State, in_image_0_255, in_t) -> jax.Array:
    """What the first block of the image encoder is given."""
    width, _, patch, _ = state["patch_proj"].shape
    rows = len(state["w_t"])
    encoder = ClipImageEncoder(
        patch, width, layers=0, heads=1, embedding_width=1, num_timesteps=rows
    )
    inputs = nhwc(in_image_0_255) / 127.5 - 1.0, jnp.asarray(in_t)
    params = encoder.init(jax.random.key(0), *inputs)["params"]
    outer = {k: params.pop(k) for k in ("ln_out", "out")}
    params = load(params, state, CLIP_INPUT, names.clip_entry)
    keep = lambda module, _: module.path == ("ln_in",)
    _, seen = encoder.apply(
        {"params": params | outer}, *inputs, capture_intermediates=keep, mutable="intermediates"
    )
    return seen["intermediates"]["ln_in"]["__call__"][0]


OPERATORS = {  # how a case's name starts: what computes it; the longest that fits is taken
    "groupnorm": group_norm,
    "layernorm": lambda c, s, in_x: norm(blocks.layer_norm, c, in_x, s),
    "clip_layernorm": lambda c, s, in_x: norm(blocks.layer_norm, c, in_x, s),
    "gelu": lambda c, s, in_x: blocks.gelu(jnp.asarray(in_x)),
    "nearest2x": lambda c, s, in_x: nchw(blocks.upsample(nhwc(in_x))),
    "avgpool2": lambda c, s, in_x: nchw(blocks.downsample(nhwc(in_x))),
    "bilinear": resize,
    "conv3x3": convolution,
    "upsample_conv": convolution,
    "conv1d_1x1": lambda c, s, in_x: dense(in_x.transpose(0, 2, 1), *s.values()).transpose(0, 2, 1),
    "qkvattention": qkv_attention,
    "attentionblock": attention_block,
    "resblock": res_block,
    "xf_attention": text_attention,
    "xf_block": text_block,
    "clip_block_causal": clip_block(causal=True),
    "clip_block_full": clip_block(causal=False),
    "clip_image_embedding": clip_image_embedding,
}


def entries(case: dict, stored: Arrays, name: str) -> list[Entry]:
    inputs = {k: a for k, a in stored.items() if k.startswith("in_")}
    if name.startswith("timestep_embedding"):
        ours = blocks.timestep_embedding(jnp.asarray(inputs["in_t"]), int(name.split("_")[-1]))
        return [entry(ours, ("out64", TIME), ("out32", TIME))]
    state = {n: weight(n, shape, case["salt"]) for n, shape, _ in case["params"]}
    operator = OPERATORS[max((k for k in OPERATORS if name.startswith(k)), key=len)]
    return [entry(operator(case, state, **inputs), ("out64", OPS), ("out32", OPS))]


def test_an_operator_agrees(goldens, op_case):
    case, stored = read(goldens, op_case)
    check(stored, entries(case, stored, op_case), "ops")


def test_ten_tolerances_are_seen_in_every_array(tmp_path):
    family = Family("ops/ops", "resblock_up_ss", read, entries, prefix="resblock_up_ss/")
    assert_seen(family, tmp_path)
