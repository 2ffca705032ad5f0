"""Runs of the command line: resumed, stopped, killed, refused. All end in the same model."""

import contextlib
import dataclasses
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest
from jax.experimental.compilation_cache import compilation_cache
from PIL import Image

from glide_jax.checkpoints.store import Store
from glide_jax.errors import InputError
from glide_jax.images import read_parameters
from glide_jax.model_dir import reading, writing
from glide_jax.networks import initial
from glide_jax.networks.initial import initialiser
from glide_jax.tokenizers import SentencePiece
from glide_jax.training import config, hooks, init_from, writers
from glide_jax.training import newest as newest_of
from glide_jax.training.run import prepare_run
from tests import tiny
from tests.data.fakes import scenes

STEPS = ("--config.train.num_steps=8", "--config.log.checkpoint_every_steps=3")


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Eight pictures with captions, and the runs that several tests look at."""
    folder = tmp_path_factory.mktemp("home")
    images, captions = scenes(8, 32)
    (folder / "pictures").mkdir()
    for k, (pixels, caption) in enumerate(zip(images, captions, strict=True)):
        Image.fromarray(pixels).save(folder / "pictures" / f"{k}.png")
        (folder / "pictures" / f"{k}.txt").write_text(caption)
    return folder


def data(home):
    return [f"data.path={home / 'pictures'}", "data.source=folder"]


def words(home, workdir, *more, config="folder_64:smoke"):
    changes = [f"--config.{change}" for change in data(home)]
    return ("train", "--config", config, "--workdir", workdir, *changes, *STEPS, *more)


@pytest.fixture
def whole(cli, home):
    """A run that nothing happened to."""
    folder = home / "whole"
    if not folder.exists():
        result = cli(*words(home, folder))
        assert result.code == 0, result.err
        (folder / "told.txt").write_text(result.err)
    return folder


def unfinished(whole, folder):
    """A copy of the whole run as it was before its model was written."""
    shutil.copytree(whole, folder, ignore=shutil.ignore_patterns("model"))
    return folder


def curve(workdir):
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k not in hooks.SPEEDS} for line in lines]


def newest(workdir):
    steps = [int(p.name) for p in (workdir / "checkpoints").iterdir() if p.name.isdigit()]
    return workdir / "checkpoints" / str(max(steps))


def assert_same(a, b):
    """Curves, the whole state (by its checksum) and the model are equal bit for bit."""
    assert curve(a) == curve(b)
    meta = [json.loads((newest(run) / "meta" / "metadata").read_text()) for run in (a, b)]
    for name in ("step", "checksum", "window", "metric"):
        assert meta[0][name] == meta[1][name], name
    weights = [(run / "model" / "base.safetensors").read_bytes() for run in (a, b)]
    assert weights[0] == weights[1]
    sheets = [sorted(p.name for p in (run / "samples").iterdir()) for run in (a, b)]
    assert sheets[0] == sheets[1]
    for name in sheets[0]:
        one, other = (np.asarray(Image.open(run / "samples" / name)) for run in (a, b))
        assert (one == other).all(), name


def test_a_run_tells_what_it_costs_and_leaves_a_model_a_curve_and_samples(whole, home, cli):
    told = (
        "device: ",
        " parameters (base) on ",
        " TFLOP a step of 4 images",
        "memory of a device: ",
        " steps in about ",
        f"finished after step 8; the model is in {whole / 'model'}",
    )
    for part in told:
        assert part in (whole / "told.txt").read_text()
    result = cli(*words(home, whole))  # done already: says so, and compiles and trains nothing
    assert result.code == 0
    assert f"the run is finished; its model is in {whole / 'model'}" in result.err
    assert " parameters (base) on " not in result.err
    assert [line["step"] for line in curve(whole)] == [2, 4, 6, 8]
    assert {"loss", "mse_q0", "mse_q3", "grad_norm", "lr", "skipped"} <= curve(whole)[0].keys()
    assert [p.name for p in sorted((whole / "samples").iterdir())] == [
        "step_000004.png", "step_000008.png"
    ]  # fmt: skip
    assert list((whole / "tensorboard").iterdir())
    model = reading.read_model(whole / "model")
    assert model.name == "folder_64-smoke"
    card = (whole / "model" / "README.md").read_text()
    assert "8 of batch 4, 32 images seen" in card
    loss = curve(whole)[-1]["loss"]
    assert f"{loss:.4f}" in card


def test_a_run_can_be_drawn_with_at_its_newest_checkpoint_and_is_left_alone(whole, cli, tmp_path):
    run = unfinished(whole, tmp_path / "run")
    (run / "checkpoints" / "9.orbax-checkpoint-tmp").mkdir()  # as one that is being written
    state = lambda: {p: (p.is_file() and p.stat().st_mtime_ns) for p in run.rglob("*")}
    before = state()
    draw = lambda model, out: cli("sample", "a red circle", "--model", model, "--out",
                                  tmp_path / out, "--steps", 2)  # fmt: skip
    result = draw(run, "a")
    assert result.code == 0, result.err
    assert "is a run; its newest checkpoint, of step 8, draws" in result.err
    assert state() == before
    drawn, end = result.out.strip(), draw(whole / "model", "b").out.strip()
    np.testing.assert_array_equal(*map(np.asarray, map(Image.open, (drawn, end))))
    assert read_parameters(drawn)["model"] == "folder_64-smoke-step-8"
    # One that is deleted meanwhile, or damaged, gives way to the one before.
    shutil.rmtree(run / "checkpoints" / "8" / "state")
    result = draw(run, "c")
    assert "its newest checkpoint, of step 6, draws" in result.err
    for path in (run / "checkpoints").glob("[0-9]"):
        shutil.rmtree(path)
    assert draw(run, "d").complaint.endswith("has no checkpoint yet; wait for the run's first.")


def test_the_model_can_be_drawn_with(whole, cli, tmp_path):
    result = cli("sample", "a red circle", "--model", whole / "model", "--out", tmp_path / "o",
                 "--steps", 2)  # fmt: skip
    assert result.code == 0, result.err


def signal_at(monkeypatch, step, number):
    """Sends this process a signal when the line of a step is written."""
    write = writers.JsonLines.write

    def writing(self, line):
        write(self, line)
        if line["step"] == step:
            os.kill(os.getpid(), number)

    monkeypatch.setattr(writers.JsonLines, "write", writing)


@pytest.mark.parametrize(
    "number",
    [
        signal.SIGTERM,
        pytest.param(signal.SIGINT, marks=pytest.mark.slow),
        pytest.param(signal.SIGHUP, marks=pytest.mark.slow),
    ],
)
def test_a_signal_saves_and_the_resumed_run_is_the_one_that_was_not_stopped(
    number, whole, home, cli, tmp_path
):
    with pytest.MonkeyPatch.context() as patch:
        signal_at(patch, 4, number)
        result = cli(*words(home, tmp_path / "w"))
    assert result.code == 0, result.err
    assert f"stopped by {number.name} after step 4, which is saved" in result.err
    assert newest(tmp_path / "w").name == "4"
    assert not (tmp_path / "w" / "model").exists()
    result = cli(*words(home, tmp_path / "w"))
    assert "resumed from the checkpoint of step 4" in result.err
    assert_same(whole, tmp_path / "w")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_second_run_names_the_first_and_harms_nothing(home, tmp_path, cache):
    first = process(home, tmp_path / "w", 10_000, cache)
    while lines(tmp_path / "w") < 2 and first.poll() is None:
        time.sleep(0.1)
    second = subprocess.run(first.args, capture_output=True, text=True, timeout=300)
    assert second.returncode == 2
    assert f"is in use by process {first.pid} on " in second.stderr
    first.send_signal(signal.SIGHUP)  # and the first one goes on until then
    assert first.wait() == 0
    assert "stopped by SIGHUP after step" in (tmp_path / "w.log").read_text()
    assert not (tmp_path / "w" / ".lock").exists()


def test_a_damaged_checkpoint_is_told_of_and_the_one_before_is_used(whole, home, cli, tmp_path):
    unfinished(whole, tmp_path / "w")
    files = [path for path in newest(tmp_path / "w").rglob("*") if path.is_file()]
    for path in files:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    result = cli(*words(home, tmp_path / "w"))
    assert result.code == 0, result.err
    assert result.err.count("checkpoint 8 is damaged") == 1
    assert "resumed from the checkpoint of step 6" in result.err
    assert_same(whole, tmp_path / "w")


@pytest.mark.slow
def test_a_full_disk_is_one_sentence_and_loses_nothing(whole, home, cli, tmp_path):
    """A limit on the size of files is the nearest to a full disk that needs no privileges."""
    resource = pytest.importorskip("resource")
    shutil.copytree(whole, tmp_path / "w")
    shutil.rmtree(tmp_path / "w" / "checkpoints" / "8")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
    try:
        result = cli(*words(home, tmp_path / "w"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert result.code == 2
    assert str(tmp_path / "w" / "checkpoints") in result.complaint
    assert "File too large; make room, and the same command goes on" in result.complaint
    assert cli(*words(home, tmp_path / "w")).code == 0
    assert_same(whole, tmp_path / "w")


def test_another_config_is_refused_by_the_first_field_that_differs(whole, home, cli):
    result = cli(*words(home, whole, "--config.optim.b2=0.5"))
    assert result.code == 2
    assert "holds a run with optim.b2 = 0.99, and this config has 0.5" in result.complaint


@pytest.fixture
def another_picture(home):
    """A picture that comes to the data after the run began."""
    Image.new("RGB", (32, 32)).save(home / "pictures/new.png")
    (home / "pictures/new.txt").write_text("a new picture with a caption of many words " * 9)
    yield
    for suffix in ("png", "txt"):
        (home / f"pictures/new.{suffix}").unlink()


def test_data_that_has_changed_stops_a_run_before_it_goes_on(
    whole, home, cli, tmp_path, another_picture
):
    run = unfinished(whole, tmp_path / "w")
    before = sorted((path, path.stat().st_mtime_ns) for path in run.rglob("*"))
    result = cli(*words(home, run))
    assert result.code == 2
    assert "it had 8 examples (hash '" in result.complaint
    assert "and has 9 (hash '" in result.complaint
    assert "--config.data.changed=allow" in result.complaint
    assert before == sorted((path, path.stat().st_mtime_ns) for path in run.rglob("*"))


@pytest.mark.slow
def test_a_run_may_go_on_with_other_data_and_says_so(whole, home, cli, tmp_path, another_picture):
    shutil.copytree(whole, tmp_path / "w")
    on = ("--config.train.num_steps=9", "--config.data.changed=allow")
    result = cli(*words(home, tmp_path / "w", *on))
    assert result.code == 0, result.err
    assert "note: the data has changed since the run in" in result.err
    assert "3 of 9 captions looked at are longer than the 32 tokens of text_context" in result.err
    assert json.loads((tmp_path / "w/data.json").read_text())["examples"] == 9


@contextlib.contextmanager
def new_programs(folder):
    """Keeps programs in `folder` alone, so that those that are compiled can be counted."""
    before = jax.config.jax_compilation_cache_dir
    compilation_cache.reset_cache()
    jax.config.update("jax_compilation_cache_dir", str(folder))
    try:
        yield lambda: sorted(folder.glob("*train_step*-cache"))
    finally:
        compilation_cache.reset_cache()
        jax.config.update("jax_compilation_cache_dir", before)


@pytest.mark.slow
def test_another_rate_is_told_trained_at_and_compiles_nothing(whole, home, cli, tmp_path):
    for name in ("same", "w"):
        unfinished(whole, tmp_path / name)
    on = "--config.train.num_steps=9"
    with new_programs(tmp_path / "xla") as steps:
        assert cli(*words(home, tmp_path / "same")).code == 0
        compiled = steps()
        result = cli(*words(home, tmp_path / "w", "--config.optim.lr=0", on))
        assert result.code == 0, result.err
        assert "optim.lr was 0.001 and is now 0.0" in result.err
        assert compiled
        assert steps() == compiled
    run = prepare_run(config.read_config("folder_64:smoke", data(home)))
    states = []
    for folder in (whole, tmp_path / "w"):
        with Store(folder / "checkpoints") as store:
            states.append(store.restore(run.plan.state_like)[0])
    assert [int(state.step) for state in states] == [8, 9]
    jax.tree.map(np.testing.assert_array_equal, states[0].params, states[1].params)


def test_a_dry_run_tells_what_a_run_costs_and_writes_nothing(home, cli, tmp_path):
    result = cli(*words(home, tmp_path / "w", "--dry-run"))
    assert result.code == 0, result.err
    assert "memory of a device" in result.err
    assert "8 steps in about" in result.err
    assert not (tmp_path / "w").exists()


@pytest.mark.slow
def test_a_dry_run_needs_no_data_and_says_so(home, cli, tmp_path):
    nowhere = ("--config.data.path=nowhere", "--dry-run")
    result = cli(*words(home, tmp_path / "w", *nowhere))
    assert result.code == 0, result.err
    [note] = [line for line in result.err.splitlines() if line.startswith("note: ")]
    assert "nowhere" in note
    assert note.endswith("All shapes are the config's.")
    assert "memory of a device" in result.err
    assert not (tmp_path / "w").exists()
    assert "nowhere" in cli(*words(home, tmp_path / "w", nowhere[0])).complaint
    wrong = ("--config.data.source=shapes_endless", "--config.data.path=", "--config.data.kinds=x")
    assert "kinds is 'x'" in cli(*words(home, tmp_path / "w", *wrong, "--dry-run")).complaint


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (("--config.optim.rl=1",), "did you mean 'optim.lr'"),
        (("--config.optim.lr=much",), "optim.lr is 'much'"),
        (("--config.optim.lr",), "has no value"),
        (("--lr=1",), "no option '--lr=1'"),
        (("extra",), "no argument 'extra'"),
        (("--config.train.batch_size=0",), "batch_size is 0"),
        (("--config.data.path=/nothing/there",), "nothing/there"),
        (("--config.log.sample_steps=0", "--config.train.init_from=nowhere"), "nowhere"),
        (("--device=abacus",), "device is 'abacus'"),
    ],
)
def test_a_wrong_word_is_one_sentence_and_leaves_nothing(more, says, home, cli, tmp_path):
    result = cli(*words(home, tmp_path / "w", *more))
    assert result.code == 2
    assert says in result.complaint
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_workdir_that_cannot_be_is_named(home, cli, tmp_path):
    (tmp_path / "file").write_text("here")
    result = cli(*words(home, tmp_path / "file" / "w"))
    assert result.code == 2
    assert str(tmp_path / "file" / "w") in result.complaint
    assert "cannot be written to" in result.complaint


@pytest.mark.slow
def test_finetuning_starts_from_a_model_and_gives_one_back(home, cli, tmp_path):
    start = tiny.save(tmp_path / "m", "plain")
    result = cli("finetune", start, "--data", home / "pictures", "--workdir", tmp_path / "w",
                 "--steps", 2, "--batch-size", 2, "--lr", 1e-6,
                 "--config.log.sample_steps=2", "--config.train.ema=0.5",
                 "--config.optim.warmup_steps=0")  # fmt: skip
    assert result.code == 0, result.err
    before, after = reading.read_model(start), reading.read_model(tmp_path / "w" / "model")
    assert after.stages.keys() == before.stages.keys()
    assert after.stages["base"][0] == before.stages["base"][0]
    flat = lambda model, stage: np.concatenate(
        [np.ravel(leaf) for leaf in jax.tree.leaves(model.stages[stage][1])]
    )
    moved = np.abs(flat(after, "base") - flat(before, "base"))
    assert 0 < moved.max() < 1e-4
    assert (flat(after, "upsample") == flat(before, "upsample")).all()


def test_another_models_network_is_refused_as_a_start(whole, home, cli, tmp_path):
    start = f"--config.train.init_from={whole / 'model'}"
    result = cli(*words(home, tmp_path / "w", start, config="base_64_inpaint:smoke"))
    assert result.code == 2
    assert "diffusion.prediction = 'v', and the config 'eps'" in result.complaint
    result = cli(*words(home, tmp_path / "w", start, "--config.model.channels=64"))
    assert result.code == 2
    assert "model.channels = 32, and the config 64" in result.complaint
    fewer = ("--config.diffusion.prediction=v", "--config.model.attention=()")
    result = cli(*words(home, tmp_path / "w", start, *fewer, config="base_64_inpaint:smoke"))
    assert result.code == 2
    assert "has attention at [16]; so must the config's" in result.complaint


def test_a_run_of_sketches_changes_the_text_encoder_alone(whole, home, cli, tmp_path):
    start = (f"--config.train.init_from={whole / 'model'}", "--config.objective=sketches")
    first = words(home, tmp_path / "w", *start, "--config.log.sample_every_steps=0")
    result = cli(*first)
    assert result.code == 0, result.err
    assert "  explained " in result.err
    old = reading.read_model(whole / "model").stages["base"]
    new = reading.read_model(tmp_path / "w" / "model").stages["base"]
    assert new[0] == old[0]
    assert new[1].keys() == old[1].keys()
    for name in ("unet", "keys_values"):
        jax.tree.map(np.testing.assert_array_equal, new[1][name], old[1][name])
    assert not np.array_equal(new[1]["text"]["pool"]["kernel"], old[1]["text"]["pool"]["kernel"])
    found, step = newest_of.read_run(tmp_path / "w", tmp_path)  # while it goes on
    assert step == 8
    jax.tree.map(np.testing.assert_array_equal, found.stages["base"][1], new[1])
    # The base goes on from it as from any model.
    changes = [f"train.init_from={tmp_path / 'w' / 'model'}", *data(home)]
    run = prepare_run(config.read_config("folder_64:smoke", changes))
    assert run.start is not None
    jax.tree.map(np.testing.assert_array_equal, run.start, new[1])


def test_a_run_may_name_more_styles_than_the_model_it_starts_from(whole):
    model = reading.read_model(whole / "model")
    have, params = model.stages["base"]
    plain = config.read_config("folder_64:smoke", [f"train.init_from={whole / 'model'}"])

    def start(before, now):
        styled = dataclasses.replace(have, styles=before)
        given = dataclasses.replace(model, stages={"base": (styled, params)})
        part = dataclasses.replace(plain.part, styles=now)
        return init_from.starting_parameters(
            dataclasses.replace(plain, part=part), given, initialiser(have.model)
        )

    for before in ((), ("flat",)):
        found = start(before, ("3d", "flat"))
        jax.tree.map(np.testing.assert_array_equal, found, params)
    with pytest.raises(InputError, match=r"diffusion.styles = \('flat',\), and the config \(\)"):
        start(("flat",), ())


def test_an_inpainting_run_starts_from_a_base_with_zeros_for_its_new_planes(whole):
    changes = [f"train.init_from={whole / 'model'}", "diffusion.prediction=v"]
    run = prepare_run(config.read_config("base_64_inpaint:smoke", changes))
    assert run.start is not None
    kernel = run.start["unet"]["input_0"]["kernel"]
    assert kernel.shape[2] == 7
    assert (kernel[:, :, 3:] == 0).all()
    assert run.tokenizer.vocab_size == reading.read_model(whole / "model").tokenizer.vocab_size


@pytest.mark.slow
def test_a_run_may_add_attention_to_the_network_that_it_starts_from(whole, tmp_path):
    model = reading.read_model(whole / "model")
    stage = model.stages["base"][0]
    without = dataclasses.replace(stage.model, attention=())
    params = jax.jit(initialiser(without))(jax.random.key(0))
    bare = dataclasses.replace(stage, model=without)
    part = reading.Model("bare", model.tokenizer, {"base": (bare, params)})
    writing.write_model(tmp_path / "bare", part, card="# bare\n")
    changes = [f"train.init_from={tmp_path / 'bare'}", "diffusion.prediction=v"]
    start = prepare_run(config.read_config("base_64_inpaint:smoke", changes)).start
    assert jax.tree.map(np.shape, start) == jax.tree.map(
        np.shape, initial.shapes(dataclasses.replace(stage.model, inpaint=True))
    )
    kernel = start["unet"]["input_0"]["kernel"]
    np.testing.assert_array_equal(kernel[:, :, :3], params["unet"]["input_0"]["kernel"])
    assert (start["unet"]["input_1_attn"]["proj"]["kernel"] == 0).all()


def test_what_redraw_names_is_drawn_anew_and_the_rest_is_the_models(whole):
    changes = [f"train.init_from={whole / 'model'}", "diffusion.prediction=v"]
    changes.append("train.redraw=positional_embedding")
    run = prepare_run(config.read_config("base_64_cfg:smoke", changes))
    params = reading.read_model(whole / "model").stages["base"][1]
    assert run.start is not None
    text, old = dict(run.start["text"]), dict(params["text"])
    assert np.std(text["positional_embedding"]) == pytest.approx(1.0, rel=0.1)
    assert not np.array_equal(text.pop("positional_embedding"), old.pop("positional_embedding"))
    jax.tree.map(np.testing.assert_array_equal, text, old)
    jax.tree.map(np.testing.assert_array_equal, run.start["unet"], params["unet"])


@pytest.mark.slow
def test_a_run_that_draws_words_anew_has_a_vocabulary_of_its_own(whole):
    changes = [f"train.init_from={whole / 'model'}", "diffusion.prediction=v"]
    changes += ["model.vocab_size=290", "tokenizer.vocab_size=290", "model.text_context=20"]
    changes.append("train.redraw=^text/.*embedding")
    run = prepare_run(config.read_config("base_64_cfg:smoke", changes))
    assert run.start is not None
    assert run.start["text"]["token_embedding"].shape == (290, 32)
    assert run.start["text"]["positional_embedding"].shape == (20, 32)
    assert run.tokenizer.vocab_size == 290
    assert run.whole is None  # its upsampler reads the other tokens
    old = reading.read_model(whole / "model").stages["base"][1]
    jax.tree.map(np.testing.assert_array_equal, run.start["unet"], old["unet"])
    changes[-1] = "train.redraw=token_embedding"
    with pytest.raises(InputError, match=r"padding_embedding of shape .*; train.redraw may"):
        prepare_run(config.read_config("base_64_cfg:smoke", changes))


@pytest.mark.slow
def test_redraw_goes_for_a_clip_too():
    changes = ["train.init_from=shapes", "train.redraw=text/token_embedding"]
    run = prepare_run(config.read_config("shapes_clip", changes))
    clip = reading.read_model(reading.BOXED / "shapes").clip
    assert run.start is not None
    assert clip is not None
    text, old = dict(run.start["text"]), dict(clip[2]["text"])
    assert not np.array_equal(text.pop("token_embedding"), old.pop("token_embedding"))
    jax.tree.map(np.testing.assert_array_equal, text, old)


def test_parts_are_packed_into_a_model(cli, tmp_path):
    full = tiny.model("full", clip=True)
    parts = {"b": ["base"], "u": ["upsample"], "c": []}
    for name, stages in parts.items():
        part = reading.Model(name, full.tokenizer, {s: full.stages[s] for s in stages},
                           full.clip if name == "c" else None)  # fmt: skip
        writing.write_model(tmp_path / name, part, card=f"# {name}\n")
    result = cli("pack", tmp_path / "u", "--out", tmp_path / "m")
    assert result.code == 2
    assert "no base among" in result.complaint
    result = cli("pack", *(tmp_path / name for name in parts), "--out", tmp_path / "m")
    assert result.code == 0, result.err
    model = reading.read_model(tmp_path / "m")
    assert list(model.stages) == ["base", "upsample"]
    assert model.clip is not None
    assert "## u" in (tmp_path / "m" / "README.md").read_text()
    (tmp_path / "card.md").write_text("# of my own\n")
    half = ("--dtype", "float16", "--card", tmp_path / "card.md", "--out", tmp_path / "half")
    result = cli("pack", *(tmp_path / name for name in parts), *half)
    assert result.code == 0, result.err
    assert (tmp_path / "half" / "README.md").read_text() == "# of my own\n"
    size = lambda name: (tmp_path / name / "base.safetensors").stat().st_size
    assert size("half") < 0.6 * size("m")
    result = cli("sample", "red", "--model", tmp_path / "u", "--out", tmp_path / "o")
    assert "`glide-jax pack`" in result.complaint


def test_a_model_is_packed_that_refers_to_the_rest_of_another(cli, tmp_path):
    whole = tiny.model("whole", clip=True)
    writing.write_model(tmp_path / "whole", whole, card="# whole\n")
    base = tiny.model("base", inpaint=True, upsample=False)
    writing.write_model(tmp_path / "base", base, card="# base\n")
    words = ("pack", tmp_path / "base", "--rest-of", tmp_path / "whole", "--out")
    result = cli(*words, tmp_path / "new" / "m")
    assert result.code == 0, result.err
    assert [p.name for p in (tmp_path / "new" / "m").glob("*.safetensors")] == ["base.safetensors"]
    config = json.loads((tmp_path / "new" / "m" / "config.json").read_text())
    assert config["rest_of"] == "../../whole"
    model = reading.read_model(tmp_path / "new" / "m")
    assert model.stages["base"][0].model.inpaint
    jax.tree.map(
        np.testing.assert_array_equal, model.stages["upsample"][1], whole.stages["upsample"][1]
    )
    assert model.clip is not None
    # A run that starts from a model gives all of it back: what it did not train is the same.
    result = cli("pack", tmp_path / "whole", tmp_path / "base", *words[2:], tmp_path / "again")
    assert result.code == 0, result.err
    assert [p.name for p in (tmp_path / "again").glob("*.safetensors")] == ["base.safetensors"]
    other = dataclasses.replace(base, tokenizer=SentencePiece.train(["other words"], 290))
    writing.write_model(tmp_path / "other", other, card="# other\n")
    result = cli("pack", tmp_path / "other", *words[2:], tmp_path / "never")
    assert result.code == 2
    assert "have different tokenizers" in result.complaint
    assert not (tmp_path / "never").exists()


# Kill -9. The process is a real one; when it dies depends on what it is doing and on chance.

MORE = ("--config.log.every_steps=2", "--config.log.checkpoint_every_steps=3",
        "--config.log.sample_every_steps=6", "--config.log.sample_steps=8")  # fmt: skip


def process(home, workdir, num_steps, cache):
    command = [sys.executable, "-m", "glide_jax", *words(home, workdir, *MORE)]
    command.append(f"--config.train.num_steps={num_steps}")
    with open(workdir.with_name(f"{workdir.name}.log"), "ab") as log:
        return subprocess.Popen(
            [*map(str, command)],
            stdout=log,
            stderr=log,
            env=os.environ | {"GLIDE_JAX_CACHE": str(cache)},
        )


def lines(workdir):
    path = workdir / "metrics.jsonl"
    return path.read_text().count("\n") if path.exists() else 0


def checkpointing(workdir):
    return any((workdir / "checkpoints").glob("*.orbax-checkpoint-tmp*"))


def sampling(workdir):
    """The line of a step that is drawn is there, and its sheet is not yet."""
    try:
        step = json.loads((workdir / "metrics.jsonl").read_text().splitlines()[-1])["step"]
    except (OSError, ValueError, IndexError):
        return False
    return step % 6 == 0 and not (workdir / "samples" / f"step_{step:06d}.png").exists()


def kill_at(running, workdir, what, rng):
    """Kills it in the middle of a checkpoint, a sample or a step; False if it ended before."""
    before, moment = lines(workdir), rng.uniform(0.0, 0.3)
    more = rng.randint(1, 3)
    reached = {
        "checkpoint": lambda: checkpointing(workdir),
        "sample": lambda: sampling(workdir),
        "step": lambda: lines(workdir) >= before + more,
    }[what]
    while running.poll() is None:
        if reached():
            time.sleep(moment if what == "step" else moment / 30)
            running.send_signal(signal.SIGKILL)
            running.wait()
            return True
        time.sleep(0.001)
    assert running.returncode == 0, workdir.with_name(f"{workdir.name}.log").read_text()
    return False


def killed_and_resumed(home, tmp_path, cache, num_steps, kills):
    reference = tmp_path / "whole"
    assert process(home, reference, num_steps, cache).wait() == 0
    workdir, rng, died = tmp_path / "w", random.Random(0), []
    for what in kills:
        if kill_at(process(home, workdir, num_steps, cache), workdir, what, rng):
            died.append(what)
    assert process(home, workdir, num_steps, cache).wait() == 0
    assert_same(reference, workdir)
    return died


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_kills_leave_no_trace(home, tmp_path, cache):
    died = killed_and_resumed(home, tmp_path, cache, 14, ["checkpoint", "step"])
    assert died == ["checkpoint", "step"]


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_twenty_kills_leave_no_trace(home, tmp_path, cache):
    kills = ["step", "checkpoint", "sample", "step"] * 5
    died = killed_and_resumed(home, tmp_path, cache, 90, kills)
    assert len(died) == 20, died
    assert set(died) == {"step", "checkpoint", "sample"}


def test_the_command_line_stays_quick_to_ask():
    """What training needs is not imported by a question for help."""
    code = (
        "import sys; sys.argv = ['glide-jax', 'train', '--help']\n"
        "from glide_jax.cli import main\n"
        "try: main.main()\n"
        "except SystemExit: pass\n"
        "assert not {'jax', 'orbax', 'flax', 'ml_collections'} & sys.modules.keys()"
    )
    folder = pathlib.Path(__file__).parents[2]
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, cwd=folder)
