"""Configs of runs: from a file, changed by a person, and what a resumed run may change."""

import difflib
import importlib.util
import json
import math
import pathlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import jax
from ml_collections import ConfigDict

from glide_jax import checks
from glide_jax.errors import InputError
from glide_jax.files import replacing
from glide_jax.version import __version__

FILE, CHECKPOINTS = "config.json", "checkpoints"  # of a workdir
# What a run that goes on may have otherwise than when it began; "x." is everything in section x.
_MAY_CHANGE = (
    "train.num_steps", "train.max_nonfinite_in_a_row", "optim.lr", "data.workers",
    "data.max_rejected", "log.", "mesh.", "sampling.",
)  # fmt: skip


def read_config(path: str, overrides: Sequence[str] = ()) -> ConfigDict:
    """The config of a file, with fields changed; locked.

    Args:
        path: of a Python file that has `get_config(size)`, perhaps with ":size"; the name alone
            of one that comes with glide_jax, such as "shapes_64:smoke".
        overrides: "section.field=value"; a value has the type of the one it replaces, and a tuple
            is written a,b,c or as JSON.

    Raises:
        InputError: no such file, size or field, or a value of another type.
    """
    name, _, size = path.rpartition(":") if ":" in path else (path, "", "")
    file = _find(name)
    try:
        config = _load(file).get_config(*([size] if size else []))
    except ImportError as error:
        raise InputError(f"config {name!r} cannot be read: {error}.") from None
    except (ValueError, AttributeError, KeyError, SyntaxError, TypeError) as error:
        why = " ".join(str(error).strip("'").split()).rstrip(".")
        raise InputError(f"config {name!r}: {why}.") from None
    if not isinstance(config, ConfigDict):
        raise InputError(f"config {name!r}: get_config gives no ConfigDict.")
    change(config, overrides)
    return config.lock()


def change(config: ConfigDict, overrides: Sequence[str]) -> None:
    """Sets fields by "section.field=value", as `read_config` does."""
    for override in overrides:
        _change(config, *override.partition("=")[::2])


def _change(config: ConfigDict, name: str, text: str) -> None:
    """Sets the field `name`, such as "optim.lr", to what `text` says.

    Raises:
        InputError: no such field, or a text that its type does not have.
    """
    *sections, last = name.split(".")
    at: Any = config
    for section in [*sections, last]:
        if not isinstance(at, ConfigDict) or section not in at:
            known = sorted(flat(config))
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(config)}."
            raise InputError(f"config has no field {checks.shown(name)}; {hint}")
        at, parent = at[section], at
    if isinstance(at, ConfigDict):
        raise InputError(f"config.{name} is a section; set one of its fields {', '.join(at)}.")
    with parent.unlocked():
        parent[last] = _value(f"config.{name}", text, at)


def flat(config: Any, prefix: str = "") -> dict[str, Any]:
    """{"section.field": value}."""
    out: dict[str, Any] = {}
    for name, value in config.items():
        if isinstance(value, ConfigDict | Mapping):
            out |= flat(value, f"{prefix}{name}.")
        else:
            out[f"{prefix}{name}"] = value
    return out


def plain(config: ConfigDict) -> dict[str, Any]:
    """As JSON keeps it: dicts, lists, numbers."""
    return json.loads(json.dumps(config.to_dict()))


def facts(config: ConfigDict) -> dict[str, Any]:
    """What hosts that start together must have alike: versions, and every field of the config."""
    fields = {f"config.{name}": value for name, value in flat(plain(config)).items()}
    return {"glide_jax": __version__, "jax": jax.__version__, **fields}


def check(workdir: pathlib.Path, config: ConfigDict) -> list[str]:
    """Compares the config with that of the run that a workdir holds, if it has a checkpoint.

    Returns:
        A sentence for each field that has changed.

    Raises:
        InputError: a field has changed that decides what the run is.
    """
    path, notes = workdir / FILE, []
    if not path.exists() or not any((workdir / CHECKPOINTS).glob("[0-9]*")):
        return notes
    try:
        old = flat(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise InputError(f"{str(path)!r} cannot be read: {error}.") from None
    new = flat(plain(config))
    for name in {**old, **new}:
        was, now = old.get(name), new.get(name)
        if was == now or name == "name":
            continue
        if not name.startswith(_MAY_CHANGE):
            raise InputError(
                f"{str(workdir)!r} holds a run with {name} = {_shown(was)}, and this config has "
                f"{_shown(now)}; change it back or take another --workdir."
            )
        notes.append(f"{name} was {_shown(was)} and is now {_shown(now)}")
    return notes


def write(workdir: pathlib.Path, config: ConfigDict) -> None:
    """Keeps the config in a workdir, for those that resume."""
    with replacing(workdir / FILE) as temporary:
        temporary.write_text(json.dumps(plain(config), indent=2) + "\n", encoding="utf-8")


def _shown(value: Any) -> str:
    return "absent" if value is None else checks.shown(value)


def _find(name: str) -> pathlib.Path:
    path = pathlib.Path(name)
    ours = pathlib.Path(__file__).parents[1] / "configs"
    bare = path.name == name and not path.suffix
    places = [path, *([pathlib.Path("configs") / f"{name}.py", ours / f"{name}.py"] * bare)]
    for place in places:
        if place.is_file():
            return place
    known = sorted(p.stem for p in ours.glob("*.py") if p.stem not in ("__init__", "presets"))
    near = difflib.get_close_matches(path.stem, known, n=1)
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known) or 'none here'}."
    raise InputError(f"config {name!r} is not a file; {hint}")


def _load(file: pathlib.Path) -> Any:
    """The file as a module; what lies beside its folder can be imported by it."""
    parent = str(file.resolve().parents[1])
    if parent not in sys.path:
        sys.path.insert(0, parent)
    spec = importlib.util.spec_from_file_location(f"configs.{file.stem}", file)
    if spec is None or spec.loader is None:
        raise ImportError("it is not a Python file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _value(name: str, text: str, default: Any) -> Any:
    """`text` as a value of `default`'s type."""
    if isinstance(default, bool):
        if text.lower() not in ("true", "false", "1", "0"):
            raise InputError(f"{name} is {checks.shown(text)}; it must be true or false.")
        return text.lower() in ("true", "1")
    if isinstance(default, int):
        return checks.whole(name, text, -(2**53), 2**53)
    if isinstance(default, float):
        return math.inf if text in ("inf", "+inf") else checks.real(name, text, -1e300, 1e300)
    if isinstance(default, tuple | list):
        return _tuple(name, text, default)
    return text


def _tuple(name: str, text: str, default: Sequence[Any]) -> tuple[Any, ...]:
    parts: list[Any] = [part.strip() for part in text.strip("()").split(",") if part.strip()]
    if text.lstrip().startswith("["):
        try:
            parts = [part if isinstance(part, str) else str(part) for part in json.loads(text)]
        except ValueError:
            raise InputError(f"{name} is {checks.shown(text)}; it must be JSON.") from None
    if default:
        return tuple(_value(name, part, default[0]) for part in parts)
    try:
        return tuple(int(part) for part in parts)
    except ValueError:
        return tuple(parts)
