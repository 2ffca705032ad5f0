"""The process: who may reach it, and how it ends."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time

import openai
import pytest

from glide_jax import InputError
from glide_jax.serving.engine import Engine
from glide_jax.serving.protocol import Limits
from glide_jax.serving.server import Address, Serving, check_address

SECONDS = 240  # on a machine that does other work


@pytest.mark.parametrize(
    "address",
    [
        Address(),
        Address("localhost"),
        Address("::1"),
        Address("0.0.0.0", api_key="k"),
        Address("10.0.0.1", insecure=True),
    ],
)
def test_addresses_of_this_machine_and_those_with_a_key_are_served(address):
    check_address(address)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "example.org", "127.0.0.1.example.org"])
def test_strangers_need_a_key(host):
    with pytest.raises(InputError, match="which others can reach: set --api-key, or --insecure"):
        check_address(Address(host))


def test_a_port_that_is_taken_is_one_sentence(glide):
    engine = Engine(glide)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=f"port {port} of '127.0.0.1' cannot be used: Address"):
            Serving(engine, Address(port=port), Limits())
    engine.stop()


class Process:
    """`glide-jax serve` as a user starts it."""

    def __init__(self, model, *options):
        command = [sys.executable, "-m", "glide_jax", "serve", "--no-page", "--model", str(model)]
        self.process = subprocess.Popen(
            [*command, "--port", "0", *options], stderr=subprocess.PIPE, text=True,
            env={**os.environ, "GLIDE_JAX_API_KEY": ""},
        )  # fmt: skip
        assert self.process.stderr is not None
        self.log = []
        for line in self.process.stderr:
            self.log.append(line)
            if found := re.search(r"serving (http://\S+)/; Ctrl-C ends", line):
                break
        else:
            pytest.fail(f"the server did not start: {self.log}")
        self.client = openai.OpenAI(
            api_key="x", base_url=f"{found[1]}/v1", max_retries=0, timeout=SECONDS
        )

    def ask(self, steps: int) -> list:
        """Sends a request from a thread; what comes of it is in the list."""
        out: list = []

        def send():
            try:
                extra = {"num_inference_steps": steps, "seed": 0}
                out.append(self.client.images.generate(prompt="x", size="16x16", extra_body=extra))
            except openai.OpenAIError as error:
                out.append(error)

        thread = threading.Thread(target=send, daemon=True)
        out.append(thread)
        thread.start()
        return out


def drawing(server: Process) -> None:
    """Waits until a picture is in a slot."""
    while True:
        answer = server.client._client.get(str(server.client.base_url)[:-3] + "health").json()
        if answer["drawing"]:
            return


@pytest.mark.slow
def test_the_first_signal_lets_requests_finish(tiny_model):
    server = Process(tiny_model, "--max-steps", "1000")
    asked = server.ask(200)
    drawing(server)
    server.process.send_signal(signal.SIGTERM)
    asked[0].join(SECONDS)
    assert len(asked[1].data) == 1
    server.process.wait(SECONDS)
    assert "Traceback" not in server.process.stderr.read()
    with pytest.raises(openai.APIConnectionError):
        server.client.models.list()


@pytest.mark.slow
def test_the_second_signal_ends_them(tiny_model):
    server = Process(tiny_model, "--max-steps", "1000", "--timeout", "3600")
    asked = [server.ask(1000) for _ in range(4)]
    drawing(server)
    server.process.send_signal(signal.SIGTERM)
    time.sleep(1.0)  # two at once would be one
    server.process.send_signal(signal.SIGTERM)
    began = time.monotonic()
    for each in asked:
        each[0].join(SECONDS)
        assert len(each) == 2, "a request hangs"
    assert any(isinstance(each[1], openai.OpenAIError) for each in asked), "all were drawn"
    assert time.monotonic() - began < 60
    server.process.wait(SECONDS)
    assert "Traceback" not in server.process.stderr.read()


@pytest.mark.slow
def test_kill_9_leaves_no_client_waiting(tiny_model):
    server = Process(tiny_model, "--max-steps", "1000")
    asked = [server.ask(1000) for _ in range(3)]
    drawing(server)
    server.process.kill()
    for each in asked:
        each[0].join(SECONDS)
        assert isinstance(each[1], openai.APIConnectionError)
