"""Every command and every snippet of README and the site's pages: `make test-docs` runs them.

README and docs/start.md, one story from an empty folder, are run by `test_first_hour`. What this
machine cannot run is in `NOT_RUN` with the reason; its options are looked at all the same.
"""

import os
import re
import signal
import subprocess
import sys

import pytest

from tests import pages, processes
from tests.conftest import ROOT
from tests.data.fakes import red_and_green
from tests.end_to_end import test_first_hour

ELSEWHERE = (ROOT / "README.md", ROOT / "docs" / "start.md")  # test_first_hour
PAGES = [page for page in pages.pages() if page not in ELSEWHERE and pages.commands(page)]
SNIPPETS = [page for page in pages.pages() if pages.python_blocks(page)]

INSTALLS = "tests/test_wheel.py installs; an extra is what this Python has"
A_CLOUD = "it needs machines of a cloud; tests/test_launch.py runs every launcher with --print"
OPENAI = "it needs released weights, 0.3 to 3 GB from OpenAI's storage"
A_SET = "it needs a built set, which npm and Debian packages make"
HOURS = "it takes hours"
A_MILLION = "it makes a million records, and kills the processes that read them"
LIBTPU = "it needs libtpu, which describes TPUs"
CUDA = "it needs JAX's CUDA plugin, which compiles for GPUs"
TESTS = "these are tests themselves"
NOT_RUN = {  # the beginning of a command: why it is not run
    "pip install": INSTALLS,
    "launch/bare_gpu.sh": "it is for a GPU; tests/test_launch.py runs each plan with --print",
    "export ": A_CLOUD, "launch/tpu_vm.sh": A_CLOUD, "sbatch": A_CLOUD, "IMAGE=": A_CLOUD,
    "glide-jax train ... --coordinator": "tests/mesh runs processes that meet",
    "glide-jax probe --model MODEL --clip-file": OPENAI,
    "glide-jax finetune glide": OPENAI,
    "glide-jax sweep --protocol emoji": A_SET, "glide-jax neighbours": A_SET,
    "glide-jax data score SET TABLE --runner": "tests/safety/test_runners.py runs Beam and Ray",
    "python -m launch.studies.filter_at_scale": A_MILLION,
    "glide-jax data build emoji_64": A_SET, "glide-jax eval --protocol emoji": A_SET,
    "python -m launch.studies.measure_filters prompts": A_SET,
    "glide-jax data score emoji_64 runs/safety": A_SET,
    "python -m launch.studies.safety_study": A_SET,
    "python -m launch.studies.measure_errors": A_SET,
    "glide-jax train --config emoji_64:tiny": HOURS,
    "python -m launch.studies.measure_filters pictures": "it needs pictures of people",
    "python -m launch.studies.measure_marks": "it needs pictures that programs have saved anew",
    "python -m launch.studies.measure_service": "tests/serving puts loads on the service",
    "python -m launch.studies.measure_samplers": HOURS,
    "launch/train_boxed.sh": HOURS, "glide-jax pack runs/shapes_64_inpaint": HOURS,
    "glide-jax distill --from": "tests/cli/test_distill.py teaches students of a tiny model",
    "glide-jax sample \"a large red circle on a white background\" --model runs/few-up": "the same",
    "rsync": "it replaces the models in the box",
    ".venv/bin/python -m pip freeze": "it writes into the checkout",
    "glide-jax bench --stages": "it needs the reference's PyTorch",
    "glide-jax bench --reference": "it needs the reference's PyTorch",
    "glide-jax shard --config base_64 --topology": LIBTPU,
    "glide-jax shard --config upsample_256 --topology": LIBTPU,
    "glide-jax shard --config finetune:base --topology": CUDA,
    "pytest tests/golden": TESTS, "python -m pytest tests/end_to_end/test_boxed.py": TESTS,
}  # fmt: skip
FEW = "--steps 2 --upsample-steps 2"
BENCH = "bench --model shapes --stages base --batch-sizes 1 --rounds 1"
SMALLER = {  # words that stand in the printed command, and those that are run for them
    "--n 63": "--n 1",
    "runs/eval\n": "runs/eval --n 1 --no-upsample\n",
    "probe --n 64": "probe --n 1 --steps 2 --no-upsample",
    "compare serve": "compare serve --port 0",
    "bench --model MODEL --rounds 9": f"{BENCH} --what evaluation",
    "bench --what image": f"{BENCH} --presets fast --what image",
    "bench --what operations": f"{BENCH} --what operations",
    "bench --what ways": f"{BENCH} --what ways",
    "glide-jax bench\n": f"glide-jax {BENCH} --what limits\n",
    "sample --n 64 --batch-size auto ...": f'sample --n 2 {FEW} --batch-size auto "a ring"',
    "--weights int8 ...": f'--weights int8 {FEW} "a ring"',
    "--offload ...": f'--offload {FEW} "a ring"',
    "MODEL.program ...": f'MODEL.program {FEW} "a ring"',
    "export-program MODEL": "export-program shapes",
    "--num-processes 8 --process-id $I": f"--num-processes 2 --process-id 0 {FEW}",
    "--a1111": "--upsample-steps 2 --a1111",
    "--sign mine.pem": f"--sign self {FEW}",
    "--sign self\n": f"--sign self {FEW} --seed 1\n",
    "verify PICTURE ... [--trust CERTIFICATES.pem]": "verify out/*.png",
    "glide-jax serve": "glide-jax serve --port 0",
    "--config shapes_64 --workdir": "--config shapes_64:smoke --workdir",
    "--config base_64 --workdir": "--config base_64:smoke --workdir",
    "folder_64:tiny": "folder_64:smoke",
    "score emoji_64 TABLE --features mobilenet-v2": "score people TABLE --features pixels",
    "--config emoji_64 --config.data.source": "--config emoji_64:smoke --config.data.source",
    "PICTURES": "pictures",
    "launch/local.sh": f"{ROOT}/launch/local.sh",
    "runs/mine --config.data.path=": "runs/mine --config.data.source=folder --config.data.path=",
}


