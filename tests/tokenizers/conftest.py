import pytest


@pytest.fixture
def unwrapped(request):
    """Skips under --jaxtyping-packages, which sees a wrong type before our own check does."""
    if request.config.getoption("--jaxtyping-packages", default=None):
        pytest.skip("functions are wrapped in type checks")
