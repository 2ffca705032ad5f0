"""Configs of runs: read from a file, changed by a person, checked once, and kept in a workdir.

This is the only place that sees a ConfigDict; what leaves it is a `TrainConfig`.
"""

import dataclasses
import difflib
import importlib
import importlib.util
import json
import math
import pathlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import jax
from ml_collections import ConfigDict

from glide_jax import checks, files
from glide_jax.data.loader import DataOptions
from glide_jax.errors import InputError
from glide_jax.files import read_object, replacing
from glide_jax.model_dir import schema
from glide_jax.networks import zoo
from glide_jax.sampling import settings
from glide_jax.training import sections, sketching
from glide_jax.training.adopting import Start, adopt, check_student, student_sampling
from glide_jax.training.overrides import flat, override
from glide_jax.version import __version__

T = TypeVar("T")
OBJECTIVES = ("text_to_image", "sketches", "clip")
FILE, CHECKPOINTS = "config.json", "checkpoints"  # names in a workdir
# Fields that a resumed run may change; "x." is everything in section x.
_MAY_CHANGE = (
    "train.num_steps", "train.max_nonfinite_in_a_row", "optim.lr", "data.workers",
    "data.max_rejected", "data.changed", "distill.rounds", "distill.own_way", "log.", "mesh.",
    "sampling.",
)  # fmt: skip
_PATHS = (("data", "path"), ("train", "init_from"))
_SECTIONS = ("model", "diffusion", "data", "tokenizer", "optim", "train", "log", "mesh")
_PACKAGED = pathlib.Path(__file__).parents[1] / "configs"


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """A run's config, with every field checked."""

    name: str
    seed: int  # decides the weights, the order of the data and the noise
    objective: str  # one of OBJECTIVES; sketches train a base's text encoder alone
    part: schema.StageConfig | zoo.ClipConfig  # what is trained, as in a model directory
    diffusion: sections.Diffusion
    distill: sections.Distill
    data: sections.Data
    batches: DataOptions
    tokenizer: sections.TokenizerChoice
    optim: sections.Optim
    train: sections.Train
    log: sections.Log
    mesh: sections.MeshShape
    kept: Mapping[str, Any] = dataclasses.field(compare=False, repr=False)  # for config.json

    @property
    def model(self) -> zoo.ModelConfig | zoo.ClipConfig:
        """The network's config."""
        return self.part.model if isinstance(self.part, schema.StageConfig) else self.part

    @property
    def stage(self) -> str:
        """The part of a model directory that the run makes: base, upsample or clip."""
        if isinstance(self.model, zoo.ClipConfig):
            return "clip"
        return "upsample" if self.model.upsampler else "base"


