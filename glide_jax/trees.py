"""Trees of parameters by path: the one place that spells a path."""

from collections.abc import Mapping
from typing import Any

import jax


def flatten(params: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Turns a nested dict into {"a/b/c": leaf}."""
    out: dict[str, Any] = {}
    for name, value in params.items():
        path = f"{prefix}{name}"
        if isinstance(value, Mapping):
            out |= flatten(value, f"{path}/")
        else:
            out[path] = value
    return out


def unflatten(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Turns {"a/b/c": leaf} into a nested dict: the inverse of `flatten`."""
    out: dict[str, Any] = {}
    for path, value in flat.items():
        *parents, leaf = path.split("/")
        node = out
        for parent in parents:
            node = node.setdefault(parent, {})
        node[leaf] = value
    return out


def path_of(path: Any) -> str:
    """Spells a path of JAX's key entries as "unet/input_0/kernel"."""
    return jax.tree_util.keystr(path, simple=True, separator="/")
