"""Compiling: the options that measured faster, and the cache that keeps programs."""

import contextlib
import functools
import inspect
import pathlib
import warnings
from collections.abc import Callable, Iterator
from typing import TypeVar

import jax

from glide_jax import checks
from glide_jax.errors import InputError

DTYPES = ("float32", "bfloat16", "float16")  # networks compute in one of these

# Settings of JAX that other code of a process may have changed, and the values that seeds mean.
_SETTINGS = {
    "enable_x64": False,
    "numpy_dtype_promotion": "standard",
    "numpy_rank_promotion": "allow",
    "default_prng_impl": "threefry2x32",
    "threefry_partitionable": True,
}
F = TypeVar("F", bound=Callable)

# jaxlib's default sends every convolution to YNNPACK. The older path was 1.2 to 2.6 times as fast
# on the forward and backward convolutions of the model in the box (2 CPU cores, jax 0.10.2).
_CPU = {"xla_cpu_experimental_ynn_fusion_type": ""}


@functools.cache
def options() -> dict[str, str] | None:
    """Compiler options for `jax.jit` on this backend, or None; starts the backend."""
    if jax.default_backend() != "cpu":
        return None
    unknown = unknown_options()
    return {name: value for name, value in _CPU.items() if name not in unknown} or None


@functools.cache
def unknown_options() -> tuple[str, ...]:
    """Names of our options for this backend that jaxlib would refuse to compile with."""
    if jax.default_backend() != "cpu":
        return ()
    unknown = []
    for name, value in _CPU.items():
        try:
            jax.jit(lambda x: x, compiler_options={name: value}).lower(0.0).compile()
        except Exception as error:
            if name not in str(error):
                raise
            unknown.append(name)
    return tuple(unknown)


def enable_cache(folder: pathlib.Path) -> None:
    """Keeps compiled programs in `folder` across processes, unless the user has set a cache."""
    if getattr(jax.config, "jax_compilation_cache_dir", None) is None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:  # starts are slower, but that is no reason not to draw
            warnings.warn(f"Cache {folder} cannot be made: {error.strerror}.", stacklevel=2)
            return
        jax.config.update("jax_compilation_cache_dir", str(folder))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
        jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


def in_usual_numbers(function: F) -> F:
    """A function, or a generator function, that computes under JAX's default settings of numbers.

    A process in which 64-bit numbers are on, for other code, draws the same pictures bit for bit.
    Types alone could not do that: seeds, bias corrections and counters of loops are wider there,
    within JAX, Optax and Flax too. The caller's settings hold again after it, and between the items
    of a generator.
    """

    @functools.wraps(function)
    def whole(*args, **kwargs):
        with _usual_numbers():
            return function(*args, **kwargs)

    @functools.wraps(function)
    def by_items(*args, **kwargs):
        items, end = function(*args, **kwargs), object()
        while True:
            with _usual_numbers():
                item = next(items, end)
            if item is end:
                return
            yield item

    return by_items if inspect.isgeneratorfunction(function) else whole  # type: ignore[return-value]


@contextlib.contextmanager
def _usual_numbers() -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        for name, value in _SETTINGS.items():
            if getattr(jax.config, f"jax_{name}") != value:
                stack.enter_context(getattr(jax, name)(value))
        yield


def check_dtype(dtype: str, platform: str | None = None) -> None:
    """Refuses a dtype that a kind of device, by default JAX's, cannot compute in.

    Raises:
        InputError: The dtype is unknown, or the device lacks it.
    """
    checks.one_of("dtype", dtype, DTYPES)
    if dtype == "float16" and (platform or jax.default_backend()) == "cpu":
        raise InputError("dtype is 'float16', which JAX lacks on a CPU; use float32 or bfloat16.")
