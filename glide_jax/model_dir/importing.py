"""Released PyTorch checkpoints to model directories and back, without torch."""

import pathlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from glide_jax import checks
from glide_jax.checkpoints.released import RELEASED
from glide_jax.checkpoints.torch import names, reader, writer
from glide_jax.errors import InputError
from glide_jax.model_dir import reading, schema, writing
from glide_jax.networks import initial, zoo
from glide_jax.tokenizers import ClipBPE, GlideBPE

# Input channels of the first convolution tell the released networks apart.
_STEM = "input_blocks.0.0.weight"
_KINDS = {3: "base", 7: "base-inpaint", 6: "upsample", 10: "upsample-inpaint"}
_CLIP = {"blocks.input.patch_proj": "clip image", "blocks.input.w_voc": "clip text"}
# Parts that trainers put into the names of tensors: compilers, data parallelism, checkpointing.
_WRAPPERS = (
    "module", "_orig_mod", "_forward_module", "_fsdp_wrapped_module", "_checkpoint_wrapped_module",
)  # fmt: skip
_FILES = {  # names of the release
    **{kind: RELEASED[kind] for kind in _KINDS.values()},
    **{f"clip {part}": RELEASED[f"clip/{part}-enc"] for part in ("image", "text")},
}
# Each stage's noise schedule and how the released notebooks draw with it.
_STAGES: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "base": ("squaredcos_cap_v2", dict(steps="100", sampler="ddpm", guidance_scale=3.0)),
    "upsample": (
        "linear",
        dict(steps="fast27", sampler="ddim", guidance_scale=1.0, temperature=0.997),
    ),
}
_INPAINT_GUIDANCE = 5.0


def kind_of(state: Mapping[str, np.ndarray], path: pathlib.Path) -> str:
    """The kind of released network that a state dict holds.

    Raises:
        InputError: it holds none of them.
    """
    for name, kind in _CLIP.items():
        if name in state:
            return kind
    planes = state[_STEM].shape[1] if _STEM in state and state[_STEM].ndim == 4 else None
    if planes not in _KINDS:
        raise InputError(
            f"{str(path)!r} is not one of GLIDE's networks: its tensors are such as "
            f"{', '.join(repr(name) for name in list(state)[:2]) or 'none'}."
        )
    return _KINDS[planes]


def unwrapped(
    state: Mapping[str, np.ndarray], path: pathlib.Path
) -> tuple[dict[str, np.ndarray], str]:
    """A state dict by its network's own names, and what a trainer had put in front of them.

    A wrapper's name may stand anywhere, and any other in front, such as that of the attribute in
    which a trainer keeps its network. Single numbers that only a trainer adds, such as
    `n_averaged`, are left out then.

    Raises:
        InputError: there are several networks, or tensors beside the one.
    """
    whole = {
        name: ".".join(part for part in name.split(".") if part not in _WRAPPERS) for name in state
    }
    fronts = {
        plain.removesuffix(known)
        for plain in whole.values()
        for known in (_STEM, *_CLIP)
        if f".{plain}".endswith(f".{known}")
    }
    if len(fronts) > 1 or len(set(whole.values())) < len(whole):
        names = ", ".join(sorted(checks.shown(front) for front in fronts))
        raise InputError(
            f"{str(path)!r} holds several networks (their names begin with {names}): save the "
            "state dict of one alone."
        )
    front, own = "".join(fronts), {}
    for name, plain in whole.items():
        if plain.startswith(front):
            own[plain.removeprefix(front)] = state[name]
        elif state[name].ndim:
            raise InputError(
                f"{str(path)!r} holds {checks.shown(name)} beside the network, whose names begin "
                f"with {checks.shown(front)}: save the state dict of the network alone."
            )
    if own.keys() != state.keys():
        own = {name: tensor for name, tensor in own.items() if tensor.ndim}
    return own, front


