"""Options of the whole suite, and the models of a second that many tests share.

Imports of the package stay inside: jaxtyping's hook has to come before them.
"""

import os
import pathlib
import platform
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1]
# Most programs run once or twice, and optimising them would take most of the time; the older
# emitters of fusions, where jaxlib has them, halve what is left (jax 0.10.2).
FLAGS = ["--xla_backend_optimization_level=0", "--xla_cpu_use_fusion_emitters=false"]
# XLA's CPU backend compiles a program in up to 32 parts, and at this level LLVM simplifies a part
# only if it holds a function such as exp. A fusion's a * b + c then becomes one instruction or two,
# which round differently, by which part the fusion falls in: equal arithmetic would differ from one
# program to the next. One part also compiles a quarter faster.
FLAGS.append("--xla_cpu_parallel_codegen_split_count=1")
# Rounding depends on how wide the CPU's vectors are, and where a chain starts x_0 is 2e4 times an
# error of eps: tests should not pass or fail by the machine's luck.
if platform.machine() in ("x86_64", "AMD64"):
    FLAGS.append("--xla_cpu_max_isa=AVX2")


def _known_flags() -> str:
    """FLAGS without those that this jaxlib lacks, which would end the process: a child tries."""
    flags = list(FLAGS)
    start = "from jaxlib import xla_client; xla_client.make_cpu_client()"
    while flags:
        tried = subprocess.run(
            [sys.executable, "-c", start],
            env=os.environ | {"XLA_FLAGS": " ".join(flags)},
            capture_output=True,
            text=True,
        )
        unknown = re.search(r"Unknown flags? in XLA_FLAGS: (.*)", tried.stderr)
        if unknown is None:
            break
        flags = [flag for flag in flags if flag not in unknown[1].split()]
    return " ".join(flags)


# These hold for this process and all that it starts, such as the workers of pytest-xdist.
if "GLIDE_JAX_TEST_FLAGS" not in os.environ:
    os.environ["GLIDE_JAX_TEST_FLAGS"] = _known_flags()
    os.environ["XLA_FLAGS"] = " ".join(
        [os.environ["GLIDE_JAX_TEST_FLAGS"], os.environ.get("XLA_FLAGS", "")]
    ).strip()
# One cache of compiled programs for all of them, kept for the next run.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(ROOT / ".pytest_cache" / "xla"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")
# Compiler options of what a test wants as users run it.
OPTIMISED: dict[str, int | bool] = {"xla_backend_optimization_level": 3}
if "fusion_emitters" in os.environ["GLIDE_JAX_TEST_FLAGS"]:
    OPTIMISED["xla_cpu_use_fusion_emitters"] = True

VENDORED = pathlib.Path(__file__).parent / "golden" / "data"


def pytest_addoption(parser):
    parser.addoption(
        "--goldens",
        type=pathlib.Path,
        default=VENDORED,
        metavar="DIR",
        help="directory of golden data for tests/golden (default: the copy in the repository)",
    )


@pytest.fixture(scope="session")
def cache(tmp_path_factory):
    """Where this run's compiled programs lie, for this process and those it starts."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory):
    """The directory of a model with an upsampler, without CLIP and inpainting planes."""
    from tests import tiny

    return tiny.save(tmp_path_factory.mktemp("models"), "plain")


@pytest.fixture(scope="session")
def tiny_full(tmp_path_factory):
    """The directory of a model with all there is: upsampler, inpainting planes, CLIP."""
    from tests import tiny

    return tiny.save(tmp_path_factory.mktemp("models"), "full", inpaint=True, clip=True)


@pytest.fixture(scope="session")
def glide(tiny_model, cache):
    from glide_jax.sampling.glide import load

    return load(tiny_model, cache=cache)


@pytest.fixture(scope="session")
def glide_full(tiny_full, cache):
    from glide_jax.sampling.glide import load

    return load(tiny_full, cache=cache)


@pytest.fixture
def unwrapped(request):
    """Skips under --jaxtyping-packages, which sees a wrong type before our own check does."""
    if request.config.getoption("--jaxtyping-packages", default=None):
        pytest.skip("functions are wrapped in type checks")
