"""Several pictures' chains in one program, each at its own step of its own schedule."""

import functools
from collections.abc import Hashable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from glide_jax import compiling
from glide_jax.sampling import cascade
from glide_jax.sampling.running import Running

_made: list[Any] = []  # the programs of `_program`, to be counted


def kind_of(chain: Running) -> Hashable:
    """The network, sampler and shapes, which chains must share to be advanced by one program."""
    state = (chain.x_t, chain.inputs, chain.knobs)
    leaves, tree = jax.tree.flatten(state)
    return chain.stage.network, chain.sampler, tree, tuple(leaf.shape for leaf in leaves)


@compiling.in_usual_numbers
def advance(chains: Sequence[Running], steps: Sequence[int], width: int) -> None:
    """Takes some steps of every chain, `width` chains of one kind in a program.

    A program has `width` rows whatever is in them, and a row sees nothing of the others, so a
    picture does not depend on its company. Rows that are free repeat one that is not.

    Args:
        chains: each with one image, of any kinds.
        steps: for each chain, 1 or more; a chain that has fewer left is finished.
        width: rows of a program; 1 runs each chain by itself, by the program of `Running`.
    """
    if width == 1:
        for chain, count in zip(chains, steps, strict=True):
            chain.advance(count)
        return
    kinds: dict[Hashable, list[tuple[Running, int]]] = {}
    for chain, count in zip(chains, steps, strict=True):
        stop = min(chain.done + count, chain.total)
        kinds.setdefault(kind_of(chain), []).append((chain, stop))
    for alike in kinds.values():
        for k in range(0, len(alike), width):
            _advance_rows(alike[k : k + width], width)


def _advance_rows(rows: list[tuple[Running, int]], width: int) -> None:
    """Advances chains of one kind to the steps beside them."""
    first, padded = rows[0][0], [*rows, *rows[:1] * (width - len(rows))]
    states = tuple(
        (c.x_t, c.history, c.inputs._replace(params=None), c.chain, c.knobs, (c.done, stop))
        for c, stop in padded
    )
    outs = _program(first.stage.network, first.sampler)(first.inputs.params, states)
    for (chain, stop), (x_t, history) in zip(rows, outs, strict=False):
        chain.x_t, chain.history, chain.done = x_t, history, stop


def compiled() -> int:
    """How many programs were compiled for several pictures together."""
    return sum(program._cache_size() for program in _made)


@functools.cache
def _program(network: Any, sampler: str) -> Any:
    """The jitted steps of several chains; a row for each of a tuple of states."""
    one = functools.partial(cascade.advance_steps, network=network, sampler=sampler)

    def together(params: Any, states: tuple[Any, ...]) -> list[Any]:
        stacked = jax.tree.map(lambda *rows: jnp.stack(rows), *states)
        row = lambda x_t, history, inputs, *rest: one(
            x_t, history, inputs._replace(params=params), *rest
        )
        out = jax.vmap(row)(*stacked)
        return [jax.tree.map(lambda leaf: leaf[k], out) for k in range(len(states))]  # noqa: B023

    _made.append(jax.jit(together, compiler_options=compiling.options()))
    return _made[-1]
