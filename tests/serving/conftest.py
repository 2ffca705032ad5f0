"""A server of the tiny model in a thread, for the tests that talk to it over HTTP."""

import contextlib
import io
import threading

import pytest
from PIL import Image

from glide_jax.serving.engine import Engine
from glide_jax.serving.protocol import Limits
from glide_jax.serving.server import Address, Serving

LIMITS = Limits(n=4, steps=50, prompt=200, body=1 << 20, pixels=1 << 16, seconds=60.0)


@contextlib.contextmanager
def running(glide, *, limits=LIMITS, api_key=None, page=False, live=None, **options):
    """The address and the engine of a server that runs while the block does."""
    engine, few = Engine(glide, **options), None if live is None else Engine(live)
    serving = Serving(engine, Address(port=0, api_key=api_key), limits, page, few)
    ready = threading.Event()
    thread = threading.Thread(target=serving.run, args=(lambda shown: ready.set(),), daemon=True)
    thread.start()
    assert ready.wait(60), "the server does not start"
    try:
        yield serving.url, engine
    finally:
        serving.stop()
        thread.join(60)
        assert not thread.is_alive(), "the server does not end"


@pytest.fixture(scope="session")
def server(glide):
    """The address of a server that every test may ask."""
    with running(glide, slots=3, room=16) as (url, _):
        yield url


def png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()
