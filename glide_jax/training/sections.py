"""The sections of a run's config: every field with its default, its range and its meaning."""

import dataclasses
import functools
import itertools
from typing import Any

from glide_jax import checks
from glide_jax.diffusion import distillation, grids
from glide_jax.errors import InputError

STYLED = ("emoji", "emoji_flat", "emoji_no_people")  # sources whose pictures have a style


def _whole(default: int, low: int, high: int = 10**9) -> Any:
    check = functools.partial(checks.whole, low=low, high=high)
    return dataclasses.field(default=default, metadata={"check": check})


def _real(default: float, low: float, high: float) -> Any:
    check = functools.partial(checks.real, low=low, high=high)
    return dataclasses.field(default=default, metadata={"check": check})


def _word(default: str, *known: str) -> Any:
    check = functools.partial(checks.one_of, known=known)
    return dataclasses.field(default=default, metadata={"check": check})


def _texts() -> Any:
    def check(name: str, values: tuple[Any, ...]) -> None:
        if wrong := [value for value in values if not isinstance(value, str)]:
            raise InputError(f"{name} has {checks.shown(wrong[0])}; it must be texts.")

    return dataclasses.field(default=(), metadata={"check": check})


@dataclasses.dataclass(frozen=True)
class Diffusion:
    """The diffusion and the loss; a CLIP has only the noise schedule."""

    noise_schedule: str = "squaredcos_cap_v2"  # or linear
    # Or v (Salimans & Ho, 2022), for networks trained from nothing, or x_0 with the loss in v.
    prediction: str = "eps"
    # Fraction of captions that are emptied; 0.2 makes classifier-free guidance possible.
    null_fraction: float = _real(0.0, 0.0, 1.0)
    vb_weight: float = _real(1e-3, 0.0, 1e6)  # weight of the bound that trains the variance
    min_snr_gamma: float = _real(0.0, 0.0, 1e6)  # Min-SNR (Hang et al., 2023); 5 is theirs, 0 none
    # A cap on clean timesteps' weight that leaves noisy ones theirs: for eps Min-SNR, for v not.
    max_snr: float = _real(float("inf"), 0.0, float("inf"))
    # Fraction of timesteps drawn from the noisy end of the chain alone, and where that end begins.
    noisy_share: float = _real(0.0, 0.0, 1.0)
    noisy_from: float = _real(0.95, 0.0, 1.0)
    # Weight of a distance in features of EfficientNet-Lite0, at timesteps with more signal than
    # noise; that network then is no judge of the model.
    perceptual_weight: float = _real(0.0, 0.0, 1e6)
    text_loss_weight: float = 0.0  # weight of the text encoder's own loss


@dataclasses.dataclass(frozen=True)
class Distill:
    """A student of the model that the run starts from; `glide-jax distill` fills in the rest.

    A student reads `null_fraction`, `max_snr`, `noisy_share` and `noisy_from` of `Diffusion`.
    """

    # guidance: one evaluation for the two of guidance; steps: one step for `leap`; distribution:
    # both at once, by `training.matching`; "": no student.
    what: str = _word("", "", "guidance", "steps", "distribution")
    # The student's; the teacher takes `leap` times as many. 0: those of the first round.
    steps: int = _whole(0, 0, 500)
    leap: int = _whole(2, 2, 8)  # steps of the teacher in one of the student
    # The grid of the timesteps of both; noisy has shorter steps where there is more noise.
    grid: str = _word("trailing", *grids.NESTED)
    # Fraction of pictures that come to where they are looked at by the student's own step before,
    # so that it learns what to make of its own errors; the others are the data's.
    own_way: float = _real(0.0, 0.0, 1.0)
    # Noise is put back for half of each step, so that there are as many as the teacher's: the
    # stochastic variant of Meng et al. (2022), which is a last round.
    renoise: bool = False
    # Steps of one student after the other, each those before divided by `leap`.
    rounds: tuple[int, ...] = ()
    # Fraction of captions that keep away from another's, where `model.away` is true.
    away_fraction: float = _real(0.25, 0.0, 1.0)
    weight: str = _word("snr+1", *distillation.WEIGHTS)  # the weight of x_0's error
    # Those of distribution alone: how many times faster the critic learns, and the timesteps
    # between which the teacher is guided (Kynkaanniemi et al., 2024); () guides it everywhere.
    critic_rate: float = _real(2.5, 0.0, 1e3)
    interval: tuple[float, ...] = ()

    @property
    def count(self) -> int:
        """The student's steps; 0 for one in guidance."""
        return self.steps or (self.rounds[0] if self.rounds else 0)

    @property
    def of_teacher(self) -> int:
        """The teacher's steps."""
        alone = self.renoise or self.what == "distribution"
        return self.count if alone else self.leap * self.count

    def __post_init__(self):
        """Refuses rounds that do not lead to each other."""
        if self.interval and not (len(self.interval) == 2 and self.interval[0] < self.interval[1]):
            raise InputError(
                f"distill.interval is {checks.shown(self.interval)}; give its least and its "
                "largest timestep, or () to guide the teacher everywhere."
            )
        if self.what == "distribution" and self.rounds:
            raise InputError(
                f"rounds is {checks.shown(self.rounds)}, but distribution has one student; give "
                "distill.steps."
            )
        if self.renoise and self.leap != 2:
            raise InputError(
                f"leap is {self.leap} and renoise true; noise is put back for half of a "
                "step of two of the teacher's, so give a leap of 2."
            )
        if self.renoise and len(self.rounds) > 1:
            raise InputError(
                f"rounds is {checks.shown(self.rounds)} and renoise true; a student with noise "
                "teaches no other, so give one round."
            )
        if self.of_teacher > grids.NESTED[self.grid]:
            raise InputError(
                f"a student of {self.count} steps has a teacher of {self.of_teacher}; the grid "
                f"{self.grid} has up to {grids.NESTED[self.grid]}."
            )
        for more, fewer in itertools.pairwise(self.rounds):
            if more != self.leap * fewer:
                raise InputError(
                    f"rounds is {checks.shown(self.rounds)}; each must be the one before divided "
                    f"by the leap, {self.leap}."
                )


