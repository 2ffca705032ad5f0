"""Lower bounds of a step's time on chips that are not here, from three limits.

A prediction, never a measurement. A chip computes, reads its memory and sends; if all three overlap
perfectly a step takes as long as the longest (`best`), if not at all as long as their sum
(`worst`). No chip reaches its peak, so `efficiency` scales the first.
"""

from typing import NamedTuple

from glide_jax import checks
from glide_jax.errors import InputError


class Chip(NamedTuple):
    """One chip, as its maker states it."""

    flops: float  # bfloat16 a second
    memory: float  # bytes
    bandwidth: float  # bytes a second from and to memory
    links: float  # bytes a second that it sends over all its links together
    cores: int = 1  # devices that JAX sees in a chip, each with a part of all this


# ICI: bytes one way over one link, times links (4 in a 2D torus, 6 in 3D), since rings along every
# axis go in both directions at once. An H100's is that of its node's network cards (8 of 400 Gb/s),
# which a hierarchical gather brings in once for all eight, not NVLink's 450 GB/s.
CHIPS = {
    "v4": Chip(275e12, 32 * 2**30, 1.228e12, 6 * 45e9, cores=2),
    "v5e": Chip(197e12, 16 * 2**30, 0.819e12, 4 * 45e9),
    "v5p": Chip(459e12, 95 * 2**30, 2.765e12, 6 * 90e9),
    "v6e": Chip(918e12, 32 * 2**30, 1.640e12, 4 * 90e9),
    "a100": Chip(312e12, 80 * 2**30, 2.039e12, 8 * 25e9),
    "h100": Chip(989e12, 80 * 2**30, 3.35e12, 8 * 50e9),
    "h200": Chip(989e12, 141 * 10**9, 4.8e12, 8 * 50e9),
}
EFFICIENCY = (
    0.6  # fraction of the peak in large convolutions and products; the other limits are bare
)


class Load(NamedTuple):
    """The work of a device in a step."""

    flops: float
    accessed: float  # bytes of its memory read and written
    sent: float  # bytes


class Prediction(NamedTuple):
    """Seconds of a step by each of the three limits."""

    compute: float
    memory: float
    network: float

    @property
    def best(self) -> float:
        """With everything overlapped."""
        return max(self)

    @property
    def worst(self) -> float:
        """With nothing overlapped."""
        return sum(self)

    @property
    def limit(self) -> str:
        """The longest of the three."""
        return self._fields[self.index(self.best)]


def chip(name: str) -> Chip:
    """One device of a topology ("v5e:16x16"), or of a chip by its name.

    Raises:
        InputError: it is not in the table.
    """
    kind = name.partition(":")[0].lower()
    if kind not in CHIPS:
        raise InputError(f"chip {name!r} is unknown; known are {', '.join(CHIPS)}.")
    whole = CHIPS[kind]
    flops, memory, bandwidth, links = (x / whole.cores for x in whole[:4])
    return Chip(flops, memory, bandwidth, links) if ":" in name else whole


def predict(load: Load, chip: Chip, efficiency: float = EFFICIENCY) -> Prediction:
    """The three limits of a step.

    Args:
        load: a device's work.
        chip: the device.
        efficiency: fraction of the peak that arithmetic reaches, above 0 to 1.
    """
    reached = chip.flops * checks.real("efficiency", efficiency, 1e-3, 1.0)
    return Prediction(load.flops / reached, load.accessed / chip.bandwidth, load.sent / chip.links)


def mfu(flops: float, seconds: float, chip: Chip) -> float:
    """The fraction of a device's peak that is useful; arithmetic that is done twice counts once.

    Args:
        flops: the device's in a step, without what is done again.
        seconds: the time of the step.
        chip: the device.
    """
    return flops / (seconds * chip.flops)
