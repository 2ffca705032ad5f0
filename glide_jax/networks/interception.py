"""Functions put on what layers read and give, from outside: modules know nothing of devices."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array

AtUse = Callable[[str, Array, Any], Array]  # (path of the parameter, it, dtype of its layer)
AtOutput = Callable[[str, Array], Array]  # (path of the layer, its output)


class _Boxed(struct.PyTreeNode, nn.meta.AxisMetadata):
    """A parameter that `read` is called on when a module asks for it.

    Flax unboxes what `self.param` finds at that very moment, so also inside a module that is
    rematerialised: there `read` belongs to what is computed again.
    """

    value: Any
    read: Callable[[Array], Array] = struct.field(pytree_node=False)

    def unbox(self) -> Array:
        """What the module sees."""
        return self.read(self.value)

    def replace_boxed(self, val: Any) -> "_Boxed":
        return self.replace(value=val)

    def add_axis(self, index: int, params: Any) -> "_Boxed":
        return self

    def remove_axis(self, index: int, params: Any) -> "_Boxed":
        return self


def intercepted(apply: Callable[..., Any], at_use: AtUse, at_output: AtOutput) -> Callable:
    """A module's `apply` whose parameters pass `at_use`, and whose layers' outputs `at_output`.

    Args:
        apply: (variables, *args, **kwargs) of any module.
        at_use: called where a layer reads a parameter. The dtype is that of the layer's arithmetic
            for the kernel of a convolution or a dense layer, which it would cast itself, and the
            parameter's own for everything else.
        at_output: called on what a module's `__call__` gives, if that is one array.
    """

    def call(variables: Any, *args: Any, **kwargs: Any) -> Any:
        dtypes: dict[str, Any] = {}  # of the layers whose turn it has been

        def box(path: tuple, p: Array) -> _Boxed:
            name = jax.tree_util.keystr(path, simple=True, separator="/")
            layer, _, leaf = name.rpartition("/")

            def read(value: Array) -> Array:
                dtype = dtypes.get(layer) if leaf == "kernel" else None
                return at_use(name, value, value.dtype if dtype is None else jnp.dtype(dtype))

            return _Boxed(p, read)

        def around(next_call: Callable, args: Any, kwargs: Any, context: Any) -> Any:
            path = "/".join(context.module.path)
            if context.method_name != "__call__":
                return next_call(*args, **kwargs)
            if hasattr(context.module, "kernel_init"):
                dtypes[path] = context.module.dtype
            out = next_call(*args, **kwargs)
            return at_output(path, out) if isinstance(out, jax.Array) else out

        params = jax.tree_util.tree_map_with_path(box, variables["params"])
        with nn.intercept_methods(around):
            return apply({**variables, "params": params}, *args, **kwargs)

    return call
