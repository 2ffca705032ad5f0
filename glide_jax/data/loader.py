"""Batches for training: a function of (seed, step) alone, whatever the workers and the hosts.

Position p of the endless sequence is record `shuffle(seed, p // n)[p % n]` of the n in a source,
and every random choice about it is drawn from the generator of (seed, p). Step k's batch is
positions k * B ... k * B + B - 1, and a host takes its rows. So a run that stops, moves or grows
goes on with the same batches, and the state to save is the step.
"""

import functools
import multiprocessing
import os
import signal
import threading
import time
import warnings
import weakref
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glide_jax import checks
from glide_jax.data import masks, transforms
from glide_jax.data.example import Example, Rejected, Source
from glide_jax.data.rejections import Rejection, Rejections
from glide_jax.errors import InputError
from glide_jax.extras import extra
from glide_jax.tokenizers import PromptTruncated, Tokenizer

_MOST_REPLACEMENTS = 1000  # in a row, after which there is nothing usable to be found
_MOST_IN_MEMORY = 1 << 22  # records whose order is kept, 4 bytes each in every process
_FOREVER = 1 << 62
_AHEAD = 2  # batches that a thread of this process makes ready before they are asked for

# Long captions are cut in training as in the paper, and a million warnings would hide the others.
warnings.filterwarnings("ignore", category=PromptTruncated, module=r"glide_jax\.data\.loader")
# Pillow warns of metadata that does not matter here, and of bombs that are rejected and counted.
warnings.filterwarnings("ignore", module=r"PIL\.")


@dataclass(frozen=True)
class DataOptions:
    """How examples become batches.

    Attributes:
        image_size: the pictures' side in pixels.
        batch_size: rows of a batch over all hosts.
        crop: "center", or "random" (80 to 100% of the shorter side).
        flip, augment: parts that are mirrored, and changed as `transforms.augment` describes.
        caption: "random" or "first", the choice among several captions.
        low_res: side of an upsampler's low-resolution picture; 0 for none.
        low_res_blur: largest sigma of its blur, in its pixels.
        low_res_noise: largest sigma of its noise, on the scale of [-1, 1].
        masks: keys of `masks.KINDS`, the regions to erase for inpainting; () for none.
        whole_mask_fraction: part of the masks that erase everything.
        window: side of the part of each picture, at a random place, that is trained on; 0 is all
            of it. Upsamplers do not need to see the whole to learn edges (GLIDE, section 4).
        max_rejected: part of the records that may be unusable.
        seed: decides the order and every random choice.
        workers: processes that decode; 0 is a thread of this one.
    """

    image_size: int
    batch_size: int
    crop: str = "center"
    flip: float = 0.0
    augment: float = 0.0
    caption: str = "random"
    low_res: int = 0
    low_res_blur: float = 0.0
    low_res_noise: float = 0.0
    masks: tuple[str, ...] = ()
    whole_mask_fraction: float = 0.0
    window: int = 0
    max_rejected: float = 0.01
    seed: int = 0
    workers: int = 0

    def __post_init__(self) -> None:
        checks.whole("image_size", self.image_size, 1, 4096)
        checks.whole("batch_size", self.batch_size, 1, 1 << 20)
        checks.whole("low_res", self.low_res, 0, self.image_size)
        checks.whole("window", self.window, 0, self.image_size)
        checks.whole("seed", self.seed, 0, 2**32 - 1)
        checks.whole("workers", self.workers, 0, 256)
        for name in ("flip", "augment", "whole_mask_fraction", "max_rejected"):
            checks.real(name, getattr(self, name), 0.0, 1.0)
        checks.real("low_res_blur", self.low_res_blur, 0.0, 100.0)
        checks.real("low_res_noise", self.low_res_noise, 0.0, 10.0)
        checks.one_of("crop", self.crop, transforms.CROPS)
        checks.one_of("caption", self.caption, transforms.CAPTION_CHOICES)
        if self.low_res and self.image_size % self.low_res:
            raise InputError(
                f"low_res is {self.low_res}; it must divide the image_size {self.image_size}."
            )
        if self.window % self.scale:
            raise InputError(
                f"window is {self.window}; it must be a multiple of {self.scale}, which is how "
                "much smaller low_res is."
            )
        object.__setattr__(self, "masks", masks.check_kinds("masks", self.masks))

    @property
    def scale(self) -> int:
        """How many times the low-resolution picture is smaller; 1 where there is none."""
        return self.image_size // self.low_res if self.low_res else 1

    @property
    def side(self) -> int:
        """The side of what is trained on, in pixels."""
        return self.window or self.image_size


