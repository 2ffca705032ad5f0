"""The four released networks and two text towers at full size, weights by the rule.

One network at a time is in memory: up to 400 M parameters, and activations at 256 pixels.
"""

import numpy as np
import pytest

from glide_jax.networks.cpu.choice import prepared
from tests.golden import taps, weights
from tests.golden.compare import Entry, Tolerance, check, entry
from tests.golden.files import Arrays, has_json, read_json, read_npz

MEANS = 1e-5  # averages of an output move by no more than its rms error


def network_name(case: str) -> str:
    """upsample_at128 and upsample_text are runs of the network `upsample`."""
    return case.removesuffix("_text").removesuffix("_at128")


def read(goldens, case) -> tuple[dict, Arrays]:
    listed = read_json(goldens / "params", network_name(case))
    stored = read_npz(goldens / "full", case)
    report = read_json(goldens / "full", "report") if has_json(goldens / "full", "report") else {}
    if "prompts" not in stored and case in report:
        stored["out_stats"] = np.array(report[case]["out_stats"])
    return listed, stored


def text_entries(network: weights.Glide, stored: Arrays) -> list[Entry]:
    pooled, sequence = taps.text_tower(network, stored)
    channels = sequence.transpose(0, 2, 1)
    return [
        entry(pooled, ("xf_proj_f64", taps.TEXT), ("xf_proj", taps.TEXT)),
        entry(channels[:, :16], ("xf_out_first16ch", taps.TEXT)),
        entry(sequence[:, -1], ("xf_out_lastpos", taps.TEXT)),
        entry(sequence.mean(axis=2), ("xf_out_pos_mean", Tolerance(max=2e-5, scale=1.0))),
    ]


def output_entries(out: np.ndarray, stored: Arrays) -> list[Entry]:
    """The output whole, or the parts of it that a file keeps."""
    views = {
        "out_f64": out,
        "out": out,
        "out_crop_96_160": out[:, :, 96:160, 96:160],
        "out_stride4": out[:, :, ::4, ::4],
        "out_f64_stride2": out[:, :, ::2, ::2],
        "out_f64_stride8": out[:, :, ::8, ::8],
    }
    means = {
        "out_chan_mean": out.mean(axis=(2, 3)),
        "out_chan_std": out.std(axis=(2, 3)),
        "out_row_mean": out.mean(axis=3),
        "out_col_mean": out.mean(axis=2),
    }
    rms = float(np.sqrt(np.mean(out**2)))
    views = {k: a for k, a in views.items() if k in stored}
    found = [entry(a, (k, taps.UNET)) for k, a in views.items()]
    found += [entry(a, (k, Tolerance(max=MEANS, scale=rms))) for k, a in means.items()]
    if "out_stats" in stored:
        found.append(entry(taps.out_stats(out), ("out_stats", taps.stats_tolerance(rms))))
    return found


def entries(listed: dict, stored: Arrays, case: str, convolutions: str = "direct") -> list[Entry]:
    network = weights.glide(listed["options"], listed["params"], listed["salt"])
    params = prepared(network.config, network.params, convolutions)
    network = network._replace(params=params)
    if "prompts" in stored:
        return text_entries(network, stored)
    size = network.config.image_size
    if network.config.upsampler:  # four times what it is given, which need not be its nominal size
        size = 4 * stored["in_low_res"].shape[-1]
    out, found = taps.run(network, stored, case, (size, size))
    return found + output_entries(out, stored)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_full_size_network_agrees(goldens, full_case):
    listed, stored = read(goldens, full_case)
    family = "text, full size" if full_case.endswith("_text") else "networks, full size"
    check(stored, entries(listed, stored, full_case), family)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("convolutions", ["winograd2", "winograd4"])
def test_it_agrees_as_closely_with_fewer_multiplications(goldens, full_case, convolutions):
    listed, stored = read(goldens, full_case)
    if "prompts" in stored:  # a text tower has no convolutions: the test above is all there is
        return
    family = f"networks, full size, {convolutions}"
    check(stored, entries(listed, stored, full_case, convolutions), family)
