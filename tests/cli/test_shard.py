"""`glide-jax shard`: places of arrays for devices that are not here."""

import re

import pytest


@pytest.mark.slow
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
