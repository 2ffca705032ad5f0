"""Every config file: the whole size is a possible one, the smoke size is trained for two steps."""

import dataclasses
import json
import math
import operator
import os
import pathlib
import shutil
import subprocess
import sys

import jax
import numpy as np
import pytest

from glide_jax import InputError, compiling
from glide_jax.data.readers import shapes
from glide_jax.networks import initial
from glide_jax.sampling import cascade
from glide_jax.tokenizers import SentencePiece
from glide_jax.training import costs, loop
from glide_jax.training.config import changes_since, keep_config, read_config
from glide_jax.training.run import MissingInput, plan_without_data, prepare_run

FOLDER = pathlib.Path(__file__).parents[1] / "configs"
# What fine-tuning and distillation start from has no model of its own; tests of the command line
# run those.
STARTED = {"finetune", "distill_guidance", "distill_steps", "distill_distribution"}
NAMES = sorted({path.stem for path in FOLDER.glob("*.py")} - {"__init__", "presets"} - STARTED)
WANTED = {
    "shapes_64", "shapes_256", "emoji_64", "emoji_256", "coco_64", "base_64", "base_64_cfg",
    "upsample_256", "base_64_inpaint", "upsample_256_inpaint", "clip_64", "folder_64",
    "shapes_64_inpaint", "shapes_clip",
}  # fmt: skip


def test_the_configs_that_are_promised_are_there():
    assert set(NAMES) >= WANTED


PARTS = (
    "folder_64:tiny", "emoji_64:tiny", "emoji_64:more", "emoji_64:polish", "emoji_256:tiny",
    "emoji_64:plain-v", "emoji_64:named-v", "emoji_64:plain-x0", "emoji_64:named-x0",
    "shapes_64:counts", "shapes_64:polish", "shapes_64:plain", "finetune:base", "finetune:upsample",
    *(f"distill_{what}:{size}{stage}" for what in ("guidance", "steps")
      for size in ("full", "shapes", "smoke") for stage in ("", "-upsample")),
)  # fmt: skip

# One of each kind of program besides the plain base, which tests of the command line train.
KINDS = ("upsample_256_inpaint", "clip_64")
# One of each kind of program: eps and v, each stage, with planes for inpainting and without.
PROGRAMS = ("base_64", "shapes_64", "base_64_inpaint", "upsample_256", *KINDS)


@pytest.fixture(scope="module")
def tokenizer():
    return SentencePiece.train(shapes.captions("train"), 300)


@pytest.mark.parametrize("name", NAMES)
def test_the_smoke_size_makes_a_run_and_each_kind_of_program_can_be_traced(name, tokenizer):
    run = prepare_run(read_config(f"{name}:smoke"), tokenizer)
    plan = run.plan
    assert plan.batch_like.image.shape[0] == plan.config.train.batch_size == 4
    if name in PROGRAMS:
        loss, _ = jax.eval_shape(
            plan.loss_fn, plan.state_like.params, plan.batch_like, plan.key_like
        )
        assert loss.shape == ()


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "name",
    [n if n == "clip_64" else pytest.param(n, marks=pytest.mark.slow) for n in NAMES],
)
def test_the_smoke_size_takes_two_steps(name, tokenizer, cache):
    compiling.enable_cache(cache / "xla")
    run = prepare_run(read_config(f"{name}:smoke"), tokenizer)
    compiled, loader, losses = costs.compile_step(run.plan), run.loader(), []
    state = loop.fit(
        compiled.step,
        run.begin(),
        run.batches(loader, 0),
        [lambda step, state, metrics: losses.append(float(metrics["loss"]))],
        key=run.key,
        num_steps=2,
    )
    loader.close()
    assert int(state.step) == 2
    assert all(map(math.isfinite, losses))
    assert compiled.flops > 1e6


@pytest.mark.parametrize("name", [*NAMES, *PARTS])
def test_the_whole_size_is_possible(name):
    config = read_config(name)
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.seed = 1


@pytest.mark.parametrize("name", [*NAMES, *(f"{name}:smoke" for name in NAMES), *PARTS])
def test_what_never_sees_the_empty_prompt_is_not_guided_away_from_it(name):
    config = read_config(name)
    if config.stage == "clip" or config.diffusion.null_fraction > 0:
        return
    assert config.log.guidance_scale == 1.0
    assert config.part.sampling["guidance_scale"] == 1.0


@pytest.mark.parametrize("objective", ["clip", "sketches"])
def test_only_what_draws_has_steps_to_distil(objective):
    with pytest.raises(InputError, match=f"objective is '{objective}'.* no steps to distil"):
        read_config("distill_guidance", [f"objective={objective}"])


