"""The launchers: sound shell, and --print that shows what would run and does nothing."""

import os
import pathlib
import shutil
import subprocess

import pytest

LAUNCH = pathlib.Path(__file__).parents[1] / "launch"
SCRIPTS = sorted([*LAUNCH.rglob("*.sh"), *LAUNCH.rglob("*.sbatch")])
PRINTED = {
    "local.sh": ("glide-jax train --config x --workdir w", "--num-processes 2 --process-id 1"),
    "tpu_vm.sh": ("run", "gcloud compute tpus tpu-vm ssh glide --worker all"),
    "slurm.sbatch": ("--config x --workdir w", "srun --kill-on-bad-exit=1"),
    "gke/run.sh": ("--config base_64", '"--config", "base_64", "--workdir", "/runs/glide"'),
    "gke/xpk.sh": ("--config base_64", "xpk workload create --workload glide"),
}


def bash(*words, **options):
    return subprocess.run(["bash", *map(str, words)], capture_output=True, text=True, **options)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_are_sound(script):
    assert bash("-n", script).returncode == 0
    checker = shutil.which("shellcheck")
    if checker:
        found = subprocess.run([checker, script], capture_output=True, text=True)
        assert found.returncode == 0, found.stdout


@pytest.mark.parametrize("name", PRINTED)
def test_print_shows_what_would_run_and_does_nothing(name, tmp_path):
    words, says = PRINTED[name]
    # With no program but bash's own and a few of the system, a call of anything would fail.
    for tool in ("dirname", "bash", "sed"):
        (tmp_path / tool).symlink_to(shutil.which(tool) or tool)
    done = bash(LAUNCH / name, "--print", *words.split(), env={"PATH": str(tmp_path)}, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert says in done.stdout
    assert sorted(os.listdir(tmp_path)) == ["bash", "dirname", "sed"]


@pytest.mark.parametrize("name", ["local.sh", "tpu_vm.sh", "gke/run.sh", "gke/xpk.sh"])
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
