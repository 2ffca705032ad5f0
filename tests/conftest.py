"""Options of the whole suite, and the models of a second that many tests share.

Imports of the package stay inside: jaxtyping's hook has to come before them.
"""

import os
import pathlib
import platform

import pytest

# Rounding depends on how wide the CPU's vectors are. One golden number is 2e4 times an error of eps
# (x_0 where the chain starts) and would be in or out of its tolerance by the machine's luck.
if platform.machine() in ("x86_64", "AMD64"):
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_cpu_max_isa=AVX2".strip()

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
    """Where this run's compiled programs lie, for this process and those it starts.

    Compiling takes nearly all of the time of tiny models, so it takes no trouble here.
    """
    from glide_jax import cascade, compiling
    from tests import quick

    cascade._programs.cache_clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compiling, "options", lambda: quick.OPTIONS)
        yield tmp_path_factory.mktemp("cache")
    cascade._programs.cache_clear()


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
    from glide_jax import pipeline

    return pipeline.load(tiny_model, cache=cache)


@pytest.fixture(scope="session")
def glide_full(tiny_full, cache):
    from glide_jax import pipeline

    return pipeline.load(tiny_full, cache=cache)


@pytest.fixture
def unwrapped(request):
    """Skips under --jaxtyping-packages, which sees a wrong type before our own check does."""
    if request.config.getoption("--jaxtyping-packages", default=None):
        pytest.skip("functions are wrapped in type checks")
