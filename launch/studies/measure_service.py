"""How a service holds up: many clients at once against one at a time, and strangers' pictures.

python -m launch.studies.measure_service [--requests 5000] [--clients 200] [--model shapes]
python -m launch.studies.measure_service --kill [--clients 200]
python -m launch.studies.measure_service --first

Starts `glide-jax serve` with a queue of the clients' number and lets every client send a request
as soon as its last one is answered. Every answer is checked: a picture that another request of the
same seed gave other bytes is an error, and so is an answer that does not come. With --kill, the
server is killed by SIGKILL in the middle and started again: every request must have ended. With
--first, an idle server is asked for previews, and its page is opened in Chromium as soon as the
server says that it is ready.
"""

import argparse
import asyncio
import contextlib
import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from glide_jax.tables import table

PROMPTS = (
    "a large red circle on a white background",
    "two blue stars on a black background",
    "a small green square left of a yellow ring",
)


class Server(NamedTuple):
    """A server process and where it answers."""

    process: subprocess.Popen
    url: str

    def memory(self) -> float:
        """Resident memory in MB."""
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as file:
            return int(re.search(r"VmRSS:\s+(\d+)", file.read())[1]) / 1024  # type: ignore[index]


@contextlib.contextmanager
def served(args: argparse.Namespace) -> Iterator[Server]:
    """A server that answers while the block runs."""
    command = [
        sys.executable, "-m", "glide_jax", "serve", "--model", args.model, "--port", "0",
        "--slots", str(args.slots), "--queue", str(args.clients), "--width", str(args.width),
    ]  # fmt: skip
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    for line in process.stderr:
        if found := re.search(r"serving (http://\S+)/;", line):
            break
    else:
        sys.exit("the server did not start")
    try:
        yield Server(process, found[1])
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(120)


class Outcome(NamedTuple):
    """What came of one request."""

    what: str  # "picture", or why none came
    seconds: float
    seed: int
    digest: str = ""


async def ask(client: Any, k: int, args: argparse.Namespace) -> Outcome:
    """One request, whose seed and so whose picture comes again after a hundred others."""
    import openai

    seed, began = k % 100, time.monotonic()
    try:
        answer = await client.images.generate(
            prompt=PROMPTS[seed % len(PROMPTS)], size=args.size,
            extra_body={"seed": seed, "num_inference_steps": args.steps + seed % 2},
        )  # fmt: skip
        digest = hashlib.sha256(answer.data[0].b64_json.encode()).hexdigest()
        return Outcome("picture", time.monotonic() - began, seed, digest)
    except openai.APIConnectionError:
        return Outcome("connection ended", time.monotonic() - began, seed)
    except openai.APIStatusError as error:
        return Outcome(f"status {error.status_code}", time.monotonic() - began, seed)


async def all_of(url: str, numbers: range, clients: int, args: argparse.Namespace) -> list[Outcome]:
    """Requests by so many clients, each of which sends its next when it has its last answer."""
    import openai

    left, outcomes = iter(numbers), []

    async def client() -> None:
        one = openai.AsyncOpenAI(api_key="x", base_url=f"{url}/v1", max_retries=0, timeout=600)
        async with one:
            for k in left:
                outcomes.append(await ask(one, k, args))

    await asyncio.gather(*(client() for _ in range(clients)))
    return outcomes


def row(name: str, outcomes: list[Outcome], seconds: float) -> list[str]:
    """A line of the table."""
    times = [outcome.seconds for outcome in outcomes if outcome.what == "picture"]
    p50, p95, p99 = np.percentile(times, [50, 95, 99])
    lost = len(outcomes) - len(times)
    rate = len(times) / seconds
    return [name, str(len(outcomes)), str(lost), f"{rate:.1f}",
            *(f"{value:.2f}" for value in (p50, p95, p99))]  # fmt: skip


def different(outcomes: list[Outcome]) -> int:
    """Seeds whose pictures are not all of the same bytes."""
    digests: dict[int, set[str]] = {}
    for outcome in outcomes:
        if outcome.digest:
            digests.setdefault(outcome.seed, set()).add(outcome.digest)
    return sum(len(each) > 1 for each in digests.values())


