"""Twelve small networks that between them use every option: outputs, and where an error starts."""

import jax
import numpy as np

from tests.golden import taps, weights
from tests.golden.compare import EXACT, Entry, check, entry, once
from tests.golden.files import Arrays, read_json, read_npz
from tests.golden.perturbing import Family, assert_seen


def read(goldens, case) -> tuple[dict, Arrays]:
    config = read_json(goldens / "tiny", "configs")[case]
    stored = read_npz(goldens / "tiny", case)
    stored["total_params"] = np.array(config["total_params"])
    stored["out_stats"] = np.array(config["out_stats_mean_std_absmax_rms"])
    return config, stored


def entries(config: dict, stored: Arrays, case: str) -> list[Entry]:
    network = weights.glide(config["create_model_kwargs"], config["params"], config["salt"])
    out, found = taps.run(network, stored, case)
    whole = stored.get("out_f64", out).shape == out.shape
    if whole:
        found.append(entry(out, ("out_f64", taps.UNET), ("out", taps.UNET)))
    else:
        found.append(entry(out, ("out", taps.UNET)))
        found.append(entry(out[:, :, ::2, ::2], ("out_f64", taps.UNET)))
    stats = taps.out_stats(out)
    found.append(entry(stats, ("out_stats", taps.stats_tolerance(stats[3]))))
    count = sum(a.size for a in jax.tree.leaves(network.params))
    return [*found, entry(count, ("total_params", EXACT))]


def test_a_tiny_network_agrees_in_its_output_and_its_blocks(goldens, tiny_case):
    config, stored = read(goldens, tiny_case)
    ours = once((goldens, "tiny", tiny_case), lambda: entries(config, stored, tiny_case))
    check(stored, ours, "tiny")


def test_ten_tolerances_are_seen_in_every_array(tmp_path):
    case = "t12_three_channels_per_group_48ch_heads"
    assert_seen(Family(f"tiny/{case}", case, read, entries), tmp_path)
