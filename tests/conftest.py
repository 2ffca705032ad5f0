"""Options of the whole suite, and the models of a second that many tests share.

Imports of the package stay inside: jaxtyping's hook has to come before them.
"""

import os
import pathlib
import platform

import pytest

# Of this process and those it starts. Most programs run once or twice, and optimising them would
# take most of the time; the older emitters of fusions halve what is left (jax 0.10.2).
FLAGS = ["--xla_backend_optimization_level=0", "--xla_cpu_use_fusion_emitters=false"]
# Rounding depends on how wide the CPU's vectors are. One golden number is 2e4 times an error of eps
# (x_0 where the chain starts) and would be in or out of its tolerance by the machine's luck.
if platform.machine() in ("x86_64", "AMD64"):
    FLAGS.append("--xla_cpu_max_isa=AVX2")
os.environ["XLA_FLAGS"] = " ".join([*FLAGS, os.environ.get("XLA_FLAGS", "")]).strip()
# Compiler options of what a test wants as users run it.
OPTIMISED = {"xla_backend_optimization_level": 3, "xla_cpu_use_fusion_emitters": True}

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