@dataclass(frozen=True)
class _Packed:
    """A host's rows of a batch as they leave a worker: 8-bit, a quarter of what trains.

    Not a tree of arrays, which Grain would move through shared memory: containers often have too
    little of it, and a killed run leaves it behind.
    """

    arrays: dict[str, NDArray]
    tried: list[int]  # indices of the records
    rejections: list[Rejection]


@dataclass(frozen=True)
class _Maker:
    """Makes a host's rows of the batch of a step; workers run it."""

    source: Source
    tokenizer: Tokenizer
    context: int
    options: DataOptions
    rows: Sequence[int]

    def __call__(self, step: int) -> _Packed:
        first = step * self.options.batch_size
        tried: list[int] = []
        rejections: list[Rejection] = []
        made = [self._row(first + row, tried, rejections) for row in self.rows]
        arrays = {name: np.stack([row[name] for row, _ in made]) for name in made[0][0]}
        captions = [caption for _, caption in made]
        arrays["tokens"], arrays["mask"] = self.tokenizer(captions, self.context)
        return _Packed(arrays, tried, rejections)

    def _row(
        self, position: int, tried: list[int], rejections: list[Rejection]
    ) -> tuple[dict[str, NDArray[np.uint8]], str]:
        """Returns the arrays and the caption of a position; another record's if its own is bad."""
        seed, count = self.options.seed, len(self.source)
        index = record_at(seed, position, count)
        for attempt in range(1, _MOST_REPLACEMENTS + 1):
            tried.append(index)
            try:
                rng = np.random.default_rng((seed, position))
                return prepare(self.source[index], self.options, rng)
            except Rejected as rejected:
                rejections.append(Rejection(index, rejected.reason, rejected.detail))
            index = int(np.random.default_rng((seed, position, attempt)).integers(count))
        last = rejections[-1]
        raise InputError(
            f"{_MOST_REPLACEMENTS} records in a row are not usable, the last for {last.reason} "
            f"({last.detail}); this data has next to nothing to train on."
        )


def record_at(seed: int, position: int, count: int) -> int:
    """Returns the index of the record at a position of the endless sequence of shuffles.

    Args:
        seed: decides the order of every epoch.
        position: place in the sequence, 0 or more.
        count: records in the source.
    """
    epoch, offset = divmod(position, count)
    if count <= _MOST_IN_MEMORY:
        return int(_shuffled(seed, epoch, count)[offset])
    # A keyed permutation computed index by index: no memory, but slow for few records. Keys that
    # count up, as Grain's own do, would make epoch 1 of seed 0 epoch 0 of seed 1.
    key = int(np.random.SeedSequence((seed, epoch)).generate_state(1)[0])
    shuffle = extra("grain").experimental.index_shuffle
    return shuffle(offset, max_index=count - 1, seed=key, rounds=4)


@functools.lru_cache(2)  # a batch may straddle two epochs
def _shuffled(seed: int, epoch: int, count: int) -> NDArray[np.int32]:
    return np.random.default_rng((seed, epoch)).permutation(np.arange(count, dtype=np.int32))


