"""From config.json to functions: what is written is read back, what is read is checked."""

import dataclasses
import json
import os
import pathlib
import shutil

import jax
import numpy as np
import pytest

from glide_jax import InputError
from glide_jax.data.readers import procedural
from glide_jax.evaluation import setup
from glide_jax.model_dir import reading, schema, writing
from glide_jax.networks import initial, zoo
from glide_jax.sampling import loading, settings
from glide_jax.trees import flatten
from tests import tiny


def test_what_is_saved_is_read_back(tmp_path):
    model = tiny.model("mine", inpaint=True, clip=True)
    writing.write_model(tmp_path / "m", model, card="# mine\n")
    again = reading.read_model(tmp_path / "m")
    assert again.name == "mine"
    assert again.tokenizer.encode("a red circle") == model.tokenizer.encode("a red circle")
    pairs = [(*model.stages[name], *again.stages[name]) for name in ("base", "upsample")]
    assert model.clip is not None
    assert again.clip is not None
    pairs.append((model.clip[0], model.clip[2], again.clip[0], again.clip[2]))
    for config, params, config_again, params_again in pairs:
        assert config == config_again
        a, b = flatten(params), flatten(params_again)
        assert a.keys() == b.keys()
        assert all(np.array_equal(a[name], b[name]) for name in a)


def test_the_forms_go_with_the_base_and_do_not_change_what_the_model_is(tmp_path):
    forms = procedural.Scenes(count=1, kinds=("plain",)).forms
    model = tiny.model("m")
    writing.write_model(tmp_path / "m", model, card="")
    before = setup.sha256_of_model(str(tmp_path / "m"), tmp_path)
    known = dataclasses.replace(model, forms=forms)
    writing.write_model(tmp_path / "known", known, card="")
    (tmp_path / "known" / "forms.json").rename(tmp_path / "m" / "forms.json")
    assert reading.read_model(tmp_path / "known").forms is None
    assert reading.read_model(tmp_path / "m").forms == forms
    assert setup.sha256_of_model(str(tmp_path / "m"), tmp_path) == before
    parts = [tmp_path / "m", tmp_path / "known"]
    assert writing.pack_models(parts, tmp_path / "p", name="p").forms is None
    assert writing.pack_models(parts[::-1], tmp_path / "q", name="q").forms == forms
    assert reading.read_model(tmp_path / "q").forms == forms
    (tmp_path / "q" / "forms.json").write_text('{"forms": ["a {shape}"]}')
    with pytest.raises(InputError, match=r"forms.json: a form has the slot '\{shape\}'"):
        reading.read_model(tmp_path / "q")


def test_a_model_may_have_the_rest_of_another(tmp_path):
    whole = tiny.model("whole", clip=True)
    for name in ("whole", "mine"):
        writing.write_model(tmp_path / name, whole, card=f"# {name}\n")
    before = setup.sha256_of_model(str(tmp_path / "mine"), tmp_path)
    for name in ("upsample", "clip"):
        (tmp_path / "mine" / f"{name}.safetensors").unlink()
    assert (
        setup.sha256_of_model(str(tmp_path / "mine"), tmp_path) != before
    )  # the reader tells what is missing
    with pytest.raises(InputError, match=r"upsample.safetensors' are missing"):
        reading.read_model(tmp_path / "mine")
    config = json.loads((tmp_path / "mine" / "config.json").read_text())
    write = lambda rest: (tmp_path / "mine" / "config.json").write_text(
        json.dumps(config | {"rest_of": rest})
    )
    write("../whole")
    again = reading.read_model(tmp_path / "mine")
    jax.tree.map(np.testing.assert_array_equal, again.stages["upsample"][1],
                 whole.stages["upsample"][1])  # fmt: skip
    assert again.clip is not None
    # What a model is depends on the files that it has of another.
    now = setup.sha256_of_model(str(tmp_path / "mine"), tmp_path)
    assert now != before
    (tmp_path / "whole" / "clip.safetensors").write_bytes(b"other")
    assert setup.sha256_of_model(str(tmp_path / "mine"), tmp_path) != now
    for rest, says in (("../none", "does not exist"), (3, "rest_of 3; it must be the path")):
        write(rest)
        with pytest.raises(InputError, match=says):
            reading.read_model(tmp_path / "mine")


def test_a_directory_in_the_way_is_left_alone(tmp_path):
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "mine.txt").write_text("mine")
    with pytest.raises(FileExistsError):
        writing.write_model(tmp_path / "m", tiny.model("m", upsample=False), card="")
    assert [p.name for p in tmp_path.rglob("*")] == ["m", "mine.txt"]


