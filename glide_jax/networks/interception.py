"""Functions on what layers read and return, put there from outside: modules know no devices."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array

from glide_jax.networks.blocks import Conv3x3
from glide_jax.trees import path_of

AtUse = Callable[[str, Array, Any], Array]  # (path of the parameter, it, dtype of its layer)
AtOutput = Callable[[str, Array], Array]  # (path of the layer, its output)


class _Boxed(struct.PyTreeNode, nn.meta.AxisMetadata):
    """A parameter that `read` is called on when a module asks for it.

    Flax unboxes a parameter at the moment that `self.param` finds it; its own `nn.Partitioned`
    constrains a sharding there. So `read` also runs inside a module that is rematerialised, and
    belongs to what is computed again. `nn.map_variables` would map all parameters at once, before.
    """

    value: Any
    read: Callable[[Array], Array] = struct.field(pytree_node=False)

    def unbox(self) -> Array:
        """The parameter as the module sees it."""
        return self.read(self.value)

    def replace_boxed(self, val: Any) -> "_Boxed":
        return self.replace(value=val)

    def add_axis(self, index: int, params: Any) -> "_Boxed":
        return self

    def remove_axis(self, index: int, params: Any) -> "_Boxed":
        return self


@contextlib.contextmanager
def intercepting(interceptor: Callable[..., Any]) -> Iterator[None]:
    """`nn.intercept_methods`, which also ends where Python leaves out assertions (PYTHONOPTIMIZE).

    Flax takes an interceptor away inside an assertion, so that there it would act for ever.
    """
    active = [True]

    def while_active(next_call: Callable, args: Any, kwargs: Any, context: Any) -> Any:
        if active:
            return interceptor(next_call, args, kwargs, context)
        return next_call(*args, **kwargs)

    with nn.intercept_methods(while_active):
        try:
            yield
        finally:
            active.clear()


def intercepted(apply: Callable[..., Any], at_use: AtUse, at_output: AtOutput) -> Callable:
    """A module's `apply` whose parameters pass `at_use`, and whose layers' outputs `at_output`.

    Args:
        apply: (variables, *args, **kwargs) of any module.
        at_use: called where a layer reads a parameter. The dtype is the layer's compute dtype for
            the kernel of a 3 x 3 convolution or a dense layer, which would cast it anyway, and the
            parameter's own for everything else.
        at_output: called on the output of a module's `__call__`, if that is one array.
    """

    def call(variables: Any, *args: Any, **kwargs: Any) -> Any:
        dtypes: dict[str, Any] = {}  # by path, from the call of a layer until it reads its kernel

        def box(path: tuple, p: Array) -> _Boxed:
            name = path_of(path)
            layer, _, leaf = name.rpartition("/")

            def read(value: Array) -> Array:
                dtype = dtypes.get(layer) if leaf == "kernel" else None
                return at_use(name, value, value.dtype if dtype is None else jnp.dtype(dtype))

            return _Boxed(p, read)

        def wrap_call(next_call: Callable, args: Any, kwargs: Any, context: Any) -> Any:
            if context.method_name != "__call__":
                return next_call(*args, **kwargs)
            layer, path = context.module, "/".join(context.module.path)
            if isinstance(layer, nn.Dense | Conv3x3):
                dtypes[path] = layer.dtype
            out = next_call(*args, **kwargs)
            return at_output(path, out) if isinstance(out, jax.Array) else out

        params = jax.tree_util.tree_map_with_path(box, variables["params"])
        with intercepting(wrap_call):
            return apply({**variables, "params": params}, *args, **kwargs)

    return call
