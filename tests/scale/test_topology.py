"""Compiled programs: the bytes that they send, read from their text."""

import pytest

from glide_jax.scale import topology
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


@pytest.mark.slow
def test_a_data_parallel_sampler_sends_nothing():
    report = in_a_process("sampler")
    assert report["8x1x1"] == []
    assert report["1x8x1"] == ["all-gather"]