def test_styles_to_name_are_the_models_and_only_emoji_have_them():
    config = read_config("emoji_64:named-x0")
    assert config.part.styles == config.data.styles == ("twemoji", "flat", "emojione")
    assert config.part.prediction == "x_0"
    assert read_config("emoji_64:plain-v").part.styles == ()
    assert len(read_config("emoji_64:styled").part.styles) == 7
    assert read_config("emoji_64:styled").data.source == "emoji" + 4 * "+emoji_flat"
    with pytest.raises(InputError, match="only emoji, emoji_flat, emoji_no_people have styles"):
        read_config("shapes_64", ["data.styles=flat"])


def test_the_papers_base_is_guided_once_it_is_fine_tuned_for_it():
    scales = lambda c: (c.log.guidance_scale, c.part.sampling["guidance_scale"])
    assert scales(read_config("base_64")) == (1.0, 1.0)
    assert scales(read_config("base_64_cfg")) == (3.0, 3.0)
    assert scales(read_config("base_64_inpaint")) == (3.0, 5.0)


def test_the_boxed_models_are_trained_with_the_weight_that_they_were_trained_with():
    for name in ("shapes_64", "shapes_256", "emoji_64"):
        diffusion = read_config(name).diffusion
        assert (diffusion.max_snr, diffusion.min_snr_gamma) == (5.0, 0.0)
    assert read_config("shapes_64", ["diffusion.max_snr=inf", "diffusion.min_snr_gamma=5"])
    with pytest.raises(InputError, match=r"min_snr_gamma is 5 and diffusion\.max_snr 5; give one"):
        read_config("shapes_64", ["diffusion.min_snr_gamma=5"])


def test_a_run_of_a_version_without_a_field_goes_on_with_its_default(tmp_path):
    config = read_config("shapes_64:smoke")
    keep_config(tmp_path, config)
    (tmp_path / "checkpoints" / "3").mkdir(parents=True)
    old = json.loads((tmp_path / "config.json").read_text())
    del old["diffusion"]["min_snr_gamma"], old["log"]["peak_tflops"]
    (tmp_path / "config.json").write_text(json.dumps(old))
    assert changes_since(tmp_path, config) == []
    other = read_config("shapes_64:smoke", ["diffusion.max_snr=inf", "diffusion.min_snr_gamma=5"])
    with pytest.raises(InputError, match=r"holds a run with diffusion\.m"):
        changes_since(tmp_path, other)


@pytest.mark.parametrize("seed", [0, 1, 2**31 - 1, 2**31, 2**32 - 1])
def test_every_seed_that_is_accepted_makes_the_key_of_its_number(seed, tokenizer):
    run = prepare_run(read_config("shapes_64:smoke", [f"seed={seed}"]), tokenizer)
    np.testing.assert_array_equal(jax.random.key_data(run.key), np.uint32([0, seed]))
    np.testing.assert_array_equal(
        jax.random.key_data(cascade.image_keys(seed, [0], 0)[0]),
        jax.random.key_data(
            jax.random.fold_in(jax.random.fold_in(jax.random.wrap_key_data(
                np.uint32([0, seed])), 0), 0)
        ),
    )  # fmt: skip


@pytest.mark.parametrize("seed", ["-1", "4294967296", "1.5"])
def test_another_seed_is_refused_with_the_range(seed):
    with pytest.raises(InputError, match=r"seed is .*whole number"):
        read_config("shapes_64:smoke", [f"seed={seed}"])


def test_the_papers_sizes_have_the_papers_parameters():
    count = lambda name: sum(
        math.prod(leaf.shape) for leaf in jax.tree.leaves(initial.shapes(read_config(name).model))
    )
    assert round(count("base_64") / 1e6) == 3554
    assert round(count("upsample_256") / 1e6) == 1541


def test_a_config_is_found_by_path_and_by_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    by_name = read_config("shapes_64:smoke")
    assert read_config(f"{FOLDER / 'shapes_64.py'}:smoke") == by_name
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "parts.py").write_text("LR = 0.5\n")
    (tmp_path / "mine" / "run.py").write_text(
        "from configs import shapes_64\nfrom mine import parts\n"
        "def get_config():\n"
        "    config = shapes_64.get_config('smoke')\n"
        "    config.optim.lr = parts.LR\n"
        "    return config\n"
    )
    assert read_config("mine/run.py").optim.lr == 0.5


HOSTILE = "raise SystemExit('this ran')\n"


