"""The time of a compiled program by kind of operation.

JAX's profiler gives how long each operation ran, and the program's text what it was made of: XLA
fuses what lies side by side, and each instruction keeps the name of the module that it came from.
"""

import pathlib
import re
import statistics
import tempfile
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
from jax.profiler import ProfileData


class Instruction(NamedTuple):
    """One line of a program's text: `rest` are its operands and what is known of it."""

    name: str
    op: str
    rest: str


_COMPUTATION = re.compile(r"^(?:ENTRY )?%(\S+) \(.*\{$", re.MULTILINE)
_INSTRUCTION = re.compile(r"^  (?:ROOT )?%(\S+) = \S.*? ([a-z][\w-]*)\((.*)$", re.MULTILINE)
_CALLED = re.compile(r"(?:calls|to_apply)=%?([\w.-]+)")
_SCOPE = re.compile(r'op_name="([^"]*)"')
_LOOPS = ("while", "conditional")  # counted by what is in them
# The first that fits any instruction of a fusion is the fusion's: products before what is fused
# to them, and what makes tiles before the norm whose result it reads.
KINDS: Mapping[str, Callable[[str, str], bool]] = {
    "products of Winograd's tiles": lambda op, scope: op == "dot" and "/products/" in scope,
    "direct convolutions": lambda op, scope: op == "convolution" or "/conv_general" in scope,
    "attention": lambda op, scope: "_attn/" in scope,
    "pixels from tiles, and what follows": lambda op, scope: "/from_tiles/" in scope,
    "pixels to tiles, and what precedes": lambda op, scope: "/to_tiles/" in scope,
    "other products": lambda op, scope: op == "dot",
    "norms": lambda op, scope: "norm/" in scope,
    "the rest": lambda op, scope: True,
}


def seconds(program: Any, *args: Any, rounds: int = 1) -> dict[str, float]:
    """Seconds of a call by kind of operation, the longest first: medians of the rounds.

    Operations run side by side where they can, so the sum may be more than the time that passes.

    Args:
        program: a compiled function.
        *args: its arguments.
        rounds: how many calls are profiled; one more warms up.

    Returns:
        Seconds by kind; nothing where the profiler of this device gives no operation's name.
    """
    kinds = kinds_of(program.as_text())
    run = lambda: jax.block_until_ready(program(*args))
    run()
    profiles = [_profile(run, kinds) for _ in range(rounds)]
    found = {kind: statistics.median(profile[kind] for profile in profiles) for kind in KINDS}
    if not any(found.values()):
        return {}
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def kinds_of(program: str) -> dict[str, str]:
    """The kind of each operation of a compiled program's text, loops left out."""
    _, *parts = _COMPUTATION.split(program)
    lines = lambda body: [Instruction(*found) for found in _INSTRUCTION.findall(body)]
    bodies = {name: lines(body) for name, body in zip(parts[::2], parts[1::2], strict=True)}

    def inside(line: Instruction) -> list[Instruction]:
        called = _CALLED.findall(line.rest) if line.op in ("fusion", "call") else ()
        return [line, *(deeper for name in called for each in bodies[name]
                        for deeper in inside(each))]  # fmt: skip

    return {
        line.name: _kind([(each.op, _scope(each.rest)) for each in inside(line)])
        for body in bodies.values()
        for line in body
        if line.op not in _LOOPS
    }


def _scope(rest: str) -> str:
    found = _SCOPE.search(rest)
    return f"{found[1]}/" if found else ""


def _kind(parts: list[tuple[str, str]]) -> str:
    return next(kind for kind, fits in KINDS.items() if any(fits(*each) for each in parts))


def _profile(run: Callable[[], Any], kinds: Mapping[str, str]) -> dict[str, float]:
    spent = dict.fromkeys(KINDS, 0.0)
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            run()
        [path] = pathlib.Path(folder).rglob("*.xplane.pb")
        planes = list(ProfileData.from_file(str(path)).planes)
        # What a GPU ran is in a plane of its own; the host's then has the launches alone.
        on_device = [plane for plane in planes if plane.name.startswith("/device:")]
        for plane in on_device or planes:
            for event in (event for line in plane.lines for event in line.events):
                kind = kinds.get(str(dict(event.stats).get("hlo_op")))
                if kind is not None:
                    spent[kind] += event.duration_ns / 1e9
    return spent
