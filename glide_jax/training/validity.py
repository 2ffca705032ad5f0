"""What a run's config may say, checked before anything is made of it."""

from ml_collections import ConfigDict

from glide_jax import checks
from glide_jax.data.loader import DataOptions
from glide_jax.errors import InputError
from glide_jax.model_dir import schema
from glide_jax.networks import zoo
from glide_jax.sampling import settings

OBJECTIVES = ("text_to_image", "clip")
_DTYPES = ("float32", "bfloat16", "float16")


def part_of(config: ConfigDict) -> schema.StageConfig | zoo.ClipConfig:
    """What the config trains, as a model directory's config.json tells it.

    Raises:
        InputError: a field of the model that is unknown or not possible.
    """
    if config.objective == "clip":
        return schema.parse_section(zoo.ClipConfig, config.model.to_dict(), "config.model")
    return schema.StageConfig(
        model=schema.parse_section(zoo.ModelConfig, config.model.to_dict(), "config.model"),
        noise_schedule=config.diffusion.noise_schedule,
        prediction=config.diffusion.prediction,
        sampling=settings.from_config(config.sampling.to_dict(), "config.sampling").record(),
    )


def check(config: ConfigDict) -> None:
    """Refuses a config that cannot be, as far as one can tell without its data.

    Raises:
        InputError: a section is missing, or a field's value is not possible.
    """
    for section in ("model", "diffusion", "data", "tokenizer", "optim", "train", "log", "mesh"):
        if not isinstance(config.get(section), ConfigDict):
            raise InputError(f"the config has no section {section!r}; presets has all of them.")
    checks.one_of("objective", config.get("objective"), OBJECTIVES)
    checks.whole("seed", config.seed, 0, 2**32 - 1)
    train, log = config.train, config.log
    checks.one_of("train.dtype", train.dtype, _DTYPES)
    checks.one_of("train.remat", train.remat, ("none", "blocks"))
    checks.one_of("train.loss_scale", train.loss_scale, ("none", "dynamic"))
    checks.whole("train.batch_size", train.batch_size, 1, 2**20)
    checks.whole("train.num_steps", train.num_steps, 1, 10**12)
    checks.whole("train.max_nonfinite_in_a_row", train.max_nonfinite_in_a_row, 1, 10**9)
    for name in ("every_steps", "checkpoint_every_steps", "keep"):
        checks.whole(f"log.{name}", log[name], 1, 10**9)
    checks.whole("log.sample_every_steps", log.sample_every_steps, 0, 10**9)
    checks.whole("optim.accumulate", config.optim.accumulate, 1, train.batch_size)
    if not train.ema:
        raise InputError("train.ema is (); give at least one decay, which is what is sampled from.")
    for decay in train.ema:
        checks.real("train.ema", decay, 0.0, 1.0)
    if train.dtype == "float16" and train.loss_scale == "none":
        raise InputError(
            "train.dtype is 'float16' and train.loss_scale 'none'; small gradients would become 0, "
            "so take loss_scale=dynamic or bfloat16."
        )
    part = part_of(config)
    data_options(config, (part if isinstance(part, zoo.ClipConfig) else part.model).image_size)


def data_options(config: ConfigDict, image_size: int) -> DataOptions:
    """How the run's examples become batches.

    Raises:
        InputError: a field is not possible, or does not fit the model.
    """
    data = {k: v for k, v in config.data.items() if k not in ("source", "path", "split", "kinds")}
    model = config.model
    if bool(data["low_res"]) != bool(model.get("upsampler", False)):
        raise InputError(
            f"data.low_res is {data['low_res']} and model.upsampler {model.get('upsampler')}; an "
            "upsampler needs a small picture, and nothing else takes one."
        )
    if bool(data["masks"]) != bool(model.get("inpaint", False)):
        raise InputError(
            f"data.masks is {data['masks']} and model.inpaint {model.get('inpaint')}; inpainting "
            "needs masks, and nothing else takes them."
        )
    window = data.get("window", 0)
    if window and config.objective == "clip":
        raise InputError(f"data.window is {window}; a CLIP looks at whole pictures, so give 0.")
    divisor = model.patch * 2 ** (len(model.get("channel_mult", ())) - 1)
    if isinstance(window, int) and window % divisor:
        raise InputError(f"data.window is {window}; the model needs a multiple of {divisor}.")
    return schema.known_fields(
        DataOptions,
        data | dict(image_size=image_size, batch_size=config.train.batch_size, seed=config.seed),
        "config.data",
    )
