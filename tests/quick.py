"""Programs that run once or twice: most of their time would go into optimising them."""

from functools import partial

import jax

# With the older emitters of fusions compiling takes a little over half as long (jax 0.10.2).
OPTIONS = {"xla_backend_optimization_level": 0, "xla_cpu_use_fusion_emitters": False}
FLAGS = " ".join(f"--{name}={str(value).lower()}" for name, value in OPTIONS.items())  # XLA_FLAGS

jit = partial(jax.jit, compiler_options=OPTIONS)