def import_files(
    files: list[pathlib.Path], out: pathlib.Path, *, name: str, dtype: str = "float32"
) -> Iterator[str]:
    """Makes the model directory `out`; yields a line about each file.

    Args:
        files: PyTorch checkpoints, at most one of each kind, a base among them; base and upsampler
            both with inpainting or both without.
        out: must not exist, or be empty.
        name: the model's name.
        dtype: type of the stored weights, "float32" or "float16".

    Raises:
        InputError: a file is broken or of another model, the files do not go together, or
            something is in the way of `out`.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"--out {str(out)!r} exists and is not an empty directory.")
    states, paths = {}, {}
    for path in files:
        state, front = unwrapped(reader.read_state_dict(path), path)
        kind = kind_of(state, path)
        if kind in states:
            raise InputError(f"{str(path)!r} is a second {kind} network; give one of each.")
        states[kind], paths[kind] = state, path
        count = sum(tensor.size for tensor in state.values())
        yield f"{path}: {kind}, {count:,} parameters{f' below {front!r}' if front else ''}"

    def params(kind: str, shapes: Any, entry: Callable = names.glide_entry) -> dict[str, Any]:
        try:
            return names.import_params(states[kind], shapes, entry)
        except InputError as error:
            raise InputError(f"{paths[kind]}: {error}") from None

    inpaint = _check_set(states)
    stages, clip = {}, None
    for stage, (noise, sampling) in _STAGES.items():
        kind = f"{stage}-inpaint" if inpaint else stage
        if kind in states:
            guidance = {"guidance_scale": _INPAINT_GUIDANCE} if kind == "base-inpaint" else {}
            config = schema.StageConfig(zoo.named(kind), noise, "eps", {**sampling, **guidance})
            stages[stage] = (config, params(kind, initial.shapes(config.model)))
    if "clip image" in states:
        shapes = initial.shapes(zoo.CLIP)
        both = {p: params(f"clip {p}", shapes[p], names.clip_entry) for p in ("image", "text")}
        clip = (zoo.CLIP, ClipBPE(), both)
    card = (writing.CARDS / "imported.md").read_text(encoding="utf-8")
    card = card.format(name=name, kinds=", ".join(states))
    model = reading.Model(name, GlideBPE(), stages, clip)
    writing.write_model(out, model, card=card, dtype=dtype)


def _check_set(states: Mapping[str, object]) -> bool:
    """Whether these networks are the inpainting ones; refuses sets that make no model."""
    inpaint = {kind.endswith("-inpaint") for kind in states if not kind.startswith("clip")}
    if len(inpaint) > 1:
        raise InputError("networks with and without inpainting do not go into one model.")
    if not any(kind.startswith("base") for kind in states):
        raise InputError("there is no base network among the files; a model needs one.")
    if sum(kind.startswith("clip") for kind in states) == 1:
        raise InputError("a CLIP needs both its encoders, the image's and the text's.")
    return inpaint.pop()


def export_files(directory: pathlib.Path, out: pathlib.Path) -> Iterator[pathlib.Path]:
    """Writes a model directory's networks as state dicts in `out`; yields each path.

    Raises:
        InputError: the directory is not a model, or one whose networks PyTorch GLIDE lacks.
    """
    model = reading.read_model(directory)
    networks: dict[str, tuple[Any, Callable]] = {}
    for stage, (config, params) in model.stages.items():
        groups = config.model.norm_groups
        if config.model.patch != 1 or config.prediction != "eps" or groups != 32:
            raise InputError(
                f"the {stage} network of {model.name!r} works on patches, predicts v (as "
                "distilled ones do) or has norms of other than 32 groups; PyTorch GLIDE cannot."
            )
        kind = f"{stage}-inpaint" if config.model.inpaint else stage
        networks[kind] = (params, names.glide_entry)
    if model.clip is not None:
        for part in ("image", "text"):
            networks[f"clip {part}"] = (model.clip[2][part], names.clip_entry)
    for kind, (params, entry) in networks.items():
        path = out / _FILES[kind]
        writer.write_state_dict(path, names.export_params(params, entry))
        yield path
