"""One pass of a network that also reports what its blocks put out, by the reference's names."""

import jax
import jax.numpy as jnp
import numpy as np

from glide_jax.networks.unet import plan
from glide_jax.types import Cond, Prediction
from tests.golden.compare import Entry, Tolerance, entry
from tests.golden.files import Arrays
from tests.golden.weights import Glide, image_input, nchw, nhwc

UNET = Tolerance(max=1e-4, rms=1e-5)
TEXT = Tolerance(max=2e-5, rms=3e-6)


def unet_places(network: Glide) -> dict[str, tuple[str, ...]]:
    """The reference's name of each block, and the module of ours whose output is the same."""
    down, _, up = plan(network.config)
    places = {
        "time_embed": ("unet", "time_out"),
        "input_blocks.0": ("unet", "input_0"),
        "middle_block": ("unet", "middle_1_res"),
    }
    updown = network.config.resblock_updown
    for side, first, blocks in (("input", 1, down), ("output", 0, up)):
        for k, block in enumerate(blocks, first):
            last = "_attn" if block.heads else "_res"
            match block.resample:
                case "up":
                    last = "_up"
                case "down" if not updown:
                    last = "_conv"
            places[f"{side}_blocks.{k}"] = ("unet", block.name + last)
    return places


def text_places(network: Glide) -> dict[str, tuple[str, ...]]:
    layers = range(network.config.text_layers if network.config.text_width else 0)
    return {f"transformer.resblocks.{k}": ("text", f"block_{k}") for k in layers}


def statistics(a: jax.Array) -> jax.Array:
    """Mean, std, largest magnitude, rms."""
    return jnp.stack([a.mean(), a.std(), jnp.abs(a).max(), jnp.sqrt((a**2).mean())])


def look_up(intermediates, place: tuple[str, ...]):
    for name in (*place, "__call__"):
        intermediates = intermediates[name]
    return intermediates[0]


def slices(stored: Arrays, name: str, tap: jax.Array) -> jax.Array:
    """The part of a block's output that the file keeps, in the file's layout."""
    if name.startswith("transformer"):
        return tap[:, ::4, :16]
    if name == "xf_out":
        return tap.transpose(0, 2, 1)[:, : stored[f"tap/{name}"].shape[1]]
    if tap.ndim == 4:
        _, c, h, w = stored[f"tap/{name}"].shape
        return tap.transpose(0, 3, 1, 2)[:, :c, :h, :w]
    return tap


def condition(stored: Arrays, case: str, config, size: tuple[int, int]) -> tuple[jax.Array, Cond]:
    """x_t and the image conditions of a case; `size` is for inputs that only a rule holds."""
    b = len(stored["in_t"])
    x_t = image_input(stored, "x", case, (b, 3, *size))
    low_res = known = mask_known = None
    if config.upsampler:
        low_res = nhwc(image_input(stored, "low_res", case))
    if config.inpaint:
        known = nhwc(image_input(stored, "inpaint_image", case, (b, 3, *size)))
        mask_known = nhwc(stored["in_inpaint_mask"])
    return nhwc(x_t), Cond(low_res=low_res, known=known, mask_known=mask_known)


def run(network: Glide, stored: Arrays, case: str, size=(0, 0)) -> tuple[np.ndarray, list[Entry]]:
    """The output, NCHW with six channels, and entries for every tap of the file."""
    x_t, cond = condition(stored, case, network.config, size)
    t = jnp.asarray(stored["in_t"])
    tokens = jnp.asarray(stored.get("in_tokens", np.zeros((len(t), 1), np.int32)))
    mask = jnp.asarray(stored["in_mask"]) if "in_mask" in stored else tokens > 0
    places = unet_places(network) | text_places(network)
    named = set(places.values()) | {("text",)}
    kept = [key.removeprefix("tap/") for key in stored if key.startswith("tap/")]

    @jax.jit
    def forward(params):
        out, state = network.model.apply(
            {"params": params},
            *(tokens, mask, x_t, t, cond),
            method="initialise",
            capture_intermediates=lambda module, _: module.path in named,
            mutable=["intermediates"],
        )
        seen = state["intermediates"]
        taps = {name: look_up(seen, place) for name, place in places.items()}
        if network.config.text_width:
            taps["xf_proj"], taps["xf_out"] = look_up(seen, ("text",))
        stats = {name: statistics(tap) for name, tap in taps.items()}
        return out, {name: slices(stored, name, taps[name]) for name in kept}, stats

    out, taps, stats = jax.device_get(forward(network.params))
    entries = [
        entry(taps[name], (f"tap/{name}", TEXT if name.startswith("xf_") else UNET))
        for name in kept
    ]
    return output(out), entries + stats_entries(stored, stats)


def text_tower(network: Glide, stored: Arrays) -> tuple[np.ndarray, np.ndarray]:
    """The pooled vector and the sequence that the text encoder makes of the file's prompts."""
    tokens, mask = jnp.asarray(stored["in_tokens"]), jnp.asarray(stored["in_mask"])

    @jax.jit
    def forward(params):
        return network.model.apply({"params": params}, tokens, mask, method=_text)

    return jax.device_get(forward(network.params))


def _text(module, tokens: jax.Array, mask: jax.Array):
    return module.text(tokens, mask)


def output(out: Prediction) -> np.ndarray:
    """The reference's six channels, float32 NCHW."""
    return nchw(np.concatenate([out.eps, out.var_frac * 2 - 1], axis=-1))


def stats_tolerance(rms: np.ndarray | float) -> Tolerance:
    """Of (mean, std, absmax, rms) of an array of that rms: 1e-5, and 1e-4 for the largest."""
    return Tolerance(max=1e-5, scale=np.asarray(rms)[..., None] * np.array([1, 1, 10, 1]))


def stats_entries(stored: Arrays, stats: dict[str, np.ndarray]) -> list[Entry]:
    if "tapstats_names" not in stored:
        return []
    names = [str(name) for name in stored["tapstats_names"]]
    ours = np.array([stats[name] for name in names])
    tolerance = stats_tolerance(ours[:, 3])
    keys = ("tapstats_f64", "tapstats_mean_std_absmax_rms")
    return [entry(ours, *((key, tolerance) for key in keys if key in stored))]


def out_stats(out: np.ndarray) -> np.ndarray:
    return np.asarray(statistics(jnp.asarray(out)))
