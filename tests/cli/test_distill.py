"""Distillations by the command line: guidance, then rounds of steps, refused, killed, resumed."""

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from glide_jax.model_dir import reading, writing
from tests.cli.test_train import assert_same, newest

PROMPT = "a red circle"


def words(teacher, workdir, what="guidance", *more):
    return ("distill", "--from", teacher, "--what", what, "--workdir", workdir,
            "--size", "smoke", *more)  # fmt: skip


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("home")


@pytest.fixture
def guided(cli, home, tiny_model):
    """A run of guidance that nothing happened to, and the model in it."""
    if not (home / "guided").exists():
        result = cli(*words(tiny_model, home / "guided"))
        assert result.code == 0, result.err
        assert ", teacher " in result.err  # among the memory of a device
    return home / "guided"


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (("--what", "steps"), "has a base that is drawn with guidance, 3; first distil that by "
                              "--what guidance, and then the result's steps"),
        (("--stage", "upsample"), "an upsampler is drawn without guidance; distil its steps"),
        (("--what", "both"), "--what is 'both'; it must be one of guidance, steps, distribution"),
        (("--size", "huge"), "--size is 'huge'; it must be one of full, shapes, smoke"),
        (("--config.model.guidance=2,3",), "guidance is (2.0, 3.0); it must be the least scale"),
        (("--config.sampling.guidance_scale=9",), "sampling.guidance_scale is 9, and "
                                                  "model.guidance 1 to 6"),
        (("--config.diffusion.prediction=eps",), "diffusion.prediction is 'eps', and a student's"),
        (("--config.diffusion.perceptual_weight=1",), "which a distillation does not have; give 0"),
        (("--config.distill.steps=4",), "a student in guidance has 0, every other a number of"),
        (("--what", "distribution", "--config.distill.steps=0"), "give 0 steps; a student in gui"),
        (("--what", "distribution", "--config.distill.rounds=4,2"),
         "but distribution has one student; give distill.steps"),
        (("--what", "distribution", "--config.train.freeze=^text/"), "a critic learns them all"),
        (("--what", "distribution", "--config.distill.interval=300"),
         "distill.interval is (300.0,); give its least and its largest timestep"),
        (("--what", "distribution", "--config.distill.interval=600,300"),
         "distill.interval is (600.0, 300.0); give its least and its largest timestep"),
        (("--what", "steps", "--config.distill.steps=4"),
         "distill.steps is 4, but each of the rounds (4, 2) has its own; give distill.rounds"),
        (("--what", "steps", "--config.distill.rounds=4,3"),
         "rounds is (4, 3); each must be the one before divided by the leap, 2"),
        (("--what", "steps", "--config.distill.rounds=64", "--config.distill.grid=noisy"),
         "a student of 64 steps has a teacher of 128; the grid noisy has up to 96"),
        (("--config.distill.weight=no",), "distill.weight is 'no'; it must be one of snr+1, "
                                          "truncated"),
        (("--config.distil.weight=no",), "config has no field 'distil.weight'; did you mean "
                                         "'distill.weight'?"),
        (("--config.train.redraw=^text/",), "train.redraw draws layers anew, but a student begins"),
        (("--from", "nowhere"), "model 'nowhere' is neither a directory nor a known name"),
    ],
)  # fmt: skip
def test_a_wrong_wish_is_one_sentence_and_no_run(more, says, cli, tiny_model, tmp_path):
    result = cli(*words(tiny_model, tmp_path / "w", "guidance", *more))
    assert result.code == 2
    assert says in result.complaint
    assert not list((tmp_path / "w").glob("**/*.json"))