def prepare(
    example: Example, options: DataOptions, rng: np.random.Generator
) -> tuple[dict[str, NDArray[np.uint8]], str]:
    """Returns an example's arrays in a batch, still in 8 bits, and the caption chosen for it.

    Args:
        example: the picture, of any size, and its captions.
        options: how pictures are cropped, degraded and erased.
        rng: decides every random choice.

    Raises:
        Rejected: the picture is too small.
    """
    if options.crop == "random":
        image = transforms.random_crop(example.image, options.image_size, rng)
    else:
        image = transforms.center_crop(example.image, options.image_size)
    image = transforms.flip(image, options.flip, rng)
    caption = transforms.choose(example.captions, options.caption, rng)
    image, caption = transforms.augment(image, caption, options.augment, rng)
    arrays = {"image": image}
    if options.low_res:
        blur, noise = options.low_res_blur, options.low_res_noise
        arrays["low_res"] = transforms.low_res(image, options.low_res, rng, blur=blur, noise=noise)
    if options.masks:
        known = masks.draw(rng, options.image_size, options.masks, options.whole_mask_fraction)
        arrays["mask_known"] = known.astype(np.uint8)
    if options.window:
        corner = rng.integers((options.image_size - options.window) // options.scale + 1, size=2)
        arrays = {
            name: transforms.window(a, corner * options.scale, options.window, options.image_size)
            for name, a in arrays.items()
        }
    return arrays, caption


class Loader:
    """The batches of a source, prepared ahead of time; one host's rows of them.

    Args:
        source: the examples.
        tokenizer: encodes the captions.
        context: tokens of a caption's row.
        options: how examples become batches.
        rows: this host's rows of the global batch; None for all.

    Attributes:
        rejections: the account of unusable records in the batches handed out so far.
    """

    def __init__(
        self,
        source: Source,
        tokenizer: Tokenizer,
        context: int,
        options: DataOptions,
        rows: Sequence[int] | None = None,
    ):
        if len(source) == 0:
            raise InputError("the data has 0 examples; it must have one at least.")
        rows = range(options.batch_size) if rows is None else rows
        self.options, self.rows = options, len(rows)
        self.rejections = Rejections(len(source), options.max_rejected)
        self._make = _Maker(source, tokenizer, context, options, rows)
        self._finalizer: weakref.finalize | None = None

    def batches(self, start_step: int = 0) -> Iterator[dict[str, NDArray]]:
        """Returns the batches of steps `start_step`, `start_step` + 1, ... without end.

        Each is a dict of `image` float32 (b, h, w, 3) in [-1, 1], `tokens` int32 (b, n) and
        `mask` bool (b, n); `low_res` (b, side, side, 3) if asked for; `known` (b, h, w, 3), grey
        where erased, and `mask_known` (b, h, w, 1) if there are masks. Workers start at once. A
        second call ends the iterator of the first.

        Raises:
            InputError: more records are unusable than `max_rejected` allows.
        """
        self.close()
        made = _start(self._make, start_step, self.options.workers)
        # One thread turns 8-bit rows into floats while the batch before them is in use.
        thread = ThreadPoolExecutor(1)
        ahead = deque(thread.submit(_take, made) for _ in range(_AHEAD))
        self._finalizer = finalizer = weakref.finalize(self, _close, thread, made)

        def account() -> Iterator[dict[str, NDArray]]:
            while finalizer.alive:
                batch, packed = ahead.popleft().result()
                ahead.append(thread.submit(_take, made))
                self.rejections.add(packed.tried, packed.rejections)
                yield batch

        return account()

    def close(self) -> None:
        """Ends the worker processes; `batches` may start new ones."""
        if self._finalizer is not None:
            self._finalizer()  # acts once


def throughput(loader: Loader, seconds: float) -> float:
    """Returns the images a second that a loader gives to an idle reader, start-up not counted."""
    batches = loader.batches()
    next(batches)
    began, images = time.monotonic(), 0
    while (passed := time.monotonic() - began) < seconds or not images:
        next(batches)
        images += loader.rows
    loader.close()
    return images / passed


def _take(made: Iterator[_Packed]) -> tuple[dict[str, NDArray], _Packed]:
    """Returns the next batch as it trains, and as it was made."""
    packed = next(made)
    batch = dict(packed.arrays)
    for name in ("image", "low_res"):
        if name in batch:
            batch[name] = transforms.to_float(batch[name])
    if "mask_known" in batch:
        batch["mask_known"] = batch["mask_known"].astype(np.float32)
        batch["known"] = batch["image"] * batch["mask_known"]
    return batch, packed


def _start(make: _Maker, start_step: int, workers: int) -> Any:
    """Returns Grain's iterator over the packed batches from `start_step` on."""
    grain = extra("grain")
    flags = extra("absl.flags").FLAGS
    if not flags.is_parsed():  # Grain reads flags of its own, which nobody has set
        flags.mark_as_parsed()
    # A worker works straight into its queue; without workers, threads do what a worker would.
    threads = 0 if workers else 2
    read = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=threads)
    steps = grain.MapDataset.range(start_step, _FOREVER)
    many = grain.multiprocessing.MultiprocessingOptions(workers, per_worker_buffer_size=2)
    return iter(steps.map(make).to_iter_dataset(read).mp_prefetch(many, begin_worker))


def begin_worker(*_: int) -> None:
    """Makes a worker leave with its parent, however that ends, and by no signal before it."""
    for number in (signal.SIGINT, signal.SIGTERM):  # a parent would wait for the rest of a batch
        signal.signal(number, signal.SIG_IGN)
    parent = multiprocessing.parent_process()

    def follow() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


def _close(thread: ThreadPoolExecutor, made: Any) -> None:
    # The thread first: Grain's iterator must not be closed under its reader.
    thread.shutdown(cancel_futures=True)
    made.close()