@pytest.mark.parametrize("file", ["shapes_64.py", "shapes_64", "configs/shapes_64.py"])
def test_a_name_alone_never_runs_a_file_of_the_current_folder(tmp_path, monkeypatch, file):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs").mkdir()
    (tmp_path / file).write_text(HOSTILE)
    for name in ("presets.py", "configs.py", "glide_jax.py", "configs/__init__.py"):
        (tmp_path / name).write_text(HOSTILE)
    for name in ("shapes_64", "shapes_64.py", "shapes_64:smoke"):
        assert read_config(name).name.startswith("shapes_64")
    if "." in file:
        with pytest.raises(SystemExit, match="this ran"):
            read_config(f"./{file}")


@pytest.mark.parametrize(
    ("file", "name", "way"),
    [
        ("mine.py", "mine", "./mine.py"),
        ("mine.py", "mine.py", "./mine.py"),
        ("configs/mine.py", "mine:smoke", "./configs/mine.py"),
    ],
)
def test_a_name_that_is_a_file_of_the_current_folder_gets_its_path(
    tmp_path, monkeypatch, file, name, way
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs").mkdir()
    (tmp_path / file).write_text(HOSTILE)
    with pytest.raises(InputError, match=f"give its path: '{way}'"):
        read_config(name)


def test_an_installed_package_brings_its_configs_and_runs_those_of_users(tmp_path):
    """Away from a checkout, `configs` is a part of the package and nothing else."""
    ignored = shutil.ignore_patterns("__pycache__", "boxed")
    shutil.copytree(FOLDER.parent / "glide_jax", tmp_path / "site" / "glide_jax", ignore=ignored)
    work = tmp_path / "work"
    (work / "configs").mkdir(parents=True)
    text = "from configs import presets\nfrom glide_jax.configs import shapes_64\n"
    text += "def get_config():\n    return presets.smoke(shapes_64.get_config())\n"
    for mine in (work / "mine.py", work / "configs" / "mine.py"):
        mine.write_text(text)
    code = (
        "import sys\nfrom glide_jax.training.config import read_config\n"
        "print(*(read_config(path).name for path in sys.argv[1:]))"
    )
    paths = ["configs/shapes_64.py:smoke", "shapes_64:smoke", "./mine.py", "configs/mine.py"]
    done = subprocess.run(
        [sys.executable, "-P", "-c", code, *paths],
        cwd=work,
        env=os.environ | {"PYTHONPATH": str(tmp_path / "site")},
        capture_output=True,
        text=True,
    )
    assert done.stdout.split() == ["shapes_64-smoke"] * 4, done.stderr


@pytest.mark.parametrize(
    ("override", "value"),
    [
        ("optim.lr=3e-4", 3e-4),
        ("train.num_steps=7", 7),
        ("model.inpaint=true", True),
        ("model.channel_mult=1,2,3", (1, 2, 3)),
        ("train.ema=0.9,0.99", (0.9, 0.99)),
        ("data.path=a=b", "a=b"),
        ('log.prompts=["one, two", "three"]', ("one, two", "three")),
        ("train.freeze=^text/", ("^text/",)),
        ("train.freeze=(", ("(",)),  # of which the plan says that it is no regular expression
        ("train.freeze=(text)|(keys_values)", ("(text)|(keys_values)",)),
        ("train.freeze=(^text/, ^unet/)", ("^text/", "^unet/")),
        ("train.freeze=block_[0,1],res_{1,2}$", ("block_[0,1]", "res_{1,2}$")),
        ('train.freeze=["(a),b", "c"]', ("(a),b", "c")),
        ("train.freeze=3", ("3",)),
        ("train.freeze=()", ()),
        ("train.ema=(0.9,)", (0.9,)),
        ("log.prompts=:(, two", (":(", "two")),
        ("diffusion.max_snr=inf", math.inf),
    ],
)
def test_a_field_takes_a_value_of_its_type(override, value):
    more = ["data.masks=box"] if override == "model.inpaint=true" else []
    config = read_config("shapes_64", [override, *more])
    assert operator.attrgetter(override.partition("=")[0])(config) == value


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("optim.rl=1", "no field 'optim.rl'; did you mean 'optim.lr'"),
        ("train.batchsize=1", "did you mean 'train.batch_size'"),
        ("nothing=1", "known are"),
        ("optim.lr.x=1", "no field 'optim.lr.x'"),
        ("optim=1", "is a section"),
        ("optim.lr=much", "optim.lr is 'much'; it must be a number"),
        ("train.num_steps=1.5", "must be a whole number"),
        ("model.inpaint=yes", "must be true or false"),
        ("model.channel_mult=1,x", "must be a whole number"),
        ("log.prompts=[1", "must be JSON"),
    ],
)
def test_a_wrong_override_is_refused_by_name(override, says):
    with pytest.raises(InputError, match=says.replace(".", r"\.")):
        read_config("shapes_64", [override])


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["objective=paint"], "objective is 'paint'"),
        (["train.dtype=float8"], "train.dtype is 'float8'"),
        (["train.dtype=float16"], "loss_scale"),
        (["train.ema="], "at least one decay"),
        (["train.ema=2"], "train.ema is '?2"),
        (["data.low_res=16"], "an upsampler needs a small picture"),
        (["model.inpaint=true"], "inpainting needs masks"),
        (["data.crop=corner"], "crop is 'corner'"),
        (["model.patch=3"], "patch"),
        (["diffusion.prediction=x"], "prediction is 'x'"),
        (["log.every_steps=0"], "log.every_steps is 0"),
        (["optim.name=adamm"], "optimizer is 'adamm'"),
        (["tokenizer.vocab_size=5000", "model.vocab_size=300"], "vocab_size is 300"),
        (["data.source=shape"], "source is 'shape'"),
        (["mesh.fsdp=3"], "fsdp"),
        (["train.freeze=^nothing"], "freeze has"),
        (["train.freeze=("], "freeze has '\\(', which is no regular expression"),
        (["data.kinds=pairs"], "kinds is 'pairs'"),
        (["train.init_from=shapes", "train.redraw=^nothing"], "redraw has"),
        (["train.init_from=nowhere"], "nowhere"),
        (["data.window=60"], "multiple of 8"),
        (["objective=sketches", "model.image_size=72", "model.attention="], "multiple of 16"),
        (["objective=sketches", "model.text_width=0"], "without text"),
    ],
)
def test_a_config_that_cannot_be_is_refused_before_anything_is_compiled(overrides, says):
    with pytest.raises(InputError, match=says):
        prepare_run(read_config("shapes_64", overrides))


