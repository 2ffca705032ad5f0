"""The configs that decide a network's parameters, and the values from which one can be built."""

import dataclasses
from dataclasses import dataclass
from typing import Any

from glide_jax import checks
from glide_jax.errors import InputError


def _whole(default: int, most: int) -> Any:
    """A field that is a whole number from 1 to `most`."""
    return dataclasses.field(default=default, metadata={"most": most})


@dataclass(frozen=True)
class ModelConfig:
    """All that decides a GLIDE network's parameters; the defaults are the released base's.

    Raises:
        InputError: a value builds no network, or an absurd one.
    """

    image_size: int = _whole(64, 16384)  # nominal; other multiples of `divisor` run as well
    channels: int = _whole(192, 8192)
    channel_mult: tuple[int, ...] = (1, 2, 3, 4)
    res_blocks: int = _whole(3, 32)
    attention: tuple[int, ...] = (32, 16, 8)  # feature-map sizes in pixels at `image_size`
    head_channels: int = 64  # -1: use `heads`
    heads: int = _whole(1, 512)
    heads_up: int = -1  # heads on the way up; -1: as on the way down
    scale_shift: bool = True
    resblock_updown: bool = True
    patch: int = _whole(1, 64)  # pixels a side that the UNet treats as one
    norm_groups: int = _whole(32, 8192)  # in every GroupNorm; one a channel would lose its level
    dropout: float = 0.1
    text_width: int = 512  # 0: no text at all, whatever the other fields say of it
    text_layers: int = _whole(16, 256)
    text_heads: int = _whole(8, 512)
    text_context: int = _whole(128, 4096)
    text_final_norm: bool = True
    text_padding: bool = True
    vocab_size: int = _whole(50257, 2**20)
    upsampler: bool = False
    inpaint: bool = False
    # Range of the guidance scale, where that is an input beside the time, as in (1.0, 6.0).
    guidance: tuple[float, ...] = ()
    away: bool = False  # whether a prompt to keep away from is one more input of that kind

    def __post_init__(self):
        """Checks each value, then those that belong together."""
        text = ("text_layers", "text_heads", "text_context", "vocab_size")
        _check_whole(self, () if checks.whole("text_width", self.text_width, 0, 65536) else text)
        _check_each("channel_mult", self.channel_mult, 32)
        if not 1 <= len(self.channel_mult) <= 10:
            raise InputError(
                f"channel_mult is {checks.shown(self.channel_mult)}; it must have 1 to 10 levels."
            )
        _check_multiple("channels", self.channels, "norm_groups", self.norm_groups)
        _check_multiple(
            "image_size", self.image_size, "patch and downsamplings together", self.divisor
        )
        self._check_attention()
        self._check_guidance()
        checks.real("dropout", self.dropout, 0.0, 0.99)
        if self.text_width:
            _check_multiple("text_width", self.text_width, "text_heads", self.text_heads)

    def record(self) -> dict[str, Any]:
        """Every field, as files hold them: earlier versions lack those that are off."""
        newer = ("guidance", "away")
        return {k: v for k, v in dataclasses.asdict(self).items() if v or k not in newer}

    @property
    def planes(self) -> int:
        """Input channels: x_t, then known pixels and mask, then the low-res image."""
        return 3 + 4 * self.inpaint + 3 * self.upsampler

    @property
    def divisor(self) -> int:
        """Heights and widths must be multiples of this."""
        return self.patch * 2 ** (len(self.channel_mult) - 1)

    @property
    def level_sizes(self) -> list[int]:
        """The side of each level's feature maps at `image_size`."""
        return [self.image_size // (self.patch * 2**i) for i in range(len(self.channel_mult))]

    def _check_guidance(self) -> None:
        """A range has two ends, and 1, no guidance, within."""
        if self.away and not (self.guidance and self.text_width):
            raise InputError("away is true; it needs guidance as an input, and text.")
        if not self.guidance:
            return
        low, high = self.guidance if len(self.guidance) == 2 else (2.0, 2.0)
        numbers = all(type(end) in (int, float) for end in (low, high))
        if not numbers or not 0.0 <= low <= 1.0 < high <= 100.0:
            raise InputError(
                f"guidance is {checks.shown(self.guidance)}; it must be the least scale, 0 to 1, "
                "and the largest, above 1 to 100."
            )

    def _check_attention(self) -> None:
        """Attention sizes are those of levels, and heads divide the widths they share."""
        _check_each("attention", self.attention, self.image_size)
        sizes = self.level_sizes
        for size in self.attention:
            if size not in sizes:
                raise InputError(
                    f"attention is {checks.shown(self.attention)}, but the levels' sizes are "
                    f"{', '.join(map(str, sizes))}; {size} is none of them."
                )
        mults = [self.channel_mult[sizes.index(size)] for size in self.attention]
        names = ("head_channels",) if self.head_channels != -1 else ("heads", "heads_up")
        for name in names:
            factor = getattr(self, name)
            if name == "heads_up" and factor == -1:
                continue
            checks.whole(name, factor, 1, 8192)
            for mult in (*mults, self.channel_mult[-1]):  # the middle always attends
                width = mult * self.channels
                _check_multiple(f"channels times {mult} of channel_mult", width, name, factor)


@dataclass(frozen=True)
class ClipConfig:
    """All that decides a noise-aware CLIP's parameters; the defaults are the released one's.

    Raises:
        InputError: a value builds no network, or an absurd one.
    """

    image_size: int = _whole(64, 4096)
    patch: int = _whole(4, 256)
    image_width: int = _whole(768, 65536)
    image_layers: int = _whole(12, 256)
    image_heads: int = _whole(12, 512)
    text_width: int = _whole(512, 65536)
    text_layers: int = _whole(12, 256)
    text_heads: int = _whole(8, 512)
    text_context: int = _whole(77, 4096)
    vocab_size: int = _whole(65536, 2**20)
    embedding_width: int = _whole(512, 65536)
    num_timesteps: int = _whole(1000, 100_000)
    logit_scale: float = 100.0

    def __post_init__(self):
        """Checks each value, then those that belong together."""
        _check_whole(self)
        _check_multiple("image_size", self.image_size, "patch", self.patch)
        _check_multiple("image_width", self.image_width, "image_heads", self.image_heads)
        _check_multiple("text_width", self.text_width, "text_heads", self.text_heads)
        checks.real("logit_scale", self.logit_scale, 0.0, 1e6)


def _check_whole(config: Any, ignored: tuple[str, ...] = ()) -> None:
    for field in dataclasses.fields(config):
        if "most" in field.metadata and field.name not in ignored:
            checks.whole(field.name, getattr(config, field.name), 1, field.metadata["most"])


def _check_each(name: str, values: tuple[int, ...], most: int) -> None:
    for value in values:
        if type(value) is not int or not 1 <= value <= most:
            raise InputError(
                f"{name} is {checks.shown(values)}; each must be a whole number from 1 to {most}."
            )


def _check_multiple(name: str, value: int, of: str, factor: int) -> None:
    if value % factor:
        raise InputError(f"{name} is {value}; it must be a multiple of {factor} ({of}).")
