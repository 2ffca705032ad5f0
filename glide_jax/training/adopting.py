"""The network, diffusion and sampling that a run takes from the model that it goes on from."""

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

from glide_jax import checks
from glide_jax.data import masks
from glide_jax.errors import InputError
from glide_jax.model_dir import disk, schema
from glide_jax.networks import zoo
from glide_jax.sampling import settings
from glide_jax.sampling.call import CLASSIFIER_FREE
from glide_jax.training.sections import Diffusion, Distill, Train


class Start(NamedTuple):
    """A stage of a model directory, to go on from."""

    directory: pathlib.Path
    stage: str


def adopt(config: Any, start: Start) -> None:
    """Takes the network, the diffusion and the sampling of a model directory's stage.

    Args:
        config: the ConfigDict to change. With a section `distill` it becomes a student's.
        start: the stage.

    Raises:
        InputError: the directory is no model or has no such stage.
    """
    directory, stage = start
    found = disk.read_config(directory)
    if not isinstance(found.get(stage), dict):
        raise InputError(f"{str(directory)!r} has no {stage}; it has {', '.join(found)}.")
    where = f"{directory / 'config.json'}: {stage}"
    part = schema.parse_section(schema.StageConfig, found[stage], where)
    what = config.distill.what if "distill" in config else ""
    model, prediction = part.model, part.prediction
    if what in ("guidance", "distribution") and config.model.guidance and not model.guidance:
        model = dataclasses.replace(
            model, guidance=config.model.guidance, away=bool(config.model.away and model.text_width)
        )
    if what and prediction == "eps":
        prediction = "v"
    config.model = dataclasses.asdict(model)
    config.diffusion.update(noise_schedule=part.noise_schedule, prediction=prediction)
    sampling = settings.from_config(part.sampling, f"{where}.sampling").record()
    # Students of steps follow the teacher's way without noise; the third kind hides its errors.
    config.sampling = sampling | {"steps": {"eta": 0.0}, "distribution": {"eta": 1.0}}.get(what, {})
    config.train.init_from = str(directory)
    if what:
        config.data.styles = part.styles
        config.log.guidance_scale = sampling["guidance_scale"]
    ending = {"": "finetuned", "guidance": "guided"}.get(what, "distilled")
    config.name = f"{found.get('name', directory.name)}-{ending}"
    if part.model.upsampler:
        small = found.get("base", {}).get("model", {}).get("image_size")
        config.data.low_res = small or part.model.image_size // 4
    if part.model.inpaint:  # all kinds but the one that erases everything, which has its own share
        config.data.masks = tuple(kind for kind in masks.KINDS if kind != "everything")
        config.data.whole_mask_fraction = 0.1


def check_student(distill: Distill, diffusion: Diffusion, train: Train, objective: str) -> None:
    """Refuses fields that a student's run does not have.

    Args:
        distill: the section; without `what` everything is as it should be.
        diffusion: the section.
        train: the section.
        objective: the run's.

    Raises:
        InputError: a field has a value that would do nothing, or an impossible one.
    """
    if not distill.what:
        return
    if objective == "clip":
        raise InputError("objective is 'clip', and a CLIP has no steps to distil.")
    if objective == "sketches":
        raise InputError("objective is 'sketches', and a text encoder has no steps to distil.")
    if train.redraw:
        raise InputError("train.redraw draws layers anew, but a student begins as its teacher.")
    if diffusion.prediction == "eps":
        raise InputError(
            "diffusion.prediction is 'eps', and a student's must be v or x_0: with few steps, eps "
            "of noise alone would have to be a picture."
        )
    if (distill.what != "guidance") != bool(distill.count):
        raise InputError(
            f"distill.what is {distill.what!r}, and distill.steps and distill.rounds give "
            f"{distill.count} steps; a student in guidance has 0, every other a number of them."
        )
    if distill.what == "distribution" and train.freeze:
        raise InputError("train.freeze leaves layers as they are, but a critic learns them all.")
    plain = Diffusion()
    for name in ("min_snr_gamma", "perceptual_weight", "text_loss_weight"):
        if getattr(diffusion, name) != getattr(plain, name):
            raise InputError(
                f"diffusion.{name} is {getattr(diffusion, name):g}, which a distillation does not "
                f"have; give {getattr(plain, name):g}."
            )


def student_sampling(
    sampling: Mapping[str, Any], distill: Distill, model: zoo.ModelConfig, on_sheets: float
) -> dict[str, Any]:
    """The default sampling of a run's model, which is a student's where it distils.

    Args:
        sampling: the config's, checked.
        distill: the section.
        model: the network.
        on_sheets: the scale of guidance in the sheets of samples.

    Raises:
        InputError: the network takes guidance as an input, and the sampling has it otherwise.
    """
    own = dict(sampling)
    if distill.count:
        own |= {"steps": str(distill.count), "grid": distill.grid}
        own["sampler"] = "renoised" if distill.renoise else "ddim"
    if not model.guidance:
        return own
    low, high = model.guidance
    for name, scale in (("sampling", own["guidance_scale"]), ("log", on_sheets)):
        if not low <= scale <= high:
            raise InputError(
                f"{name}.guidance_scale is {scale:g}, and model.guidance {low:g} to {high:g}; the "
                "scale must be in that range."
            )
    for name in ("guidance_interval", "cfgpp_scale", *CLASSIFIER_FREE):
        off = getattr(settings.DEFAULTS, name)
        if name in own and own[name] != off:
            raise InputError(
                f"sampling.{name} is {checks.shown(own[name])}, but a student learns plain "
                f"guidance; give {off!r}."
            )
    return own
