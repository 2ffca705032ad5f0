"""What a config may be: every value that builds nothing, or the absurd, is refused by name."""

from typing import Any

from glide_jax import checks
from glide_jax.errors import InputError


def check_glide(config: Any) -> None:
    """Refuses a `zoo.ModelConfig` from which no network can be built.

    Raises:
        InputError: names the field, its value and what would be right.
    """
    _within(config, image_size=16384, channels=8192, res_blocks=32, patch=64, heads=512)
    checks.whole("norm_groups", config.norm_groups, 1, 8192)
    _each("channel_mult", config.channel_mult, 32)
    if not 1 <= len(config.channel_mult) <= 10:
        raise InputError(f"channel_mult is {config.channel_mult}; it must have 1 to 10 levels.")
    _divides("channels", config.channels, "norm_groups", config.norm_groups)
    _divides("image_size", config.image_size, "patch and downsamplings together", config.divisor)
    _check_attention(config)
    checks.real("dropout", config.dropout, 0.0, 0.99)
    if checks.whole("text_width", config.text_width, 0, 65536):
        _within(config, text_layers=256, text_heads=512, text_context=4096, vocab_size=2**20)
        _divides("text_width", config.text_width, "text_heads", config.text_heads)


def _check_attention(config: Any) -> None:
    """Attention sizes are those of levels, and heads divide the widths they share."""
    _each("attention", config.attention, config.image_size)
    levels = {
        config.image_size // (config.patch * 2**i): i for i in range(len(config.channel_mult))
    }
    for size in config.attention:
        if size not in levels:
            raise InputError(
                f"attention is {config.attention}, but the levels' sizes are "
                f"{', '.join(str(size) for size in levels)}; {size} is none of them."
            )
    mults = [config.channel_mult[levels[size]] for size in config.attention]
    names = ("head_channels",) if config.head_channels != -1 else ("heads", "heads_up")
    for name in names:
        factor = getattr(config, name)
        if name == "heads_up" and factor == -1:
            continue
        checks.whole(name, factor, 1, 8192)
        for mult in (*mults, config.channel_mult[-1]):  # the middle always attends
            width = mult * config.channels
            _divides(f"channels times {mult} of channel_mult", width, name, factor)


def check_clip(config: Any) -> None:
    """Refuses a `zoo.ClipConfig` from which no network can be built.

    Raises:
        InputError: names the field, its value and what would be right.
    """
    _within(
        config,
        image_size=4096, patch=256, image_width=65536, image_layers=256, image_heads=512,
        text_width=65536, text_layers=256, text_heads=512, text_context=4096,
        vocab_size=2**20, embedding_width=65536, num_timesteps=100_000,
    )  # fmt: skip
    _divides("image_size", config.image_size, "patch", config.patch)
    _divides("image_width", config.image_width, "image_heads", config.image_heads)
    _divides("text_width", config.text_width, "text_heads", config.text_heads)
    checks.real("logit_scale", config.logit_scale, 0.0, 1e6)


def _within(config: Any, **limits: int) -> None:
    for name, limit in limits.items():
        checks.whole(name, getattr(config, name), 1, limit)


def _each(name: str, values: tuple[int, ...], limit: int) -> None:
    for value in values:
        if type(value) is not int or not 1 <= value <= limit:
            raise InputError(
                f"{name} is {checks.shown(values)}; each must be a whole number from 1 to {limit}."
            )


def _divides(name: str, value: int, of: str, factor: int) -> None:
    if value % factor:
        raise InputError(f"{name} is {value}; it must be a multiple of {factor} ({of}).")