@pytest.mark.parametrize(("name", "millions"), [("base_64_cfg", 3554), ("clip_64", 158)])
def test_a_plan_of_the_papers_needs_neither_data_nor_the_model_it_starts_from(name, millions):
    config = read_config(name, ["mesh.fsdp=1"])
    with pytest.raises(MissingInput):
        prepare_run(config)
    plan = plan_without_data(config)
    count = sum(leaf.size for leaf in jax.tree.leaves(plan.state_like.params))
    assert round(count / 1e6) == millions
    assert plan.batch_like.image.shape == (config.train.batch_size, 64, 64, 3)


@pytest.mark.parametrize(
    ("overrides", "says"),
    [(["data.source=shape"], "source is 'shape'"), (["train.freeze=^nothing"], "freeze has")],
)
def test_a_plan_without_data_is_checked_all_the_same(overrides, says):
    with pytest.raises(InputError, match=says):
        plan_without_data(read_config("base_64:smoke", overrides))


@pytest.mark.parametrize("field", ["train.freeze", "train.redraw", "log.prompts", "data.kinds"])
def test_a_list_of_texts_in_a_file_holds_texts(field, tmp_path):
    (tmp_path / "run.py").write_text(
        "from configs import shapes_64\n\n\ndef get_config():\n"
        f"    config = shapes_64.get_config('smoke')\n    config.{field} = (3,)\n"
        "    return config\n"
    )
    with pytest.raises(InputError, match=f"{field} has 3; it must be texts"):
        read_config(str(tmp_path / "run.py"))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("def get_config(:", "invalid syntax"),
        ("import nothing_like_it", "nothing_like_it"),
        ("x = 1", "get_config"),
        ("def get_config():\n    return 3", "no ConfigDict"),
        ("from configs import presets\n"
         "def get_config():\n"
         "    config = presets.text_to_image('x')\n"
         "    config.lock()\n"
         "    config.optm = 1\n    return config", "optim"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_config_is_told_of_in_a_sentence(text, says, tmp_path):
    (tmp_path / "run.py").write_text(text + "\n")
    with pytest.raises(InputError, match=says) as caught:
        read_config(str(tmp_path / "run.py"))
    assert "\n" not in str(caught.value)


def test_a_missing_file_names_what_there_is():
    with pytest.raises(InputError, match="did you mean shapes_64"):
        read_config("shape_64")
    with pytest.raises(InputError, match="size is 'large'"):
        read_config("shapes_64:large")


def test_a_tilde_in_a_config_is_a_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "mine.py").write_text(
        "from configs import folder_64\n\n\ndef get_config(size='full'):\n"
        "    config = folder_64.get_config(size)\n    config.train.init_from = '~/model'\n"
        "    return config\n"
    )
    config = read_config("~/mine.py", ["data.path=~/pictures"])
    assert config.data.path == f"{tmp_path}/pictures"
    assert config.train.init_from == f"{tmp_path}/model"
    assert config.kept["data"]["path"] == f"{tmp_path}/pictures"
