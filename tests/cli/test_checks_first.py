"""What is wrong is found before weights are read, anything is drawn, or a file is written."""

import importlib

import numpy as np
import pytest
from PIL import Image

from glide_jax.sampling import loading
from tests import tiny


@pytest.fixture(scope="module")
def weightless(tmp_path_factory):
    """A model whose weights are gone, which is a fault of its own once they are read."""
    folder = tiny.save(tmp_path_factory.mktemp("models"), "weightless", inpaint=True, clip=True)
    for file in folder.glob("*.safetensors"):
        file.unlink()
    return folder


@pytest.fixture
def things(tmp_path, weightless):
    """Words of commands in braces: the model, pictures, folders."""
    rng = np.random.default_rng(0)
    for name, shape in (("photo", (40, 40, 3)), ("large", (9000, 4, 3)), ("other", (8, 8))):
        Image.fromarray(rng.integers(0, 256, shape, np.uint8)).save(tmp_path / f"{name}.png")
    mask = np.zeros((40, 40), np.uint8)
    mask[10:20, 10:20] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    return {"m": f"--model {weightless} --out {tmp_path / 'out'}", "t": tmp_path}


COMMANDS = {
    "sample": "sample red {m}",
    "file": "sample --prompts-file {t}/prompts.txt {m}",
    "inpaint": "inpaint {t}/photo.png red --mask {t}/mask.png {m}",
    "edit": "edit {t}/photo.png red {m}",
    "vary": "vary {t}/photo.png {m}",
    "upscale": "upscale {t}/photo.png {m}",
    "interpolate": "interpolate red blue {m}",
    "eval": "eval {m}",
    "sweep": "sweep {m}",
    "probe": "probe {m}",
}
SHARED = [
    ("--preset fast --sampler ddim --steps 5 --grid uniform --no-upsample", "preset is 'fast'"),
    ("--guidance-scale 1 --negative-prompt blue", "negative_prompt is 'blue'"),
    ("--autoguidance-scale 3", "autoguidance_scale is '3'"),
    ("--autoguidance-model none-such", "model 'none-such' is neither"),
    ("--clip-guidance-on x_0", "clip_guidance_on is 'x_0'"),
    ("--eta 0.5 --sampler ddpm", "eta is 0.5"),
    ("--no-upsample --upsample-grid karras", "upsample_grid is 'karras'"),
    ("--steps 0", "steps is '0'"),
]
OWN = {
    "sample": [
        ("--heartbeat-seconds 9", "--heartbeat-seconds is given, but this process waits for no"),
        ("--coordinator none --process-id 1", "--process-id is given, but by --coordinator none"),
        ("--coordinator auto --num-processes 2", "but by --coordinator auto it is numbered by JAX"),
    ],
    "file": [("--num-processes 2 --process-id 0 --wait-seconds 9", "--wait-seconds is given")],
    "inpaint": [
        ("--jump 5", "jump is '5', but repeats is 1"),
        ("--mask {t}/other.png", "8 x 8"),
        ("--strength 0", "strength is '0'"),
        ("--extend 1,2", "extend is '1,2'"),
        ("--keep 1 --n 2", "keep is 1"),
    ],
    "edit": [("--strength 2", "strength is '2'"), ("--mask {t}/other.png", "8 x 8")],
    "vary": [("--strength nan", "strength is 'nan'")],
    "upscale": [("--upsample-steps 0", "upsample_steps is '0'")],
    "interpolate": [("--frames 1", "frames is '1'"), ("--to-seed -1", "to_seed is '-1'")],
    "eval": [
        ("--guidance-scale 1 --guidance-scale x", "guidance_scale is 'x'"),
        ("--guidance-scale 2 --guidance-scale 2.0", "the runs w2 and w2p0 are the same"),
        ("--sampler euler", "sampler is 'euler'"),
        ("--path {t}", "--path is given, but protocol 'shapes'"),
        ("--inception x.pth", "--inception is given, but features is 'none'"),
        ("--data-dir {t}", "--data-dir is given, but"),
        ("--part 0/2 --clip shapes", "--clip is given, but --part draws"),
        ("--part 0/2 --no-samples", "--no-samples is given, but --part draws"),
        ("--part 0/2 --features pixels", "--features is given, but --part draws"),
    ],
    "sweep": [
        ("--guidance-scales 1,2,1000", "guidance_scale is '1000'"),
        ("--guidance-scales 1,1.0", "the runs w1 and w1p0 are the same"),
        ("--clip-guidance-scales 3,-1", "clip_guidance_scale is '-1'"),
        ("--steps 5,fast28", "fast28"),
        ("--samplers ddim,euler", "sampler is 'euler'"),
        ("--samplers ddim --vary eta=0,2", "eta is '2'"),
        ("--vary n=1,2", "one picture of each prompt"),
        ("--vary batch-size=1,2", "--batch-size"),
        ("--vary progress=1", "progress"),
        ("--vary mix=0.5:red", "mix"),
        ("--vary eta", "such as eta=0,1"),
        ("--vary colour=red", "colour"),
        ("--vary guidance-scale=1,2", "--guidance-scales"),
        ("--vary eta=0 --vary eta=1", "eta twice"),
        ("--preset quick", "preset is 'quick'"),
        ("--preset fast --steps fast27 --samplers ddim --no-upsample", "preset is 'fast'"),
        ("--seed -1", "seed is '-1'"),
        ("--dtype float33", "float33"),
    ],
    "probe": [("--steps 5 --sampler euler", "sampler is 'euler'"), ("--steps 0", "steps is '0'")],
}
CASES = [
    *((name, *case) for name in ("sample", "file", "inpaint", "edit", "vary") for case in SHARED),
    *((name, *case) for name, cases in OWN.items() for case in cases),
]


def words(name, more, things):
    (things["t"] / "prompts.txt").write_text("red\nblue\n")
    return f"{COMMANDS[name]} {more}".format(**things).split()


@pytest.mark.parametrize(("name", "more", "sentence"), CASES)
def test_a_wrong_option_is_refused_before_weights_are_read(cli, things, name, more, sentence):
    result = cli(*words(name, more, things))
    assert result.code == 2
    assert sentence in result.complaint
    assert not list((things["t"] / "out").glob("*"))


@pytest.mark.parametrize("name", COMMANDS)
def test_without_a_fault_the_weights_are_what_is_missing(cli, things, name, monkeypatch):
    """So that the tests above are of checks that come first."""
    assert "safetensors" in cli(*words(name, "", things)).complaint


@pytest.mark.parametrize("name", ["eval", "sweep", "probe"])
def test_what_plots_is_looked_for_before_anything_is_drawn(cli, things, name, monkeypatch):
    real = importlib.import_module

    def without(module, *more):
        if module.startswith("matplotlib"):
            raise ImportError("not here")
        return real(module, *more)

    monkeypatch.setattr(loading, "load", None)  # nothing is loaded
    monkeypatch.setattr(importlib, "import_module", without)
    complaint = cli(*words(name, "", things)).complaint
    assert complaint.startswith("'matplotlib', which this needs, cannot be imported")
    assert "pip install 'glide-jax[eval]'" in complaint
    assert not list((things["t"] / "out").glob("*"))
