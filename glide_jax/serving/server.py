"""The process: an engine that is warm, its application under uvicorn, and an orderly end."""

import socket
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any, NamedTuple

from PIL import Image

from glide_jax import extras
from glide_jax.errors import InputError
from glide_jax.sampling import edits
from glide_jax.sampling.call import parse
from glide_jax.sampling.picture import Picture
from glide_jax.serving.engine import Engine, Event, Failed, Job
from glide_jax.serving.protocol import Limits

LOCAL = frozenset({"127.0.0.1", "localhost", "::1"})


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
    if address.host not in LOCAL and address.api_key is None and not address.insecure:
        raise InputError(
            f"host is {address.host!r}, which others can reach: set --api-key, or --insecure to "
            "let everyone draw."
        )


def warm(engine: Engine) -> None:
    """Compiles what requests need, by drawing pictures of two steps.

    Raises:
        InputError: the model cannot draw.
    """
    glide = engine.glide
    side = list(glide.sizes.values())[-1]
    image, mask = Image.new("RGB", (side, side)), Image.new("L", (side, side), 255)
    mask.paste(0, (0, 0, side // 2, side))
    inpainting = edits.inpainting(glide.loaded, image, mask)
    for edit in (None, inpainting):
        for preset in (None, "fast"):
            options: dict[str, Any] = {"edit": edit, "preset": preset, "steps": 2, "batch_size": 1}
            if "upsample" in glide.sizes:
                options["upsample_steps"] = 2
            _draw(engine, Job("", parse(options), lambda event: None, previews=1))


def _draw(engine: Engine, job: Job) -> None:
    """Draws one picture and waits for it."""
    ended, events = threading.Event(), list[Event]()

    def notify(event: Event) -> None:
        events.append(event)
        if isinstance(event, Picture | Failed):
            ended.set()

    job.notify = notify
    engine.submit([job])
    ended.wait()
    if isinstance(last := events[-1], Failed):
        raise InputError(f"the model cannot draw: {last.message}")


def serve(engine: Engine, address: Address, limits: Limits, ready: Callable[[str], None]) -> None:
    """Serves until a signal ends it: the first lets requests finish, a second ends them.

    Args:
        engine: draws.
        address: where.
        limits: of a request.
        ready: called with the server's address once it listens.

    Raises:
        InputError: the address is taken, or strangers could use it.
    """
    check_address(address)
    uvicorn = extras.extra("uvicorn")
    extras.extra("fastapi")
    from glide_jax.serving.app import make_app

    hosts = LOCAL if address.host in LOCAL else None
    app = make_app(engine, limits=limits, api_key=address.api_key, hosts=hosts)

    class Server(uvicorn.Server):
        """Ends at once at the second signal, whichever it is."""

        def handle_exit(self, sig: int, frame: FrameType | None) -> None:
            if self.should_exit:
                self.force_exit = True
                engine.stop(wait=False)
            self.should_exit = True

        async def startup(self, sockets: Any = None) -> None:
            await super().startup(sockets)
            port = self.servers[0].sockets[0].getsockname()[1]
            host = f"[{address.host}]" if ":" in address.host else address.host
            ready(f"http://{host}:{port}/")

    config = uvicorn.Config(
        app, host=address.host, port=address.port, log_level="warning", access_log=False,
        timeout_keep_alive=10, timeout_graceful_shutdown=int(limits.seconds), server_header=False,
        proxy_headers=False, backlog=1024, ws="none",
    )  # fmt: skip
    try:
        family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address.host, address.port))
    except OSError as error:
        raise InputError(
            f"port {address.port} of {address.host!r} cannot be used: {error.strerror}."
        ) from None
    try:
        Server(config).run([listener])
    finally:
        listener.close()
        engine.stop()
