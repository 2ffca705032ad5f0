"""The launchers: sound shell, and --print that shows what would run and does nothing."""

import os
import pathlib
import re
import shlex
import shutil
import subprocess

import pytest

from glide_jax import extras
from glide_jax.cli import train_

LAUNCH = pathlib.Path(__file__).parents[1] / "launch"
SCRIPTS = sorted([*LAUNCH.rglob("*.sh"), *LAUNCH.rglob("*.sbatch")])
EXTRA = re.compile(r"glide-jax\[([a-z0-9,]+)\]")
PRINTED = {  # words of a script, and what it then would run
    "local.sh": ("glide-jax train --config x --workdir w", "--num-processes 2 --process-id 1"),
    "tpu_vm.sh": ("run", "gcloud compute tpus tpu-vm ssh glide --worker all"),
    "slurm.sbatch": ("--config x --workdir w", "srun --kill-on-bad-exit=1"),
    "gke/run.sh": ("--config base_64", '"--config", "base_64", "--workdir", "/runs/glide"'),
    "gke/xpk.sh": ("--config base_64", "xpk workload create --workload glide"),
    "bare_gpu.sh": ("bench --rounds 3", "glide_jax bench --out runs/bare/base-bf16 --stages base"),
    "train_boxed.sh": (
        "shapes glide-jax --device cpu",
        "glide-jax pack runs/shapes_64-polish/model",
    ),
    "train_emoji.sh": (
        "64:smoke data --device cpu",
        "glide-jax train --config configs/emoji_64.py",
    ),
}
# Everything that a script could start, on a cloud or here.
PROGRAMS = (
    "gcloud", "kubectl", "xpk", "srun", "sbatch", "scontrol", "glide-jax", "timeout", "rm", "mkdir",
    "tail", "sleep", "python3", "pip", "curl", "ssh",
)  # fmt: skip
NEEDED = ("dirname", "basename", "bash", "sed")


def bash(*words, **options):
    return subprocess.run(["bash", *map(str, words)], capture_output=True, text=True, **options)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_are_sound(script):
    assert bash("-n", script).returncode == 0
    checker = shutil.which("shellcheck")
    if checker:
        found = subprocess.run([checker, script], capture_output=True, text=True)
        assert found.returncode == 0, found.stdout


@pytest.fixture
def launch(tmp_path):
    """Runs a script among stand-ins for PROGRAMS, each of which writes down its words and fails."""
    programs, called = tmp_path / "bin", tmp_path / "called"
    programs.mkdir()
    for tool in NEEDED:
        (programs / tool).symlink_to(shutil.which(tool) or tool)
    for program in PROGRAMS:
        words = f'printf "%s\\0" {program} "$@" >>{called}'
        (programs / program).write_text(f"#!{shutil.which('bash')}\n{words}\nexit 9\n")
        (programs / program).chmod(0o755)

    def run(name, *words, **variables):
        (tmp_path / "here").mkdir(exist_ok=True)
        called.unlink(missing_ok=True)
        done = bash(
            LAUNCH / name, *words, cwd=tmp_path / "here",
            env={"PATH": str(programs), "LOGS": "logs", **variables},
        )  # fmt: skip
        done.called = called.read_text().split("\0")[:-1] if called.exists() else []
        done.left = os.listdir(tmp_path / "here")
        return done

    return run


def with_print(words: str) -> list[list[str]]:
    """The words with --print in every place."""
    parts = words.split()
    return [[*parts[:k], "--print", *parts[k:]] for k in range(len(parts) + 1)]


@pytest.mark.parametrize("name", PRINTED)
def test_print_shows_what_would_run_and_does_nothing_wherever_it_stands(name, launch):
    words, says = PRINTED[name]
    for every in with_print(words):
        done = launch(name, *every)
        assert (done.returncode, done.stderr) == (0, "")
        assert says in done.stdout
        assert "--print" not in done.stdout
        assert (done.called, done.left) == ([], [])


