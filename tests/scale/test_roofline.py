"""Predicted times: three limits of a chip, and what a topology's name means."""

import pytest

from glide_jax.errors import InputError
from glide_jax.scale import roofline


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