def test_what_is_left_out_of_the_config_has_its_default(tiny_model):
    config = json.loads((tiny_model / "config.json").read_text())
    part = schema.parse_section(schema.StageConfig, {"model": config["base"]["model"]}, "here")
    assert part == schema.StageConfig(tiny.BASE)
    assert settings.from_config({"eta": 1}, "here").eta == 1.0


def test_the_styles_of_a_stage_are_kept_and_a_stage_without_is_what_it_was(tmp_path):
    plain = tiny.model("m", upsample=False)
    part, weights = plain.stages["base"]
    part = dataclasses.replace(part, styles=("flat", "3d"))
    styled = dataclasses.replace(plain, stages={"base": (part, weights)})
    for name, model, styles in (("plain", plain, ()), ("styled", styled, ("flat", "3d"))):
        folder = tmp_path / name
        writing.write_model(folder, model, card="")
        assert ("styles" in (folder / "config.json").read_text()) is bool(styles)
        assert loading.load(folder).stages["base"].styles == styles


@pytest.mark.parametrize("name", sorted(zoo.MODELS))
def test_every_named_size_goes_through_json(name):
    config = zoo.named(name)
    text = json.dumps(dataclasses.asdict(config))
    assert schema.parse_section(zoo.ModelConfig, json.loads(text), "here") == config


def test_the_released_sizes_are_the_released_ones():
    count = lambda config: sum(np.prod(a.shape) for a in jax.tree.leaves(initial.shapes(config)))
    assert count(zoo.named("base")) == 385_030_726
    assert count(zoo.named("upsample")) == 398_361_286


def test_equal_configs_share_their_functions(tiny_model):
    a, b = loading.load(tiny_model), loading.load(tiny_model)
    assert a.stages["base"].network is b.stages["base"].network


def test_a_model_is_found_by_path_by_name_and_in_the_box(tmp_path, monkeypatch):
    tiny.save(tmp_path / "models", "mine", upsample=False)
    assert reading.find_model("mine", tmp_path / "models") == tmp_path / "models" / "mine"
    assert reading.find_model(str(tmp_path), tmp_path) == tmp_path
    monkeypatch.setattr(reading, "BOXED", tmp_path / "models")
    assert reading.boxed_models() == ["mine"]
    assert reading.find_model("mine", tmp_path / "none") == tmp_path / "models" / "mine"
    with pytest.raises(InputError, match="in the box: mine"):
        reading.find_model("other", tmp_path / "none")


def test_a_tilde_in_a_model_s_path_is_a_home(tmp_path, monkeypatch):
    tiny.save(tmp_path, "mine", upsample=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert reading.find_model("~/mine", tmp_path / "none") == tmp_path / "mine"
    (tmp_path / "models").symlink_to(tmp_path)
    assert reading.find_model("mine", pathlib.Path("~/models")) == tmp_path / "models" / "mine"


FORTY_GB = 40_000_000_000


def _more(head, end):
    head["zzz"] = {"dtype": "F32", "shape": [FORTY_GB // 4], "data_offsets": [end, end + FORTY_GB]}


def _larger(head, end):
    last = max(head, key=lambda name: head[name]["data_offsets"][1])
    start = head[last]["data_offsets"][0]
    head[last] |= {"shape": [FORTY_GB // 4], "data_offsets": [start, start + FORTY_GB]}


def _overlapping(head, end):
    first, second = list(head)[:2]
    head[second]["data_offsets"] = head[first]["data_offsets"]


def _overflowing(head, end):
    head["zzz"] = {"dtype": "F32", "shape": [2**62, 8], "data_offsets": [end, end]}


@pytest.mark.parametrize(
    ("change", "tail", "why"),
    [
        (_more, 0, "hold 'zzz', which this model lacks"),
        (_larger, 0, r"of shape \(10000000000,\), but the config says"),
        (_overlapping, 0, "invalid (shape|offset)"),
        (_overflowing, 0, "overflow"),
        (lambda head, end: None, FORTY_GB, "not fully covered"),
    ],
)
def test_weights_that_lie_about_their_size_are_refused_before_they_are_read(
    tiny_model, tmp_path, change, tail, why
):
    shutil.copytree(tiny_model, tmp_path / "m")
    path = tmp_path / "m" / "base.safetensors"
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    head, body = json.loads(data[8 : 8 + length]), data[8 + length :]
    notes = head.pop("__metadata__", None)
    change(head, len(body))
    text = json.dumps(head | ({"__metadata__": notes} if notes else {})).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + body)
    ends = max(each["data_offsets"][1] for each in head.values())
    os.truncate(path, 8 + len(text) + ends + tail)  # a file with a hole takes no room
    with pytest.raises(InputError, match=why):
        reading.read_model(tmp_path / "m")
