"""How long a step takes at least on chips that are not here: three limits, and what they rest on.

A prediction, never a measurement. A chip computes, reads its memory and sends; if all three overlap
perfectly a step takes as long as the longest (`best`), if not at all as long as their sum
(`worst`). No chip reaches its peak, so `efficiency` scales the first.
"""

from typing import NamedTuple

from glide_jax import checks
from glide_jax.errors import InputError


class Chip(NamedTuple):
    """What its maker states of one chip."""

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
    "h100": Chip(989e12, 80 * 2**30, 3.35e12, 8 * 50e9),
}
EFFICIENCY = 0.6  # of the peak, in large convolutions and products; the other two limits are bare


class Load(NamedTuple):
    """What a device does in a step."""

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
        load: of a device.
        chip: what it runs on.
        efficiency: part of the peak that arithmetic reaches, above 0 to 1.
    """
    reached = chip.flops * checks.real("efficiency", efficiency, 1e-3, 1.0)
    return Prediction(load.flops / reached, load.accessed / chip.bandwidth, load.sent / chip.links)


def mfu(flops: float, seconds: float, chip: Chip) -> float:
    """The useful part of a device's peak: arithmetic that is done twice counts once."""
    return flops / (seconds * chip.flops)


class Model(NamedTuple):
    """A training step in closed form, for meshes and batches that were not compiled."""

    parameters: float
    flops: float  # of an image's forward and backward pass, nothing done twice
    activations: float  # bytes of memory traffic for an image, from a compiled step
    again: int = 1  # forward passes that rematerialisation adds

    def load(self, batch: int, fsdp: int, data: int = 1) -> Load:
        """A device's part of a step over data x fsdp devices.

        Each pass over the network gathers the weights in bfloat16 (2 bytes), writes and reads
        them; the gradient is scattered once, and the rest of its sum goes over `data` and back.
        Parameters, gradient, two moments and an average (float32) are read, and all but the
        gradient written.

        Args:
            batch: of all devices.
            fsdp: devices that one copy of the state is spread over.
            data: copies.
        """
        images, passes, weights = batch / (fsdp * data), 2 + self.again, 2.0 * self.parameters
        sent = (passes + 1) * weights * (fsdp - 1) / fsdp + 2 * weights / fsdp * (data - 1) / data
        accessed = images * self.activations + 2 * passes * weights + self.state(fsdp)
        return Load(images * self.flops * (3 + self.again) / 3, accessed, sent)

    def state(self, fsdp: int) -> float:
        """Bytes that the optimizer reads and writes on a device."""
        return 9 * 4.0 * self.parameters / fsdp