@dataclasses.dataclass(frozen=True)
class Data:
    """The pictures and captions; how they become batches is `data.loader.DataOptions`."""

    source: str = ""  # a name of `glide-jax data`: shapes, emoji, coco, folder ...
    path: str = ""  # folder or files of folder, webdataset, parquet; else the folder of built sets
    split: str = "train"
    # A resumed run whose data is no longer that which it began with: refuse, or allow.
    changed: str = _word("refuse", "refuse", "allow")
    # Words for styles of emoji: every caption then names its own, half of them the main colours.
    # The model adds the first to prompts that name none of them.
    styles: tuple[str, ...] = ()
    # Scenes of shapes_endless: single, plain, count, pair, relation; () is all but plain.
    kinds: tuple[str, ...] = _texts()

    def __post_init__(self):
        """Refuses what are no words, and styles of pictures that have none."""
        if not all(isinstance(word, str) and word.strip() for word in self.styles):
            raise InputError(f"styles is {checks.shown(self.styles)}; it must be words.")
        if self.styles and not set(self.source.split("+")) <= set(STYLED):
            raise InputError(
                f"styles is {checks.shown(', '.join(self.styles))} and source "
                f"{checks.shown(self.source)}; only {', '.join(STYLED)} have styles to name."
            )


@dataclasses.dataclass(frozen=True)
class TokenizerChoice:
    """The tokenizer of captions."""

    kind: str = "glide"  # glide, clip or sentencepiece
    vocab_size: int = 50_257  # ids of a sentencepiece model, which is trained on the captions


@dataclasses.dataclass(frozen=True)
class Optim:
    """The optimizer and its learning rate."""

    name: str = "adamw"  # or sgd, adafactor, lion, muon
    lr: float = _real(1e-4, 0.0, 1e3)
    schedule: str = "constant"  # or cosine, linear
    warmup_steps: int = _whole(0, 0)
    decay_fraction: float = _real(1.0, 0.0, 1.0)  # fraction of the run over which linear falls
    b1: float = _real(0.9, 0.0, 1e9)
    b2: float = _real(0.999, 0.0, 1e9)
    eps: float = _real(1e-8, 0.0, 1e9)
    weight_decay: float = _real(0.0, 0.0, 1e9)  # acts on kernels alone
    clip_norm: float = _real(0.0, 0.0, 1e9)  # 0 for none
    accumulate: int = 1  # parts that a batch is cut into


@dataclasses.dataclass(frozen=True)
class Train:
    """The length of a run, its batches, its numbers and its start."""

    num_steps: int = _whole(1_000_000, 1, 10**12)
    batch_size: int = _whole(2048, 1, 2**20)  # on all devices together
    ema: tuple[float, ...] = (0.9999,)  # decays; the first average is sampled from and exported
    # The network computes in this; parameters are float32.
    dtype: str = _word("bfloat16", "float32", "bfloat16", "float16")
    remat: str = _word("none", "none", "blocks")  # blocks: less memory, a third more work
    loss_scale: str = _word("none", "none", "dynamic")  # dynamic is for float16
    freeze: tuple[str, ...] = _texts()  # regular expressions of parameter paths, e.g. ^text/
    init_from: str = ""  # a model directory or name
    redraw: tuple[str, ...] = _texts()  # regular expressions: drawn anew instead of taken from it
    max_nonfinite_in_a_row: int = _whole(10, 1)


@dataclasses.dataclass(frozen=True)
class Log:
    """The log, the sheets of samples and the checkpoints."""

    every_steps: int = _whole(100, 1)
    sample_every_steps: int = _whole(5000, 0)  # 0 for never
    checkpoint_every_steps: int = _whole(2000, 1)
    keep: int = _whole(2, 1)  # newest checkpoints, besides the best
    prompts: tuple[str, ...] = _texts()  # captions of the sheet; none: the first ones of the data
    guidance_scale: float = 3.0
    sample_steps: str = "50"
    peak_tflops: float = 0.0  # one device's, for MFU; 0: looked up by the device's name


@dataclasses.dataclass(frozen=True)
class MeshShape:
    """The mesh of devices; see glide_jax/mesh/partition.py."""

    data: int = -1  # parts of the batch; -1: as many as the others leave
    fsdp: int = 1  # parts of the batch, and of parameters, averages and moments
    tensor: int = 1  # parts of the work inside a layer
    slices: int = 1  # slices of a TPU pod, which `data` goes over first
