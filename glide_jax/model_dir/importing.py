"""Released PyTorch checkpoints to model directories and back, without torch."""

import contextlib
import pathlib
from collections.abc import Iterator, Mapping

import numpy as np

from glide_jax.checkpoints.torch import names, reader, writer
from glide_jax.errors import InputError
from glide_jax.model_dir import reading, schema, writing
from glide_jax.networks import initial, zoo
from glide_jax.tokenizers import ClipBPE, GlideBPE

# Input channels of the first convolution tell the released networks apart.
_STEM = "input_blocks.0.0.weight"
_KINDS = {3: "base", 7: "base-inpaint", 6: "upsample", 10: "upsample-inpaint"}
_CLIP = {"blocks.input.patch_proj": "clip image", "blocks.input.w_voc": "clip text"}
FILES = {  # names of the release
    "base": "base.pt",
    "upsample": "upsample.pt",
    "base-inpaint": "base_inpaint.pt",
    "upsample-inpaint": "upsample_inpaint.pt",
    "clip image": "clip_image_enc.pt",
    "clip text": "clip_text_enc.pt",
}

CARD = """# {name}

A GLIDE model directory, made by `glide-jax import` from PyTorch checkpoints ({kinds}).

GLIDE: Nichol et al., 2021, arXiv 2112.10741. OpenAI released its filtered models under the MIT
licence; their model card tells of their data, uses and limits, and holds here unchanged: they
were trained on pictures without people, and reproduce the biases of their data.
"""


def kind_of(state: Mapping[str, np.ndarray], path: pathlib.Path) -> str:
    """Which of the released networks a state dict is.

    Raises:
        InputError: none of them.
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


def import_files(
    files: list[pathlib.Path], out: pathlib.Path, *, name: str, dtype: str = "float32"
) -> Iterator[str]:
    """Makes the model directory `out`; yields a line about each file.

    Args:
        files: PyTorch checkpoints, at most one of each kind, a base among them; base and upsampler
            both with inpainting or both without.
        out: must not exist, or be empty.
        name: the model's.
        dtype: of the stored weights, "float32" or "float16".

    Raises:
        InputError: a file is broken or of another model, the files do not go together, or
            something is in the way of `out`.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"--out {str(out)!r} exists and is not an empty directory.")
    states, paths = {}, {}
    for path in files:
        state = reader.read_state_dict(path)
        kind = kind_of(state, path)
        if kind in states:
            raise InputError(f"{str(path)!r} is a second {kind} network; give one of each.")
        states[kind], paths[kind] = state, path
        yield f"{path}: {kind}, {sum(tensor.size for tensor in state.values()):,} parameters"
    inpaint = _check_set(states)
    suffix = "-inpaint" if inpaint else ""
    base = dict(steps="100", sampler="ddpm", guidance_scale=5.0 if inpaint else 3.0)
    up = dict(steps="fast27", sampler="ddim", guidance_scale=1.0, temperature=0.997)
    stages = {}
    for stage, noise, how in (("base", "squaredcos_cap_v2", base), ("upsample", "linear", up)):
        if stage + suffix in states:
            config = schema.StageConfig(zoo.named(stage + suffix), noise, "eps", how)
            shapes = initial.shapes(config.model)
            with _about(paths[stage + suffix]):
                params = names.import_params(states[stage + suffix], shapes)
            stages[stage] = (config, params)
    clip = None
    if "clip image" in states:
        shapes = initial.shapes(zoo.CLIP)
        params = {}
        for part in ("image", "text"):
            kind, entry = f"clip {part}", names.clip_entry
            with _about(paths[kind]):
                params[part] = names.import_params(states[kind], shapes[part], entry)
        clip = (zoo.CLIP, ClipBPE(), params)
    card = CARD.format(name=name, kinds=", ".join(states))
    writing.write_model(out, reading.Model(name, GlideBPE(), stages, clip), card=card, dtype=dtype)


@contextlib.contextmanager
def _about(path: pathlib.Path) -> Iterator[None]:
    try:
        yield
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def _check_set(states: Mapping[str, object]) -> bool:
    """Whether these networks are the inpainting ones."""
    glide = [kind for kind in states if not kind.startswith("clip")]
    inpaint = {kind.endswith("-inpaint") for kind in glide}
    if len(inpaint) > 1:
        raise InputError("networks with and without inpainting do not go into one model.")
    if not any(kind.startswith("base") for kind in glide):
        raise InputError("there is no base network among the files; a model needs one.")
    clip = [kind for kind in states if kind.startswith("clip")]
    if len(clip) == 1:
        raise InputError("a CLIP needs both its encoders, the image's and the text's.")
    return inpaint.pop()


def export_files(directory: pathlib.Path, out: pathlib.Path) -> Iterator[pathlib.Path]:
    """Writes a model directory's networks as state dicts in `out`; yields each path.

    Raises:
        InputError: the directory is not a model, or one whose networks PyTorch GLIDE lacks.
    """
    model = reading.read_model(directory)
    for stage, (config, _) in model.stages.items():
        groups = config.model.norm_groups
        if config.model.patch != 1 or config.prediction != "eps" or groups != 32:
            raise InputError(
                f"the {stage} network of {model.name!r} works on patches, predicts v or has norms "
                "of other than 32 groups, which PyTorch GLIDE cannot."
            )
    for stage, (config, params) in model.stages.items():
        kind = stage + ("-inpaint" if config.model.inpaint else "")
        path = out / FILES[kind]
        writer.write_state_dict(path, names.export_params(params))
        yield path
    if model.clip is not None:
        for part in ("image", "text"):
            path = out / FILES[f"clip {part}"]
            state = names.export_params(model.clip[2][part], names.clip_entry)
            writer.write_state_dict(path, state)
            yield path
