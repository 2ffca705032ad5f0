"""The first hour: every command of README and docs/start.md, as printed, from an empty folder.

A plain install is the wheel in an environment of its own. What would take long, a GPU or 3 GB from
elsewhere is done smaller, and the table says how; pictures are judged where there is a judge.
"""

import os
import re
import signal
import subprocess
import urllib.request

import numpy as np
import pytest
from PIL import Image, ImageDraw

from glide_jax import images
from glide_jax.evaluation import shapes_judge
from tests import processes
from tests.conftest import ROOT
from tests.test_wheel import place, wheel  # noqa: F401  fixtures

PAGES = (ROOT / "README.md", ROOT / "docs" / "start.md")
PROGRAMS = ("make", "pip", "glide-jax", "launch/local.sh", "cat")
BARE = ("glide-jax doctor", "glide-jax models", "glide-jax --help")  # they need no more words
QUICK = "--steps 2 --upsample-steps 2"
CIRCLE = "a large red circle on a white background"

# Each command as it is printed, and what is run for it: the same, the same with words more or
# other ones, or nothing, where another test does it.
INSTALLS = ("make install", "pip install -e .", "pip install -e '.[cuda]'",
            "pip install -e '.[data]'", "pip install -e '.[serve]'",
            "pip install -e '.[eval,serve]'",
            "pip install -e . -c .ci/constraints-3.11.txt")  # fmt: skip
ELSEWHERE = {
    **dict.fromkeys(INSTALLS, "tests/test_wheel.py installs; an extra is what this Python has"),
    "make page": "it is `glide-jax serve`, which docs/start.md has, after an installation",
    "glide-jax push MODEL USER/MODEL": "tests/model_dir/test_hub.py sends to a hub of its own",
    **dict.fromkeys(
        ("glide-jax download base upsample",
         "glide-jax import base upsample --out ~/.cache/glide_jax/models/glide",
         'glide-jax sample --model glide "an oil painting of a corgi"'),
        "tests/cli/test_import_export.py runs this recipe with tiny files from a local server",
    ),
}  # fmt: skip
SMALLER = {  # words that stand in the printed command, and those that are run for them
    "glide-jax sample --model emoji": f"glide-jax sample {QUICK} --model emoji",
    "--prompts-file prompts.txt": f"--prompts-file prompts.txt {QUICK}",
    "glide-jax vary photo.png": "glide-jax vary photo.png --preset fast",
    "glide-jax interpolate": "glide-jax interpolate --frames 3 --preset fast",
    "upscale photo.png": "upscale small.png --upsample-steps 2",
    "inpaint photo.png": "inpaint photo.png --preset fast",
    "edit sketch.png": "edit sketch.png --preset fast",
    "--keep 1 --steps 4": "--keep 1 --steps 4 --upsample-steps 2",
    "PICTURES": "pictures",
    "--config.data.path=": "--config.train.num_steps=2 --config.optim.warmup_steps=1 "
    "--config.train.batch_size=4 --config.log.sample_every_steps=0 --config.data.path=",
    "--model runs/mine": "--model runs/mine --steps 2 --out mine",
    "finetune MODEL": "finetune shapes --steps 2 --batch-size 2",
    "--workdir W": "--workdir runs/tuned",
    "serve --model": "serve --port 0 --model",
    "--protocol shapes": "--protocol shapes --n 1 --no-upsample --batch-size 8",
    "--guidance-scales 1,2,3,4": "--guidance-scales 1,3 --steps 2",
    "compare serve": "compare serve --port 0",
    "--device gpu --dtype bfloat16": f"--device cpu --dtype bfloat16 {QUICK} --out bfloat16",
    "out/PICTURE.png": "out/00000-a-large-green-heart-on-a-gray-background-s0-i2.png --out again",
}


def printed() -> list[str]:
    """The commands of both pages, in their order."""
    found = []
    for page in PAGES:
        for block, inline in re.findall(
            r"^ {4}(\S.*)$|`(glide-jax [^`]+)`", page.read_text(), re.M
        ):
            line = re.split(r"\s+# ", block or inline)[0].strip()
            if inline and len(line.split()) == 2 and line not in BARE:
                continue  # a command that a sentence names
            if line.split()[0] in PROGRAMS and len(line.split()) > 1:
                found.append(line)
    return list(dict.fromkeys(found))


def run_for(line: str) -> str:
    """The words that are run for a printed command."""
    for words, others in SMALLER.items():
        line = line.replace(words, others)
    return line


def test_every_command_of_the_first_hour_is_run_here_or_elsewhere():
    lines = printed()
    assert set(ELSEWHERE) <= set(lines)
    text = "\n".join(lines)
    assert [words for words in SMALLER if words not in text] == []
    assert len(lines) > 25


@pytest.fixture(scope="module")
def shell(place):  # noqa: F811
    """Runs a line in the empty folder, where the installed `glide-jax` is found."""
    variables = place.variables | {"PATH": f"{place.venv / 'bin'}:{os.environ['PATH']}"}

    def run(line: str, **options) -> subprocess.CompletedProcess:
        return subprocess.run(
            ["bash", "-euo", "pipefail", "-c", line], cwd=place.empty, env=variables,
            capture_output=True, text=True, timeout=1500, **options,
        )  # fmt: skip

    run.variables = variables
    return run


