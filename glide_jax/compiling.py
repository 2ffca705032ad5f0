"""Compiling: the options that measured faster, and the cache that keeps programs."""

import functools
import pathlib
import warnings

import jax

from glide_jax import checks
from glide_jax.errors import InputError

DTYPES = ("float32", "bfloat16", "float16")  # networks compute in one of these

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


def check_dtype(dtype: str) -> None:
    """Refuses a dtype that the default device cannot compute in.

    Raises:
        InputError: The dtype is unknown, or the device lacks it.
    """
    checks.one_of("dtype", dtype, DTYPES)
    if dtype == "float16" and jax.default_backend() == "cpu":
        raise InputError("dtype is 'float16', which JAX lacks on a CPU; use float32 or bfloat16.")
