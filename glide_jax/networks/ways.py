"""Ways to compute the same thing, between which a device decides: named switches for benchmarks.

Networks read the way that holds while they are traced. Outside `using` it is the default, which is
what everything but a benchmark computes by.
"""

import contextlib
import contextvars
import dataclasses
from collections.abc import Iterator

from glide_jax import checks
from glide_jax.errors import InputError

CHOICES = {
    # own: ours; jax: `jax.nn.dot_product_attention` by XLA; cudnn: the same by cuDNN, on GPUs.
    "attention": ("own", "jax", "cudnn"),
    # float32: activations are cast before a norm; dtype: statistics alone are taken in float32.
    "norm": ("float32", "dtype"),
}


@dataclasses.dataclass(frozen=True)
class Way:
    """One way: a choice of each kind, and options of the compiler."""

    attention: str = "own"
    norm: str = "float32"
    flags: tuple[tuple[str, str], ...] = ()  # XLA's, by name


DEFAULT = Way()
_holds: contextvars.ContextVar[Way] = contextvars.ContextVar("way", default=DEFAULT)


def now() -> Way:
    """The way by which what is traced now computes."""
    return _holds.get()


@contextlib.contextmanager
def using(way: Way) -> Iterator[None]:
    """Networks that are traced meanwhile compute this way.

    A function that JAX has traced already is not traced again, so trace a new one.
    """
    token = _holds.set(way)
    try:
        yield
    finally:
        _holds.reset(token)


def parse(text: str) -> Way:
    """The way that differs from the default as a text such as "attention=cudnn" says.

    Args:
        text: name=value, with "+" between several; a name that begins with `xla_` is a compiler's.

    Raises:
        InputError: a name or a value is unknown.
    """
    chosen, flags = {}, {}
    for part in text.split("+"):
        name, equals, value = (word.strip() for word in part.partition("="))
        if name.startswith("xla_") and equals:
            flags[name] = value
        elif name in CHOICES and equals:
            chosen[name] = checks.one_of(name, value, CHOICES[name])
        else:
            raise InputError(
                f"way is {checks.shown(part.strip())}; it must be NAME=VALUE with a name of "
                f"{', '.join(CHOICES)} or an option of XLA's."
            )
    return Way(**chosen, flags=tuple(flags.items()))