@pytest.mark.parametrize("word", ["create", "setup", "run", "tail", "stop", "delete"])
def test_a_slice_of_tpus_is_only_printed_wherever_print_stands(word, launch):
    for every in with_print(word):
        done = launch("tpu_vm.sh", *every)
        assert (done.returncode, done.called) == (0, [])
        ran = launch("tpu_vm.sh", word, SOURCE="SOURCE")
        assert ran.returncode == 9  # the stand-in's
        assert shlex.split(done.stdout) == ran.called


@pytest.mark.parametrize(("model", "runs"), [("shapes", 3), ("emoji", 3), ("shapes-few", 2)])
def test_what_is_printed_of_a_boxed_training_is_what_runs(model, runs, launch):
    words = ("train_boxed.sh", model, "echo", "--config.seed=1")  # echo in place of glide-jax
    printed = launch(*words, "--print", SIZE=":smoke").stdout.splitlines()
    ran = launch(*words, SIZE=":smoke")
    begins = ("echo train", "echo distill")
    trained = [line.removeprefix("echo ").rstrip() for line in printed if line.startswith(begins)]
    assert ran.stdout.splitlines() == trained
    assert len(trained) == runs
    assert ran.called == ["rm", "-rf", f"runs/{model}-smoke"]  # a stand-in, which ends it
    assert f"{' '.join(ran.called)} " in printed


@pytest.mark.parametrize(
    ("name", "words", "sentence"),
    [
        ("local.sh", "--dry-run glide-jax train", "no option '--dry-run'"),
        ("tpu_vm.sh", "creat", "no word 'creat'; give one of create"),
        ("tpu_vm.sh", "create --dry-run", "are 2 words; give one of create"),
        ("tpu_vm.sh", "create setup", "are 2 words"),
        ("tpu_vm.sh", "--dry-run", "no word '--dry-run'"),
        ("tpu_vm.sh", "setup", "set SOURCE"),
        ("gke/run.sh", "--config base_64 --dry-run", "no option '--dry-run'"),
        ("gke/run.sh", "--confg base_64", "no option '--confg'"),
        ("gke/run.sh", "base_64", "'base_64' follows no option"),
        ("gke/run.sh", "--config.train.num_steps=3", "no --config;"),
        ("gke/run.sh", "--config base_64 --config.mesh.fsdp", "has no value"),
        ("gke/run.sh", "--config base_64", "set IMAGE"),
        ("gke/xpk.sh", "--config base_64 --workdir w", "no option '--workdir'"),
        ("gke/xpk.sh", "--config base_64", "set IMAGE"),
        ("slurm.sbatch", "base_64", "'base_64' follows no option"),
        ("bare_gpu.sh", "benc", "no plan 'benc'; give one of carry"),
        ("bare_gpu.sh", "bench fast", "'fast' follows no option"),
        ("bare_gpu.sh", "check --print now", "'now' is left over"),
        ("bare_gpu.sh", "train --config.seed=1", "no --config;"),
        ("bare_gpu.sh", "bench", "there is no folder '.bare'; launch"),
        ("train_boxed.sh", "", "give shapes|emoji"),
        ("train_boxed.sh", "cats", "give shapes|emoji"),
        ("train_boxed.sh", "shapes --print --steps 3", "no option '--steps'"),
        ("train_boxed.sh", "shapes glide-jax fast", "'fast' follows no option"),
        ("train_emoji.sh", "64", "give 64|256"),
        ("train_emoji.sh", "128 data", "no '128'; give 64 or 256"),
        ("train_emoji.sh", "64 --device gpu", "'--device' stands where"),
        ("train_emoji.sh", "64 data --dry-run", "no option '--dry-run'"),
    ],
)
def test_words_that_a_script_does_not_know_are_one_sentence_and_nothing_starts(
    name, words, sentence, launch
):
    done = launch(name, *words.split())
    assert (done.returncode, done.called, done.left) == (2, [], [])
    [line] = done.stderr.splitlines()
    assert sentence in line
    assert line.endswith(".")


