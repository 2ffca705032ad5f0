"""`glide-jax shard`: places of arrays for devices that are not here."""

import re

import pytest

from glide_jax.errors import InputError
from glide_jax.scale import roofline


def test_the_table_says_where_the_papers_model_lies_on_a_pod(shell):
    done = shell("shard", "--config", "base_64", "--devices", 256, "--config.mesh.fsdp=256")
    assert done.code == 0, done.err
    line = re.search(r"^unet/middle_0_res/in_conv/kernel .*$", done.out, re.MULTILINE)
    assert line is not None
    # 3 x 3 x 2048 x 2048 float32 over 256 devices
    assert line[0].split()[-2:] == ["-", "589,824"] or line[0].endswith("589,824")
    assert "3,554,414,086 parameters" in done.out
    state = re.search(r"^state +([\d.]+) GiB in all, +([\d.]+) GiB per device", done.out, re.M)
    assert state is not None
    assert float(state[1]) == pytest.approx(4 * 4 * 3_554_414_086 / 2**30, rel=1e-3)
    assert float(state[2]) < 1.1 * float(state[1]) / 256


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--devices", 6, "--config.mesh.fsdp=4"), "there are 6 devices"),
        (("--devices", 8, "--config.mesh.tensor=8"), "must divide"),
        (("--compile",), "--topology"),
        (("--what", "all"), "what is 'all'"),
        (("--topology", "v5e:2x2", "--devices", 4), "both given"),
        (("--config.mesh.fdsp=4",), "mesh.fsdp"),
    ],
)
def test_what_cannot_be_is_one_sentence(cli, words, says):
    done = cli("shard", "--config", "shapes_64", *words)
    assert done.code == 2
    assert says in done.complaint


@pytest.mark.slow  # two programs
def test_the_check_of_a_config_passes(shell):
    done = shell(
        "shard", "--config", "shapes_64", "--devices", 64, "--check", "--config.mesh.fsdp=8"
    )
    assert done.code == 0, done.err
    assert "4 x 2 x 1" in done.err
    assert re.search(r"each of \d+ gradients within \d", done.out)


def test_a_step_takes_as_long_as_its_longest_limit_at_least_and_their_sum_at_most():
    chip = roofline.Chip(flops=100.0, memory=1.0, bandwidth=10.0, links=2.0)
    found = roofline.predict(roofline.Load(flops=100, accessed=40, sent=2), chip, efficiency=0.5)
    assert found == (2.0, 4.0, 1.0)
    assert (found.best, found.worst, found.limit) == (4.0, 7.0, "memory")
    assert roofline.mfu(100, found.best, chip) == 0.25
    with pytest.raises(InputError, match="efficiency"):
        roofline.predict(roofline.Load(1, 1, 1), chip, efficiency=0.0)


def test_a_topology_names_its_chip_and_its_devices_are_parts_of_it():
    assert roofline.chip("v5e:16x16") == roofline.CHIPS["v5e"]
    assert roofline.chip("v4").flops == 2 * roofline.chip("v4:4x4x4").flops
    with pytest.raises(InputError, match="known are v4"):
        roofline.chip("v9:2x2")


def test_more_devices_split_images_and_state_but_gather_the_same_weights():
    model = roofline.Model(parameters=1e9, flops=3e12, activations=1e9)
    few, many = (model.load(batch=512, fsdp=n) for n in (64, 128))
    assert few.flops == 2 * many.flops == 512 / 64 * 4e12
    assert few.sent == pytest.approx(4 * 2e9, rel=0.02)
    assert many.sent == pytest.approx(few.sent, rel=0.02)
    assert model.load(512, fsdp=1).sent == 0
    copies = model.load(512, fsdp=64, data=2)
    assert copies.flops == many.flops
    assert copies.sent > few.sent