def reason(line: str) -> str | None:
    """Why a command is not run."""
    return next((why for start, why in NOT_RUN.items() if line.startswith(start)), None)


def run_for(line: str) -> str:
    """The words that are run for a printed command."""
    line += "\n"
    for words, others in SMALLER.items():
        line = line.replace(words, others)
    return line.rstrip("\n")


LINES = [line for page in pages.pages() for line in pages.commands(page)]


def test_every_command_of_every_page_is_understood():
    read = 0
    for page in pages.pages():
        for line in pages.commands(page):
            for words in pages.parts(line):
                pages.understood(words)
                read += 1
        for line in pages.inline(page):
            for words in pages.parts(line):
                pages.understood(words, whole=False)
                read += 1
    assert read > 80


def test_the_tables_name_only_what_stands_on_the_pages():
    here = [line for page in PAGES for line in pages.commands(page)]
    assert [start for start in NOT_RUN if not any(x.startswith(start) for x in here)] == []
    run = [f"{line}\n" for line in here if reason(line) is None]
    assert [words for words in SMALLER if not any(words in line for line in run)] == []
    assert len(run) > 25


def test_every_study_and_launcher_that_a_page_names_is_there():
    for line in LINES:
        for module in re.findall(r"-m (launch\.studies\.\w+)", line):
            assert (ROOT / f"{module.replace('.', '/')}.py").is_file(), line
        for path in re.findall(r"launch/[\w/.]+", line):
            assert (ROOT / path).is_file(), line


@pytest.mark.parametrize("page", SNIPPETS, ids=lambda page: page.name)
def test_python_snippets_are_python(page):
    for code in pages.python_blocks(page):
        compile(code, str(page), "exec")


@pytest.fixture(scope="module")
def variables(tmp_path_factory, cache):
    """An environment where `glide-jax` is the one of this checkout."""
    folder = tmp_path_factory.mktemp("bin")
    program = folder / "glide-jax"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m glide_jax "$@"\n')
    program.chmod(0o755)
    return os.environ | {
        "PATH": f"{folder}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT),
        "GLIDE_JAX_CACHE": str(cache), "MPLBACKEND": "Agg",
    }  # fmt: skip


def served(words: str, folder, variables) -> tuple[subprocess.Popen, str]:
    """A server, and its address once it serves."""
    process = subprocess.Popen(
        words.split(), cwd=folder, env=variables, stderr=subprocess.PIPE, text=True
    )
    lines = []
    assert process.stderr is not None
    for said in process.stderr:
        lines.append(said)
        if found := re.search(r"serving (http\S+?)/[;,]", said):
            return process, found[1]
    raise AssertionError(f"{words} ended before it served:\n{''.join(lines)}")


def prepare(folder) -> None:
    """What the pages take for granted."""
    from glide_jax.evaluation import votes

    test_first_hour.prepare(folder)
    who = [f"a {'person in red' if k % 2 else 'thing in green'}, number {k}" for k in range(120)]
    red_and_green(folder / "people", who, side=64)
    for answer in ("left", "right", "left"):
        votes.append_vote(folder / "votes.jsonl", votes.Vote("caption", "w1", "w3", 1, answer))


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_commands_of_a_page_run(page, tmp_path, variables):
    prepare(tmp_path)
    server, address = None, ""
    for line in pages.commands(page):
        if reason(line) is not None:
            continue
        words = run_for(line)
        if " serve " in words:
            process, found = served(words, tmp_path, variables)
            if page.stem == "serving":  # what follows are its clients
                server, address = process, found
                continue
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=120)
            assert process.returncode in (0, 128 + signal.SIGTERM), words
            continue
        words = words.replace("http://127.0.0.1:8000", address or "http://127.0.0.1:8000")
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", words], cwd=tmp_path, env=variables,
            capture_output=True, text=True, timeout=1500,
        )  # fmt: skip
        assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr, words
    if server is not None:
        assert (tmp_path / "stars.png").stat().st_size > 1000
        server.send_signal(signal.SIGTERM)
        server.communicate(timeout=120)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("page", SNIPPETS, ids=lambda page: page.stem)
def test_the_python_of_a_page_runs(page, tmp_path, variables):
    code = "\n".join(pages.python_blocks(page))
    server = None
    if "127.0.0.1:8000" in code:
        words = f"glide-jax serve --model shapes --port {processes.free_port()}"
        server, address = served(words, tmp_path, variables)
        code = code.replace("http://127.0.0.1:8000", address)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=variables, capture_output=True, text=True
    )
    if server is not None:
        server.send_signal(signal.SIGTERM)
        server.communicate(timeout=120)
    assert done.returncode == 0, done.stderr
