"""GLIDE (Nichol et al., 2021) in JAX: pictures from prompts, and the training of what draws them.

>>> import glide_jax
>>> glide = glide_jax.load("shapes")
>>> [picture] = glide("two blue stars on a white background")
"""

from glide_jax.errors import InputError
from glide_jax.version import __version__

TYPE_CHECKING = False  # true to type checkers; the module `typing` takes its time
if TYPE_CHECKING:
    from glide_jax.sampling.glide import Glide, load

__all__ = ["Glide", "InputError", "__version__", "load"]


def __getattr__(name: str):
    # JAX takes a second to import: only those who load a model pay for it.
    if name in ("Glide", "load"):
        from glide_jax.sampling import glide

        return getattr(glide, name)
    raise AttributeError(f"module 'glide_jax' has no attribute {name!r}")
