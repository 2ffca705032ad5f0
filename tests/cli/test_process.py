"""Signals to stop, from a process's first moment to its last: one line, and a shell's number."""

import os
import random
import signal
import subprocess
import sys
import time

import pytest
from PIL import Image

LINE = "glide-jax: interrupted; what was finished is kept."
# What a command does is replaced: it signals itself where exceptions are lost.
PROBE = """
import os, signal, sys, time
from glide_jax.cli import main, process
signalled = lambda: os.kill(os.getpid(), signal.{signal})
def command():
{body}
main.main = command
process.main()
"""


def probe(body: str, number: signal.Signals = signal.SIGINT) -> tuple[int, str]:
    lines = "".join(f"    {line}\n" for line in body.split("\n"))
    # A suite that nohup started ignores hangups, and so would the process.
    code = "import signal; signal.signal(signal.SIGHUP, signal.SIG_DFL)"
    code += PROBE.format(signal=number.name, body=lines)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    return done.returncode, done.stderr.strip()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_unwinds_what_runs_also_where_it_comes_twice(number):
    code, err = probe(
        "try: signalled()\nfinally:\n signalled()\n print('tidy', file=sys.stderr)", number
    )
    assert (code, err) == (128 + number, f"tidy\n{LINE}")


@pytest.mark.parametrize(
    "body",
    [
        "class Odd:\n    def __del__(self): signalled()\nOdd()\ntime.sleep(9)",
        "try: signalled()\nexcept BaseException: raise RuntimeError from None",
        "try: signalled()\nexcept BaseException: sys.exit(0)",
        "try: signalled()\nexcept BaseException: time.sleep(1.1)\nsignalled()\ntime.sleep(9)",
        "import atexit\natexit.register(signalled)\nsys.exit(0)",
        "import importlib\nsys.path.insert(0, '{here}')\nimport interrupts_its_import",
    ],
    ids=[
        "in a destructor",
        "as another exception",
        "swallowed",
        "twice",
        "at exit",
        "in an import",
    ],
)
def test_a_signal_is_one_line_wherever_it_comes(body, tmp_path):
    (tmp_path / "interrupts_its_import.py").write_text(
        "import os, signal\ntry: os.kill(os.getpid(), signal.SIGINT)\nexcept BaseException: pass\n"
        "import time; time.sleep(9)"
    )
    assert probe(body.replace("{here}", str(tmp_path))) == (130, LINE)


def test_a_signal_ends_what_does_not_come_back_to_python():
    """As a compiler does not; a lock that C waits for is held without Python's signals."""
    body = (
        "import ctypes, threading\n"
        "threading.Timer(0.2, signalled).start()\n"
        "ctypes.CDLL(None).pthread_mutex_lock\n"
        "mutex = ctypes.create_string_buffer(64)\n"
        "ctypes.CDLL(None).pthread_mutex_lock(mutex)\n"
        "ctypes.CDLL(None).pthread_mutex_lock(mutex)"
    )
    assert probe(body) == (130, LINE)


def test_a_signal_that_a_run_answers_is_not_answered_again():
    body = (
        "old = signal.signal(signal.SIGINT, lambda *_: print('saved', file=sys.stderr))\n"
        "signalled(); time.sleep(0.3)\n"
        "signal.signal(signal.SIGINT, old); time.sleep(2.5)"
    )
    assert probe(body) == (0, "saved")


def test_nohup_is_respected():
    code = "import os, sys; os.execv(sys.executable, [sys.executable, '-c', sys.argv[1]])"
    body = "    signalled()\n    print('still here', file=sys.stderr)\n"
    script = PROBE.format(signal="SIGHUP", body=body)
    done = subprocess.run(
        ["nohup", sys.executable, "-c", code, script], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr.strip().split("\n")[-1]) == (0, "still here")


@pytest.fixture
def pictures(tmp_path):
    (tmp_path / "p").mkdir()
    for k in range(8):
        Image.new("RGB", (32, 32), (30 * k, 80, 90)).save(tmp_path / "p" / f"{k}.png")
        (tmp_path / "p" / f"{k}.txt").write_text("a circle")
    return tmp_path / "p"


def start(pictures, workdir, cache, *more):
    words = ["train", "--config", "folder_64:smoke", "--workdir", str(workdir),
             "--config.data.source=folder", f"--config.data.path={pictures}", *more]  # fmt: skip
    return subprocess.Popen(
        [sys.executable, "-m", "glide_jax", *words],
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"GLIDE_JAX_CACHE": str(cache)},
    )


def interrupted_after(seconds, pictures, workdir, cache):
    running = start(pictures, workdir, cache, "--config.train.num_steps=100000")
    time.sleep(seconds)
    running.send_signal(signal.SIGINT)
    err = running.communicate(timeout=200)[1]
    assert "Traceback" not in err, (seconds, err)
    assert "Exception ignored" not in err, (seconds, err)
    if "stopped by SIGINT after step" in err:
        return
    assert running.returncode == 130, (seconds, err)
    assert err.count(LINE) == 1, (seconds, err)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_a_second_ctrl_c_ends_a_run_at_once_whatever_it_is_saving(number):
    body = (
        "from glide_jax.training import hooks\n"
        "process.nothing_at_stake()\n"
        "with hooks.interruptible() as interrupted:\n"
        " signalled(); time.sleep(1.1)\n"
        " print(interrupted.name, file=sys.stderr)\n"
        " try: os.kill(os.getpid(), signal.SIGINT); time.sleep(9)\n"
        " finally: print('unwound', file=sys.stderr)"
    )
    assert probe(body, number) == (130, f"{number.name}\n{LINE}")


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("most", [1.0, 40.0])
def test_twenty_interrupts_of_a_start_are_one_line_each(most, pictures, tmp_path, cache):
    rng = random.Random(0)
    for k in range(20):  # Python itself takes the first tenth of a second
        interrupted_after(rng.uniform(0.1, most), pictures, tmp_path / f"w{k}", cache)


def test_a_shell_completes_commands_and_options():
    variables = {"COMP_WORDS": "glide-jax sample --guidance-s", "COMP_CWORD": "2"}
    done = subprocess.run(
        [sys.executable, "-m", "glide_jax"],
        capture_output=True, text=True, timeout=60,
        env={**os.environ, **variables, "_GLIDE_JAX_COMPLETE": "bash_complete"},
    )  # fmt: skip
    assert done.stdout == "plain,--guidance-scale\n"
