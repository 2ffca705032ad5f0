"""The model that a run makes, without training one."""

import pytest

from glide_jax.data.readers import procedural
from glide_jax.errors import InputError
from glide_jax.model_dir import reading
from glide_jax.tokenizers import GlideBPE
from glide_jax.training import folders
from glide_jax.training.config import keep_config, read_config
from glide_jax.training.newest import as_model, read_run

KNOWN = reading.Model("start", GlideBPE(), {}, None, procedural.Scenes(count=1).forms)
OWN = ("data.source=folder", "data.path=mine", "data.kinds=")


def test_a_base_understands_the_captions_that_it_was_trained_on():
    plain = as_model(read_config("shapes_64:plain"), GlideBPE(), KNOWN, {}).forms
    assert plain is not None
    assert plain.fit("a green heart on a gray background")
    assert plain.fit("two red hearts on a white background")
    assert KNOWN.forms is not None
    assert not KNOWN.forms.fit("a green heart on a gray background")
    assert as_model(read_config("shapes_64"), GlideBPE(), None, {}).forms == KNOWN.forms
    assert as_model(read_config("shapes_64", OWN), GlideBPE(), KNOWN, {}).forms is None


def test_another_part_leaves_the_base_s_forms():
    model = as_model(read_config("shapes_256"), GlideBPE(), KNOWN, {})
    assert list(model.stages) == ["upsample"]
    assert model.forms == KNOWN.forms


@pytest.mark.parametrize(
    ("config", "says"),
    [("shapes_256:smoke", "trains a part (upsample)"), ("shapes_clip:smoke", "a part (clip)")],
)
def test_a_part_without_a_base_is_not_drawn_with(config, says, tmp_path):
    keep_config(tmp_path, read_config(config))
    with pytest.raises(InputError, match=r"has no tokenizer/spec\.json"):
        read_run(tmp_path, tmp_path)
    folders.keep_tokenizer(tmp_path, GlideBPE())
    with pytest.raises(InputError) as caught:
        read_run(tmp_path, tmp_path)
    assert says in str(caught.value)
    assert "pack" in str(caught.value)