def carried(path) -> dict:
    """The parameters of a picture."""
    parameters = images.read_parameters(path)
    assert parameters is not None, path
    return parameters


def right(paths) -> list[bool]:
    """The judge's word on pictures, of the prompts that they carry."""
    verdicts = []
    for path in paths:
        caption = carried(path)["prompt"]
        pixels = np.asarray(Image.open(path).convert("RGB"))
        verdicts.append(shapes_judge.judge_caption(pixels, caption).all)
    return verdicts


def serves(line: str, place, variables) -> None:  # noqa: F811
    """Starts a server, asks it for its page, and ends it."""
    with subprocess.Popen(
        line.split(), cwd=place.empty, env=variables, stderr=subprocess.PIPE, text=True
    ) as process:
        address = None
        assert process.stderr is not None
        for said in process.stderr:
            if found := re.search(r"serving (http\S+?)/[;,]", said):
                address = found[1]
                break
        assert address, "it ended before it served"
        with urllib.request.urlopen(f"{address}/", timeout=60) as answer:
            assert b"<html" in answer.read().lower()
        process.send_signal(signal.SIGTERM)
        process.stderr.read()
    assert process.returncode in (0, 128 + signal.SIGTERM)


def prepare(folder) -> None:
    """What the pages take for granted: pictures of one's own, a mask, a sketch, prompts."""
    processes.pictures(folder / "pictures")
    (folder / "prompts.txt").write_text(f"{CIRCLE}\ntwo blue stars on a black background\n")
    photo = Image.new("RGB", (256, 256), "white")
    ImageDraw.Draw(photo).ellipse((30, 30, 90, 90), fill=(40, 80, 215))
    photo.save(folder / "photo.png")
    photo.resize((64, 64)).save(folder / "small.png")
    mask = Image.new("L", photo.size)
    ImageDraw.Draw(mask).rectangle((128, 128, 250, 250), fill=255)
    mask.save(folder / "mask.png")
    sketch = Image.new("RGB", (256, 256), "white")
    ImageDraw.Draw(sketch).rectangle((60, 60, 200, 200), fill=(50, 90, 200))
    sketch.save(folder / "sketch.png")


@pytest.mark.slow
@pytest.mark.timeout(5400)
def test_the_first_hour(shell, place, tmp_path):  # noqa: F811
    folder = place.empty
    prepare(folder)
    for line in printed():
        if line in ELSEWHERE:
            continue
        words = run_for(line)
        if " serve " in words:
            serves(words, place, shell.variables)
            continue
        if line.startswith("make sample"):
            # The environment is there already, and newer than what it is made of.
            (place.venv / ".installed").touch()
            words = f"make --no-print-directory -f {ROOT}/Makefile VENV={place.venv} {words[5:]}"
            words = words.replace("make ", f"make -o {place.venv}/.installed ", 1)
        words = words.replace("launch/local.sh", f"{ROOT}/launch/local.sh")
        before = set(folder.glob("out/*"))
        done = shell(words)
        assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr, words
        assert "none of the forms" not in done.stderr, words
        drawn = [path for path in set(folder.glob("out/0*.png")) - before]
        if line.startswith("make sample") or "green heart" in line:
            assert len(drawn) == (4 if "--n 4" in line else 1), words
            assert sum(right(drawn)) >= 0.75 * len(drawn), words
        if " inpaint " in line:
            [path] = drawn
            kept = np.asarray(Image.open(folder / "mask.png")) == 0
            pair = [np.asarray(Image.open(p).convert("RGB")) for p in (path, folder / "photo.png")]
            np.testing.assert_array_equal(pair[0][kept], pair[1][kept])
        if " edit " in line:
            assert right(drawn) == [True]
        if " repeat " in line:
            path = folder / words.split()[2]
            pair = [np.asarray(Image.open(p)) for p in (path, folder / "again" / path.name)]
            np.testing.assert_array_equal(pair[0], pair[1])
    assert (folder / "runs" / "mine" / "model" / "base.safetensors").is_file()
    assert (folder / "runs" / "tuned" / "model" / "base.safetensors").is_file()
    assert {path.parent.name for path in folder.glob("runs/eval/*/result.json")} == {"w1", "w3"}


@pytest.mark.slow
def test_the_python_of_readme_draws_what_it_says(shell, place):  # noqa: F811
    [code] = re.findall(r"```python\n(.*?)```", PAGES[0].read_text(), re.S)
    done = subprocess.run(
        [place.venv / "bin" / "python", "-c", code + "\nfor k, p in enumerate(pictures):\n"
         "    p.save(f'stars-{k}.png')\n"],
        cwd=place.empty, env=shell.variables, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert carried(place.empty / "stars.png")["seed"] == 0
    assert sum(right(sorted(place.empty.glob("stars-*.png")))) >= 3