def test_a_distillation_without_a_teacher_is_refused(cli, tmp_path):
    result = cli("train", "--config", "distill_steps:smoke", "--workdir", tmp_path / "w")
    assert result.code == 2
    assert "a distillation has a teacher: glide-jax distill --from MODEL" in result.complaint


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_guidance_and_then_steps_are_distilled_into_models_like_any(guided, cli, home, tmp_path):
    config = json.loads((guided / "model" / "config.json").read_text())
    assert config["name"] == "plain-guided"
    assert config["base"]["model"]["guidance"] == [1.0, 6.0]
    assert config["base"]["prediction"] == "v"
    assert config["base"]["sampling"]["guidance_scale"] == 3.0
    draw = ("sample", PROMPT, "--out", tmp_path / "o", "--model")
    result = cli(*draw, guided / "model", "--guidance-scale", 2, "--sampler", "ddpm")
    assert result.code == 0, result.err
    assert "has guidance distilled into its base already" in cli(
        *words(guided / "model", tmp_path / "again")
    ).complaint  # fmt: skip
    result = cli("finetune", guided / "model", "--data", "shapes_endless", "--workdir",
                 tmp_path / "tuned")  # fmt: skip
    assert "distilled base, which further training on pictures would undo" in result.complaint

    few = home / "few"
    result = cli(*words(guided / "model", few, "steps"))
    assert result.code == 0, result.err
    for n, count in ((4, 4), (2, 8)):
        folder = few / f"steps-{n}"
        assert newest(folder).name == str(count)  # the last round has twice the updates
        found = json.loads((folder / "model" / "config.json").read_text())
        assert found["name"] == f"plain-guided-distilled-{n}"
        assert found["base"]["distilled"] == n
        assert found["base"]["sampling"]["steps"] == str(n)
        assert found["base"]["model"]["guidance"] == [1.0, 6.0]
        assert "distilled" not in found["upsample"]
        result = cli(*draw, folder / "model", "--seed", n)
        assert result.code == 0, result.err
        result = cli(*draw, folder / "model", "--steps", 50)
        assert f"distilled to {n} steps of ddim" in result.complaint
    result = cli(*words(guided / "model", few, "steps"))
    assert result.code == 0
    assert result.err.count("is finished; its model is in") == 2
    result = cli(*words(few / "steps-2" / "model", tmp_path / "w", "steps"))
    assert "is distilled to 2 steps, and its student is to have 4" in result.complaint


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_an_upsampler_and_inpainting_models_are_distilled_too(cli, tiny_full, tmp_path):
    up = words(tiny_full, tmp_path / "up", "steps", "--stage", "upsample",
               "--config.distill.rounds=1", "--config.train.num_steps=2")  # fmt: skip
    result = cli(*up)
    assert result.code == 0, result.err
    model = reading.read_model(tmp_path / "up" / "steps-1" / "model")
    config = model.stages["upsample"][0]
    assert (config.distilled, config.prediction, config.model.inpaint) == (1, "v", True)
    assert model.clip is not None
    np.testing.assert_array_equal(
        model.stages["base"][1]["unet"]["out_conv"]["kernel"],
        reading.read_model(tiny_full).stages["base"][1]["unet"]["out_conv"]["kernel"],
    )
    few = words(tmp_path / "up" / "steps-1" / "model", tmp_path / "base", "guidance",
                "--config.train.num_steps=2")  # fmt: skip
    result = cli(*few)
    assert result.code == 0, result.err
    result = cli("sample", PROMPT, "--model", tmp_path / "base" / "model", "--steps", 2,
                 "--clip-guidance-scale", 2, "--out", tmp_path / "o")  # fmt: skip
    assert result.code == 0, result.err


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_distribution_is_learnt_in_one_run_from_guided_and_from_plain_teachers(
    guided, cli, tiny_full, tmp_path
):
    result = cli(*words(tiny_full, tmp_path / "eps", "distribution"))
    assert "predicts eps, which a student of few steps cannot begin with" in result.complaint
    model = reading.read_model(tiny_full)
    by_v = {name: (dataclasses.replace(part, prediction="v"), params)
            for name, (part, params) in model.stages.items()}  # fmt: skip
    plain = tmp_path / "plain"
    writing.write_model(plain, dataclasses.replace(model, stages=by_v), card="# plain\n")
    for teacher, stage, n in (
        (plain, "base", 2), (plain, "upsample", 1), (guided / "model", "base", 2),
    ):  # fmt: skip
        folder = tmp_path / f"{stage}-of-{teacher.parent.name}"
        more = ("--stage", stage, f"--config.distill.steps={n}", "--config.train.num_steps=2")
        result = cli(*words(teacher, folder, "distribution", *more))
        assert result.code == 0, result.err
        model = reading.read_model(folder / "model")
        config, params = model.stages[stage]
        assert config.distilled == n
        assert config.sampling["eta"] == 1.0
        assert config.model.guidance == ((1.0, 6.0) if stage == "base" else ())
        before = reading.read_model(teacher).stages[stage][1]["unet"]["out_conv"]["kernel"]
        assert np.abs(params["unet"]["out_conv"]["kernel"] - before).max() > 0.0
        short = ("--steps", 2) if stage == "upsample" else ()
        for place in (folder / "model", folder):  # and the run's newest checkpoint
            result = cli("sample", PROMPT, "--model", place, "--out", tmp_path / "o", *short)
            assert result.code == 0, result.err
    more = ("--config.distill.steps=2", "--config.train.num_steps=3")
    result = cli(*words(guided / "model", folder, "distribution", *more))
    assert "resumed from the checkpoint of step 2" in result.err
    assert "finished after step 3" in result.err
    again = cli(*words(folder / "model", tmp_path / "w", "distribution"))
    assert "is distilled to 2 steps already; give its teacher" in again.complaint


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_another_teacher_of_the_same_name_is_refused(guided, cli, tiny_model, tmp_path):
    shutil.copytree(guided / "model", tmp_path / "teacher")
    steps = words(tmp_path / "teacher", tmp_path / "w", "steps", "--config.distill.rounds=2")
    assert cli(*steps).code == 0
    shutil.rmtree(tmp_path / "w" / "steps-2" / "model")  # so that it is not finished
    path = tmp_path / "teacher" / "base.safetensors"
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)
    result = cli(*steps)
    assert result.code == 2
    assert "has changed since the run in" in result.complaint
    assert "its weights had the hash" in result.complaint


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("what", ["guidance", "steps"])
def test_a_distillation_that_is_killed_is_the_same_bit_for_bit(
    what, guided, cli, home, tiny_model, tmp_path, cache
):
    """kill -9 in the middle, after a checkpoint, and the same command again."""
    teacher = tiny_model if what == "guidance" else guided / "model"
    more = ("--config.train.num_steps=12", "--config.log.checkpoint_every_steps=3",
            "--config.distill.rounds=4")  # fmt: skip
    more = more if what == "steps" else more[:2]
    whole, killed = (tmp_path / name for name in ("whole", "killed"))
    assert cli(*words(teacher, whole, what, *more)).code == 0
    command = [sys.executable, "-m", "glide_jax", *map(str, words(teacher, killed, what, *more))]
    run = lambda folder: folder / "steps-4" if what == "steps" else folder
    with open(tmp_path / "log", "w") as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=log, env=os.environ | {"GLIDE_JAX_CACHE": str(cache)}
        )
        checkpoints = run(killed) / "checkpoints"
        while process.poll() is None and not any(p.name.isdigit() for p in checkpoints.glob("*")):
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, (tmp_path / "log").read_text()
    assert not (run(killed) / "model").exists()
    result = cli(*words(teacher, killed, what, *more))
    assert result.code == 0, result.err
    assert "resumed from the checkpoint of step" in result.err
    assert_same(run(whole), run(killed))
