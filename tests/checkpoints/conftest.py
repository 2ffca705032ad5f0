import pytest

from tests.checkpoints import http_server


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1,localhost")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")


@pytest.fixture
def server():
    with http_server.running() as server:
        yield server


@pytest.fixture
def path(tmp_path):
    return tmp_path / "cache" / "base.pt"
