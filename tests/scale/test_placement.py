"""Tables of a run's arrays on devices that need not be there."""

import jax.numpy as jnp

from glide_jax.scale import placement
from glide_jax.training.config import read_config
from glide_jax.training.plan import make_plan


def test_rows_and_totals_say_what_a_device_keeps():
    config = read_config("shapes_64:smoke", ["mesh.fsdp=4"])
    mesh = placement.abstract_mesh(config, 8)
    assert dict(mesh.shape) == {"data": 2, "fsdp": 4, "tensor": 1}
    plan = make_plan(config, jnp.zeros(config.model.text_context, jnp.int32), mesh, min_size=512)
    rows = {row.name: row for row in placement.rows(plan.state_like.params)}
    split = rows["text/block_0/fc_in/kernel"]
    assert split.shape == (32, 128)
    assert split.spec == (None, "fsdp")
    assert split.bytes == 32 * 128 * 4 // 4
    whole = rows["text/block_0/fc_in/bias"]
    assert whole.spec == (None,)
    assert whole.bytes == 128 * 4
    totals = placement.totals(plan)
    assert totals["parameters"][1] == sum(row.bytes for row in rows.values())
    parts = ("parameters", "optimizer", "averages")
    assert totals["state"] == tuple(sum(totals[part][k] for part in parts) for k in (0, 1))
