"""The process: an engine that is warm, its application under uvicorn, and an orderly end."""

from collections.abc import Callable
from typing import NamedTuple

from PIL import Image

from glide_jax import extras
from glide_jax.errors import InputError
from glide_jax.sampling import edits
from glide_jax.sampling.call import parse
from glide_jax.serving import guard
from glide_jax.serving.engine import Engine
from glide_jax.serving.jobs import Job
from glide_jax.serving.protocol import Limits


class Address(NamedTuple):
    """Where a server listens, and who may ask it."""

    host: str = "127.0.0.1"
    port: int = 8000  # 0 is any that is free
    api_key: str | None = None
    insecure: bool = False  # whether everyone may ask without a key


def check_address(address: Address) -> None:
    """Refuses a server that strangers could use.

    Raises:
        InputError: the address is not this machine's own, and there is no key.
    """
    if not guard.is_local(address.host) and address.api_key is None and not address.insecure:
        raise InputError(
            f"host is {address.host!r}, which others can reach: set --api-key, or --insecure to "
            "let everyone draw."
        )


def warm(engine: Engine, edits_too: bool = True) -> None:
    """Compiles what most requests need.

    Args:
        engine: its model draws.
        edits_too: whether pictures are repainted, too.

    Raises:
        InputError: the model cannot draw.
    """
    glide = engine.glide
    side = list(glide.sizes.values())[-1]
    image, mask = Image.new("RGB", (side, side)), Image.new("L", (side, side), 255)
    mask.paste(0, (0, 0, side // 2, side))
    inpainting = edits.inpainting(glide.loaded, image, mask)
    distilled = any(stage.distilled for stage in glide.loaded.stages.values())
    presets = (None,) if distilled else (None, "fast")
    for edit in (None, inpainting) if edits_too else (None,):
        for preset in presets:
            call = parse({"edit": edit, "preset": preset, "batch_size": 1})
            engine.rehearse(Job("", call, lambda event: None))


class Serving:
    """An engine behind an address.

    Attributes:
        url: where it answers, once it listens.
    """

    def __init__(
        self,
        engine: Engine,
        address: Address,
        limits: Limits,
        page: bool = False,
        live: Engine | None = None,
    ):
        """Takes the address.

        Args:
            engine: draws.
            address: where.
            limits: the bounds of each request.
            page: whether there is a page for browsers, too.
            live: draws on the page while a prompt is typed, if there is one.

        Raises:
            InputError: the address is taken, or strangers could use it.
        """
        check_address(address)
        extras.extra("uvicorn")
        extras.extra("fastapi")
        from glide_jax.serving import site
        from glide_jax.serving.app import make_app

        host = address.host if guard.is_local(address.host) else None
        app = make_app(
            engine, limits=limits, api_key=address.api_key, host=host, page=page, live=live
        )
        self._app, self._engines = app, [engine, *([] if live is None else [live])]
        self._site = site.Site(app, address.host, address.port, patience=limits.seconds)
        self.url = self._site.url

    def run(self, ready: Callable[[str], None]) -> None:
        """Serves until a signal ends it: the first lets requests finish, a second ends them.

        Args:
            ready: called with the address once requests are answered.
        """
        try:
            self._site.run(
                ready=lambda: ready(self.url),
                ending=self._app.state.close_pages,
                at_once=lambda: self._stop_engines(wait=False),
            )
        finally:
            self._stop_engines()

    def _stop_engines(self, wait: bool = True) -> None:
        for engine in self._engines:
            engine.stop(wait)

    def stop(self) -> None:
        """Lets requests finish and ends; for another thread."""
        self._site.stop()
