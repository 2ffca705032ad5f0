"""Compiled programs: the bytes that they send, read from their text."""

import re

import pytest

from glide_jax.errors import InputError
from glide_jax.scale import gpus, roofline, topology
from tests.eight_devices import in_a_process


def test_collectives_are_counted_from_the_text_of_a_program():
    text = """
%all-reduce-scatter.1 (input: f32[64]) -> f32[16] {
  %all-reduce.9 = f32[64]{0} all-reduce(%input), replica_groups=mesh['x'=4,'y'=2] {'x'}
}
ENTRY %main {
  %a = bf16[8,16]{1,0} all-gather(%p), replica_groups=[2,4]<=[8], dimensions={0}
  %b = (bf16[2,16]{1,0}, bf16[8,16]{1,0}) all-gather-start(%p), replica_groups={{0,1,2,3}}
  %c = bf16[8,16]{1,0} all-gather-done(%b)
  %d = (f32[]{:T(128)}, f32[3]{0}) all-reduce(%x, %y), replica_groups={{0,1},{2,3}}
  %e = f32[5]{0} collective-permute(%z), source_target_pairs={{0,1},{1,0}}
  %f = f32[8]{0} add(%all-reduce.9, %d), metadata={op_name="all-reduce(x)"}
}
"""
    assert topology.collectives(text) == {
        "reduce-scatter": (1, 256, 192.0),
        "all-gather": (2, 512, 384.0),
        "all-reduce": (1, 16, 16.0),
        "collective-permute": (1, 20, 20.0),
    }


def test_a_gpus_kernels_are_counted_from_the_text_of_a_program():
    text = """
ENTRY %main {
  %a = f32[8]{0} fusion(%p), kind=kLoop, calls=%c
  %b = f32[8]{0} fusion(%a), kind=kCustom, calls=%d
  %e = (f32[8]{0}, u8[0]{0}) custom-call(%b, %p), custom_call_target="__cudnn$conv"
  ROOT %f = f32[8]{0} fusion(%e), kind=kLoop, calls=%c
}
"""
    expected = {"fusions (kLoop)": 2, "fusions (kCustom)": 1, "__cudnn$conv": 1}
    assert topology.kernels(text) == expected
    assert topology.kernels("ENTRY %main {\n  %a = f32[8]{0} fusion(%p), kind=kLoop\n}") == {}


@pytest.mark.parametrize("kind", gpus.GPUS)
def test_a_gpu_is_described_whole_and_is_a_chip_that_is_known(kind):
    text = gpus.description(kind)
    fields = dict(re.findall(r"(\w+): (\S+)", text))
    assert text.count("{") == text.count("}") == 3
    assert int(fields["device_memory_size"]) == roofline.chip(f"{kind}:1").memory
    assert int(fields["memory_bandwidth"]) == roofline.chip(kind).bandwidth


@pytest.mark.parametrize("name", ["h100", "a100:8"])
def test_without_the_plugin_a_gpu_is_one_sentence(name, monkeypatch):
    def missing(*_, **__):
        raise NotImplementedError("topology not implemented for cuda")

    monkeypatch.setattr("jax.experimental.topologies.get_topology_desc", missing)
    with pytest.raises(InputError, match="it needs JAX's CUDA plugin \\(pip install"):
        topology.devices(name)
    with pytest.raises(InputError, match="topology's number is '0'"):
        topology.devices("h100:0")


@pytest.mark.slow
def test_a_data_parallel_sampler_sends_nothing():
    report = in_a_process("sampler")
    assert report["8x1x1"] == []
    assert report["1x8x1"] == ["all-gather"]
