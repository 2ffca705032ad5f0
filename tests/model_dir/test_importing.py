"""State dicts as trainers save them: under their own names again, or refused with the way out."""

import numpy as np
import pytest

from glide_jax.errors import InputError
from glide_jax.model_dir import importing

STEM = "input_blocks.0.0.weight"
OWN = {STEM: np.zeros((4, 3, 3, 3)), "out.2.bias": np.zeros(6)}


def named(form: str, **more) -> dict:
    return {form.format(name): tensor for name, tensor in OWN.items()} | {
        name: np.zeros(shape) for name, shape in more.items()
    }


@pytest.mark.parametrize(
    ("form", "front"),
    [
        ("{}", ""),
        ("module.{}", ""),
        ("_orig_mod.{}", ""),
        ("_orig_mod.module.{}", ""),
        ("model.{}", "model."),
        ("model._orig_mod.{}", "model."),
        ("ema.model.module.{}", "ema.model."),
        ("_forward_module.net._fsdp_wrapped_module.{}", "net."),
    ],
)
def test_names_are_the_network_s_own_again(form, front):
    state, found = importing.unwrapped(named(form), "a.pt")
    assert state.keys() == OWN.keys()
    assert found == front


def test_wrappers_within_names_are_taken_out():
    state = {"input_blocks._orig_mod.0.0.weight": OWN[STEM], "out.module.2.bias": OWN["out.2.bias"]}
    assert importing.unwrapped(state, "a.pt")[0].keys() == OWN.keys()


def test_a_trainer_s_counters_are_left_out():
    state, _ = importing.unwrapped(named("module.{}", n_averaged=()), "a.pt")
    assert state.keys() == OWN.keys()
    state, _ = importing.unwrapped(named("model.{}", decay=(), num_updates=()), "a.pt")
    assert state.keys() == OWN.keys()
    plain = named("{}", n_averaged=())
    assert importing.unwrapped(plain, "a.pt")[0].keys() == plain.keys()


@pytest.mark.parametrize(
    ("state", "says"),
    [
        (named("a.{}") | named("b.{}"), "several networks (their names begin with 'a.', 'b.')"),
        (named("{}") | named("ema.{}"), "several networks (their names begin with '', 'ema.')"),
        (named("{}") | named("module.{}"), "several networks"),
        (named("model.{}", **{"loss.weight": (3,)}), "holds 'loss.weight' beside the network"),
    ],
)
def test_more_than_one_network_is_not_guessed_at(state, says):
    with pytest.raises(InputError) as caught:
        importing.unwrapped(state, "a.pt")
    assert says in str(caught.value)
    assert "save the state dict of" in str(caught.value)
    assert str(caught.value).endswith("alone.")


def test_the_parts_of_a_clip_may_have_fronts_too():
    state = {"clip.blocks.input.w_voc": np.zeros((3, 2))}
    assert importing.unwrapped(state, "a.pt") == (
        {"blocks.input.w_voc": state.popitem()[1]},
        "clip.",
    )