def test_what_goes_to_pods_are_options_that_training_knows():
    known = re.search(r'check_options "(.+)" "\$@"', (LAUNCH / "words.sh").read_text())
    assert known is not None
    assert set(known[1].split()) < {word for p in train_.command.params for word in p.opts}


def test_what_is_installed_for_a_launcher_exists():
    texts = [
        path.read_text() for path in [*LAUNCH.rglob("*.*"), *(LAUNCH.parent / "docs").rglob("*.md")]
    ]
    named = {extra for text in texts for found in EXTRA.findall(text) for extra in found.split(",")}
    assert {"tpu", "data", "tensorboard", "serve"} <= named <= {*extras.EXTRAS, "dev"}


@pytest.mark.parametrize("new", [True, False], ids=["python3 is new enough", "python3 is old"])
def test_setup_installs_the_package_on_a_worker_once_with_a_python_that_is_new_enough(
    new, launch, tmp_path
):
    command = shlex.split(launch("tpu_vm.sh", "setup", "--print", SOURCE="git+x").stdout)
    command = command[command.index("--command") + 1]
    home, log, no = tmp_path / "home", tmp_path / "home" / "log", int(not new)
    install_pip = f"mkdir -p ~/glide/bin && cp {home}/kit/pip ~/glide/bin/pip"
    scripts = {
        "kit/pip": f'echo pip "$@" >>{log}',
        "kit/uv": f'echo uv "$@" >>{log}; {install_pip}',
        "bin/python3": f'test "$1" = -c && exit {no}\necho python3 "$@" >>{log}\n{install_pip}',
        "bin/curl": f"echo 'mkdir -p ~/.local/bin && cp {home}/kit/uv ~/.local/bin/uv'",
    }
    for name, script in scripts.items():
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text(f"#!{shutil.which('bash')}\n{script}\n")
        (home / name).chmod(0o755)
    env = {"HOME": str(home), "PATH": f"{home}/bin:{os.environ['PATH']}"}
    for _ in range(2):
        done = bash("-c", command, env=env)
        assert done.returncode == 0, done.stderr
    made = (
        f"python3 -m venv {home}/glide" if new else f"uv venv -q --seed --python 3.12 {home}/glide"
    )
    install = "pip install -q glide-jax[tpu,data,tensorboard] @ git+x"
    assert log.read_text().splitlines() == [made, install, install]


@pytest.mark.parametrize(
    "name", ["local.sh", "tpu_vm.sh", "gke/run.sh", "gke/xpk.sh", "bare_gpu.sh"]
)
def test_without_words_a_script_says_what_each_variable_is(name):
    done = bash(LAUNCH / name)
    assert done.returncode == 2
    text = (LAUNCH / name).read_text()
    for line in done.stdout.splitlines():
        assert line in text
    assert "launch/" in done.stdout


def local(tmp_path, *command, **variables):
    environment = os.environ | {"LOGS": str(tmp_path / "logs"), **variables}
    return bash(LAUNCH / "local.sh", *command, env=environment, timeout=60)


def test_local_starts_each_process_with_its_number_and_log(tmp_path):
    done = local(tmp_path, "bash", "-c", 'echo "$@"', "word", PROCESSES="3", PORT="1234")
    assert done.returncode == 0, done.stderr
    for k in range(3):
        told = (tmp_path / "logs" / f"process_{k}.log").read_text()
        assert told == f"--coordinator 127.0.0.1:1234 --num-processes 3 --process-id {k}\n"


def test_local_ends_the_others_when_one_fails(tmp_path):
    script = 'if [ "${@: -1}" = 1 ]; then exit 7; fi; exec sleep 50'
    done = local(tmp_path, "bash", "-c", script, "word")
    assert done.returncode == 7
