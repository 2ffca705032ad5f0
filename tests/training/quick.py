"""Programs that run once or twice: most of their time would go into optimising them."""

from functools import partial

import jax

jit = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