def read_config(
    path: str, overrides: Sequence[str] = (), start: Start | None = None
) -> TrainConfig:
    """The config of a file, with fields changed.

    Args:
        path: a Python file that has `get_config(size)`, perhaps with ":size" after it; or the name
            alone of one that comes with glide_jax, such as "shapes_64:smoke".
        overrides: "section.field=value"; a value has the type of the one it replaces, and a tuple
            is written a,b,c or as JSON; commas in brackets belong to their text.
        start: gives the run its network, diffusion and sampling, before the overrides.

    Raises:
        InputError: no such file, size or field, a value of another type, or one that is not
            possible, as far as that can be known without the data.
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
    with config.unlocked():
        if start is not None:
            adopt(config, start)
        override(config, overrides)
    return _checked(json.loads(json.dumps(config.to_dict())))


def kept_config(workdir: pathlib.Path) -> TrainConfig:
    """The config that a run keeps in its workdir; an InputError where it is damaged."""
    return _checked(read_object(workdir / FILE))


def _find(name: str) -> pathlib.Path:
    """The file of a config, which is code: one of the current folder is never meant by its name."""
    path = files.expanded(name)
    stem = path.name.removesuffix(".py")
    ours, bare = _PACKAGED / f"{stem}.py", path.name == name
    if not bare and path.is_file():
        return path
    if (bare or path == pathlib.Path("configs") / ours.name) and ours.is_file():
        return ours
    known = sorted(p.stem for p in _PACKAGED.glob("*.py") if p.stem not in ("__init__", "presets"))
    near = difflib.get_close_matches(stem, known, n=1)
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known) or 'none here'}."
    for here in (pathlib.Path(f"{stem}.py"), pathlib.Path("configs", f"{stem}.py")):
        if bare and here.is_file():
            hint = f"to run the file of that name, give its path: {checks.shown(f'./{here}', 200)}."
            break
    wrong = "does not come with glide_jax" if bare else "is not a file"
    raise InputError(f"config {checks.shown(name, 200)} {wrong}; {hint}")


def _load(file: pathlib.Path) -> Any:
    """The file as a module; a user's can import its siblings' folder and `configs`."""
    if file.parent == _PACKAGED:  # and never a module of the current folder
        return importlib.import_module(f"glide_jax.{_PACKAGED.name}.{file.stem}")
    parent = str(file.resolve().parents[1])
    if parent not in sys.path:
        sys.path.insert(0, parent)
    try:  # `from configs import presets` is to work wherever the file lies
        places = importlib.import_module("configs").__path__
        if str(_PACKAGED) not in places:
            places.append(str(_PACKAGED))
    except ImportError:
        sys.modules["configs"] = importlib.import_module(f"glide_jax.{_PACKAGED.name}")
    spec = importlib.util.spec_from_file_location(f"configs.{file.stem}", file)
    if spec is None or spec.loader is None:
        raise ImportError("it is not a Python file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _checked(values: dict[str, Any]) -> TrainConfig:
    """A config's plain values as a dataclass.

    Raises:
        InputError: a section is missing, or a field's value is not possible.
    """
    for name in _SECTIONS:
        if not isinstance(values.get(name), dict):
            raise InputError(f"the config has no section {name!r}; presets has all of them.")
    for section, field in _PATHS:
        if isinstance(value := values[section].get(field), str) and value:
            values[section][field] = str(files.expanded(value))
    objective = checks.one_of("objective", values.get("objective"), OBJECTIVES)
    seed = checks.whole("seed", values.get("seed"), 0, 2**32 - 1)
    read = lambda cls, name: _section(cls, values[name], name)
    train, diffusion = read(sections.Train, "train"), read(sections.Diffusion, "diffusion")
    log, optim = read(sections.Log, "log"), read(sections.Optim, "optim")
    distill = _section(sections.Distill, values.get("distill", {}), "distill")
    check_student(distill, diffusion, train, objective)
    _check_training(train, diffusion, optim)
    names = {field.name for field in dataclasses.fields(sections.Data)}
    source = {name: value for name, value in values["data"].items() if name in names}
    chosen = _section(sections.Data, source, "data")
    part: schema.StageConfig | zoo.ClipConfig
    if objective == "clip":
        part = model = schema.parse_section(zoo.ClipConfig, values["model"], "config.model")
    else:
        model = schema.parse_section(zoo.ModelConfig, values["model"], "config.model")
        if objective == "sketches":
            sketching.check(model)
        found = settings.from_config(values.get("sampling", {}), "config.sampling")
        part = schema.StageConfig(
            model,
            diffusion.noise_schedule,
            diffusion.prediction,
            student_sampling(found.record(), distill, model, log.guidance_scale),
            chosen.styles,
            distill.count,
        )
    data = {name: value for name, value in values["data"].items() if name not in names}
    data |= dict(image_size=model.image_size, batch_size=train.batch_size, seed=seed)
    batches = schema.known_fields(DataOptions, data, "config.data")
    _check_data(batches, model)
    return TrainConfig(
        name=checks.label("name", values.get("name")),
        seed=seed,
        objective=objective,
        part=part,
        diffusion=diffusion,
        distill=distill,
        data=chosen,
        batches=batches,
        tokenizer=read(sections.TokenizerChoice, "tokenizer"),
        optim=optim,
        train=train,
        log=log,
        mesh=read(sections.MeshShape, "mesh"),
        kept=values,
    )


def _check_training(
    train: sections.Train, diffusion: sections.Diffusion, optim: sections.Optim
) -> None:
    """Refuses fields that do not go together."""
    if diffusion.min_snr_gamma and diffusion.max_snr < math.inf:
        raise InputError(
            f"diffusion.min_snr_gamma is {diffusion.min_snr_gamma:g} and diffusion.max_snr "
            f"{diffusion.max_snr:g}; give one of them, and leave the other at 0 or inf."
        )
    checks.whole("optim.accumulate", optim.accumulate, 1, train.batch_size)
    if not train.ema:
        raise InputError("train.ema is (); give at least one decay, which is what is sampled from.")
    for decay in train.ema:
        checks.real("train.ema", decay, 0.0, 1.0)
    if train.dtype == "float16" and train.loss_scale == "none":
        raise InputError(
            "train.dtype is 'float16' and train.loss_scale 'none'; small gradients would become 0, "
            "so take loss_scale=dynamic or bfloat16."
        )


def _section(cls: type[T], values: dict[str, Any], name: str) -> T:
    """A section, each field of its type and in its range; a missing one has its default."""
    section = schema.parse_section(cls, values, f"config.{name}")
    for field in dataclasses.fields(cls):  # type: ignore[arg-type]
        if check := field.metadata.get("check"):
            check(f"{name}.{field.name}", getattr(section, field.name))
    return section


def _check_data(batches: DataOptions, model: zoo.ModelConfig | zoo.ClipConfig) -> None:
    """Refuses batches that do not fit the model."""
    upsampler, inpaint = getattr(model, "upsampler", None), getattr(model, "inpaint", None)
    if bool(batches.low_res) != bool(upsampler):
        raise InputError(
            f"data.low_res is {batches.low_res} and model.upsampler {upsampler}; an "
            "upsampler needs a small picture, and nothing else takes one."
        )
    if bool(batches.masks) != bool(inpaint):
        raise InputError(
            f"data.masks is {batches.masks} and model.inpaint {inpaint}; inpainting "
            "needs masks, and nothing else takes them."
        )
    if batches.window and isinstance(model, zoo.ClipConfig):
        raise InputError(
            f"data.window is {batches.window}; a CLIP looks at whole pictures, so give 0."
        )
    divisor = model.divisor if isinstance(model, zoo.ModelConfig) else model.patch
    if batches.window % divisor:
        raise InputError(
            f"data.window is {batches.window}; the model needs a multiple of {divisor}."
        )


def shared_facts(config: TrainConfig) -> dict[str, Any]:
    """Versions and config fields, which hosts that start together must have alike."""
    fields = {f"config.{name}": value for name, value in flat(config.kept).items()}
    return {"glide_jax": __version__, "jax": jax.__version__, **fields}


def has_checkpoint(workdir: pathlib.Path) -> bool:
    """Whether a workdir holds a run that can be resumed."""
    return any((workdir / CHECKPOINTS).glob("[0-9]*"))


def changes_since(workdir: pathlib.Path, config: TrainConfig) -> list[str]:
    """Compares the config with that of the run that a workdir holds, if it has a checkpoint.

    Returns:
        A sentence for each field that has changed.

    Raises:
        InputError: a field has changed that decides what the run is.
    """
    path, notes = workdir / FILE, []
    if not has_checkpoint(workdir):
        return notes
    try:
        old = flat(read_object(path))
    except (InputError, RecursionError) as error:
        why = str(error).rstrip(".") if isinstance(error, InputError) else "it is nested too deeply"
        raise InputError(
            f"{why}; it decides whether the checkpoints beside it are of this run, so put it back "
            '(meta/metadata of each holds it, as "config") or take another --workdir.'
        ) from None
    new, absent = flat(config.kept), _defaults()
    shown = lambda value: "absent" if value is None else checks.shown(value)
    for name in {**old, **new}:
        was, now = (fields.get(name, absent.get(name)) for fields in (old, new))
        if was == now or name == "name":
            continue
        field = checks.printable(name)[:80]
        if not name.startswith(_MAY_CHANGE):
            raise InputError(
                f"{str(workdir)!r} holds a run with {field} = {shown(was)}, and this config has "
                f"{shown(now)}; change it back or take another --workdir."
            )
        notes.append(f"{field} was {shown(was)} and is now {shown(now)}")
    return notes


def _defaults() -> dict[str, Any]:
    """Defaults of the fields that a config of an older version may lack."""
    sections_of = {
        "diffusion": sections.Diffusion, "tokenizer": sections.TokenizerChoice,
        "optim": sections.Optim, "train": sections.Train, "log": sections.Log,
        "distill": sections.Distill,
    }  # fmt: skip
    values = {name: dataclasses.asdict(cls()) for name, cls in sections_of.items()}
    values["model"] = {"guidance": zoo.BASE.guidance, "away": zoo.BASE.away}
    values["data"] = {"styles": sections.Data().styles, "augment": DataOptions(1, 1).augment}
    return flat(json.loads(json.dumps(values)))


def keep_config(workdir: pathlib.Path, config: TrainConfig) -> None:
    """Keeps the config in a workdir, for those that resume."""
    with replacing(workdir / FILE) as temporary:
        temporary.write_text(json.dumps(config.kept, indent=2) + "\n", encoding="utf-8")