def measure_load(args: argparse.Namespace) -> None:
    """One at a time, then all clients, and memory before, in the middle and after."""
    with served(args) as server:
        asyncio.run(all_of(server.url, range(100), 1, args))
        rows, everything, memory = [], [], [server.memory()]
        for clients, count in ((1, args.requests // 25), (args.clients, args.requests)):
            began, mine = time.monotonic(), []
            for half in (range(count // 2), range(count // 2, count)):
                mine += asyncio.run(all_of(server.url, half, clients, args))
                memory.append(server.memory())
            rows.append(row(str(clients), mine, time.monotonic() - began))
            everything += mine
        header = ["clients", "requests", "lost", "pictures/s", "p50 s", "p95 s", "p99 s"]
        print(table(rows, header, "rrrrrrr"))
        print("memory in MB:", ", ".join(f"{value:.0f}" for value in memory))
        print("seeds with more than one picture:", different(everything))


def measure_kill(args: argparse.Namespace) -> None:
    """kill -9 while every client waits; then the same requests of a new server."""

    async def through_a_kill(server: Server) -> list[Outcome]:
        asked = asyncio.create_task(all_of(server.url, range(args.clients * 4), args.clients, args))
        await asyncio.sleep(args.kill_after)
        os.kill(server.process.pid, signal.SIGKILL)
        return await asyncio.wait_for(asked, 60)

    with served(args) as server:
        outcomes = asyncio.run(through_a_kill(server))
        server.process.wait(60)
    counts = {what: sum(o.what == what for o in outcomes) for what in {o.what for o in outcomes}}
    print(f"{len(outcomes)} requests ended: {counts}; none hangs")
    with served(args) as server:
        again = asyncio.run(all_of(server.url, range(100), args.clients, args))
    print("after the restart:", sum(o.what == "picture" for o in again), "of", len(again))
    print("seeds with more than one picture:", different(outcomes + again))


def measure_first(args: argparse.Namespace) -> None:
    """How soon the first preview of a request comes, and how soon the page can be used."""
    import openai
    from playwright.sync_api import sync_playwright

    seconds, opened = [], []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        for _ in range(5):
            with served(args) as server:
                opened.append(seconds_to_use(browser, server.url))
                client = openai.OpenAI(api_key="x", base_url=f"{server.url}/v1", max_retries=0)
                seconds += [seconds_to_preview(client, seed) for seed in range(8)]
    rows = [
        [name, str(len(each)), *(f"{np.percentile(each, q):.2f}" for q in (50, 95, 100))]
        for name, each in (("first preview", seconds), ("page", opened))
    ]
    print(table(rows, ["until", "times", "p50 s", "p95 s", "most s"], "lrrrr"))


def seconds_to_use(browser: Any, url: str) -> float:
    """From now until a prompt can be written on the page, and drawn."""
    page, began = browser.new_page(), time.monotonic()
    page.goto(url)
    page.locator("#draw-prompt textarea").first.fill(PROMPTS[0])
    page.locator("#draw-draw:enabled").wait_for()
    took = time.monotonic() - began
    page.close()
    return took


def seconds_to_preview(client: Any, seed: int) -> float:
    """From a request with the model's own steps to its first preview; waits for the picture."""
    began, first = time.monotonic(), 0.0
    stream = client.images.generate(
        prompt=PROMPTS[0], stream=True, partial_images=3, extra_body={"seed": seed}
    )
    for _ in stream:
        first = first or time.monotonic() - began
    return first


def main() -> None:
    """Reads the arguments and measures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--model", default="shapes")
    parser.add_argument("--requests", type=int, default=5000)
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--slots", type=int, default=4)
    parser.add_argument("--width", type=int, default=1)
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--size", default="64x64")
    parser.add_argument("--first", action="store_true")
    parser.add_argument("--kill", action="store_true")
    parser.add_argument("--kill-after", type=float, default=4.0, help="Seconds.")
    args = parser.parse_args()
    (measure_first if args.first else measure_kill if args.kill else measure_load)(args)


if __name__ == "__main__":
    main()
