"""`glide-jax serve`: a model as a service."""

import threading
from typing import TYPE_CHECKING

import click

from glide_jax import checks
from glide_jax.cli import common, filtering, signing
from glide_jax.errors import InputError

if TYPE_CHECKING:
    from glide_jax.sampling.glide import Glide

_LIVE = 2  # pictures drawn at the same time while prompts are typed


@click.command("serve")
@common.model_or_run_option
@common.dtype_option
@common.device_option
@click.option("--host", default="127.0.0.1", show_default=True,
              help="The address to listen at; one that others reach needs --api-key.")  # fmt: skip
@click.option("--port", default="8000", show_default=True, help="0 is any that is free.")
@click.option("--api-key", envvar="GLIDE_JAX_API_KEY",
              help="The key that requests must carry. [env: GLIDE_JAX_API_KEY]")  # fmt: skip
@click.option("--insecure", is_flag=True, help="Let everyone who can reach --host draw.")
@click.option("--page/--no-page", default=True, show_default=True,
              help="A page for browsers, at the root.")  # fmt: skip
@click.option("--live", help="A distilled model that draws on the page while a prompt is typed.")
@click.option("--slots", default="4", show_default=True, help="Pictures drawn at the same time.")
@click.option("--width", help="Rows of a compiled program: 1 on CPUs, else --slots.")
@click.option("--queue", default="64", show_default=True, help="Pictures that may wait.")
@click.option("--max-n", default="10", show_default=True, help="Pictures of one request.")
@click.option("--max-steps", default="250", show_default=True, help="Steps of the base.")
@click.option("--max-pixels", default=str(1 << 22), show_default=True,
              help="Pixels of a picture that is sent.")  # fmt: skip
@filtering.filter_option("refuse")
@click.option("--output-filter/--no-output-filter", default=False, show_default=True,
              help="Score pictures (OpenNSFW); the page blurs those of high scores.")  # fmt: skip
@signing.marks_options
@click.option("--timeout", default="600", show_default=True, help="Seconds for one request.")
def command(model: str, dtype: str, device: str | None, host: str, port: str, **how) -> None:
    """Answer requests for pictures over HTTP, in the words of OpenAI's Images API; and a page.

    docs/serving.md describes both. The first SIGTERM or Ctrl-C lets requests finish, a
    second one ends them.
    """
    from glide_jax.safety import output_filter
    from glide_jax.serving import protocol, server
    from glide_jax.serving.engine import Engine

    slots = checks.whole("slots", how["slots"], 1, 1024)
    width = None if how["width"] is None else checks.whole("width", how["width"], 1, slots)
    room = checks.whole("queue", how["queue"], 0, 1_000_000)
    limits = protocol.Limits(
        n=checks.whole("max_n", how["max_n"], 1, 1000),
        steps=checks.whole("max_steps", how["max_steps"], 1, 1000),
        pixels=checks.whole("max_pixels", how["max_pixels"], 1, 1 << 26),
        seconds=checks.real("timeout", how["timeout"], 1.0, 86400.0),
        prompts=how["prompt_filter"],
        scorer=output_filter.load() if how["output_filter"] else None,
    )
    number = checks.whole("port", port, 0, 65535)
    address = server.Address(host, number, how["api_key"] or None, how["insecure"])
    server.check_address(address)
    if how["live"] is not None and not how["page"]:
        raise InputError("--live draws on the page, and --no-page leaves that out; give one.")
    few = None if how["live"] is None else _live_model(how["live"], dtype, device)
    glide = common.load_glide(common.model_or_run(model, device), dtype, device)
    import jax

    if width is None:
        width = 1 if jax.default_backend() == "cpu" else slots
    engine, live = Engine(glide, slots=slots, width=width, room=room), None
    if few is not None:
        live = Engine(few, slots=min(slots, _LIVE), width=width, room=room)
    common.say("compiling ...")
    serving = server.Serving(
        engine, address, limits, how["page"], live
    )  # a port that is taken is told at once
    server.warm(engine)
    if live is not None:  # nobody waits for it: the first live picture does, if it comes so soon
        threading.Thread(target=server.warm, args=(live, False), daemon=True).start()
    serving.run(lambda url: common.say(f"serving {url}/; Ctrl-C ends"))


def _live_model(name: str, dtype: str, device: str | None) -> "Glide":
    """The model of --live.

    Raises:
        InputError: it takes too many steps to follow what is typed.
    """
    glide = common.load_glide(common.model_or_run(name, device), dtype, device)
    if not glide.loaded.stages["base"].distilled:
        raise InputError(
            f"--live is {checks.shown(name)}, which is not distilled to a few steps and cannot "
            "follow what is typed; give a model that is, such as shapes-few."
        )
    return glide
