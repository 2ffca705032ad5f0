"""Requests drawn batch by batch: what each stage is given, and the choice of the best by a CLIP."""

import dataclasses
import functools
import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from glide_jax import images
from glide_jax.diffusion import repaint, samplers, tiling
from glide_jax.errors import InputError
from glide_jax.sampling import cascade, guides, prompts
from glide_jax.sampling.loading import Loaded
from glide_jax.sampling.request import Request, Row
from glide_jax.sampling.running import Progress, Running, Start
from glide_jax.types import Cond, Image, Keys, Network, Params, Stage


@dataclasses.dataclass(frozen=True)
class Drawn:
    """One row as the stages drew it."""

    row: Row
    stages: list[np.ndarray]  # uint8 (h, w, 3), one a stage
    choice: dict | None = None  # how it was chosen, if it was


class Piece(NamedTuple):
    """The chain of one stage and batch, which is to be finished."""

    stage: str
    chain: Running
    progress: Progress | None  # for `Running.finish`


class Batches:
    """A request to a model; its prompts are tokenized at once."""

    def __init__(self, loaded: Loaded, placed: Callable[[str], Params], request: Request):
        """Takes the model, a function that puts a stage's parameters on the device, the call."""
        self.loaded, self.placed, self.request = loaded, placed, request
        self.call, self.edit = request.call, request.call.edit
        self.texts = prompts.encode_texts(loaded, placed, request)
        self.names = list(request.stages)
        self.last = loaded.stages[self.names[-1]].image_size
        self.factor = self.last // loaded.stages["base"].image_size

    def walk(self) -> Iterator[Piece | Drawn]:
        """Every chain when it is its turn, and every picture once its chains are finished.

        With `keep`, the pictures of a prompt that fit it best, best first. The caller finishes a
        chain before it asks for the next item; how it does so is its choice.
        """
        if self.call.keep is not None:
            return self._best(self.call.keep)
        low_res = None if self.edit.low_res is None else self.edit.low_res[None]
        return self._rows(self.names, self.request.rows, low_res)

    def _best(self, keep: int) -> Iterator[Piece | Drawn]:
        """The rows of each prompt that fit it best by the model's CLIP, best first.

        All bases are drawn, and only what is kept goes through the stages after it.
        """
        rows = self.request.rows
        smalls = []
        for item in self._rows(["base"], rows, None):
            if isinstance(item, Drawn):
                smalls.append(item.stages[0])
            else:
                yield item
        values = self._scores([row.prompt for row in rows], smalls)
        order = sorted(range(len(rows)), key=lambda k: (rows[k].prompt, -values[k], k))
        firsts = [rows[k].prompt for k in order]
        kept = [k for j, k in enumerate(order) if j - firsts.index(rows[k].prompt) < keep]
        choices = [{"n": self.call.n, "keep": keep, "score": values[k]} for k in kept]
        rows, smalls = [rows[k] for k in kept], [smalls[k] for k in kept]
        low_res, after = images.from_uint8(np.stack(smalls)), self.names[1:]
        kept_so_far = zip(smalls, choices, strict=True)
        for item in self._rows(after, rows, low_res):
            if isinstance(item, Drawn):
                small, choice = next(kept_so_far)
                item = Drawn(item.row, [small, *item.stages], choice)
            yield item

    def _scores(self, lines: list[int], drawn: list[np.ndarray]) -> list[float]:
        """The CLIP's scaled cosine of each picture (h, w, 3) and its prompt, at t = 0."""
        clip, size, values = self.loaded.clip, self.request.rows_at_once, []
        assert clip is not None, "checked with the request"
        for start in range(0, len(drawn), size):
            places = np.minimum(np.arange(start, start + size), len(drawn) - 1)
            embedding = self.texts.clip([lines[k] for k in places])
            x_0 = jnp.asarray(images.from_uint8(np.stack([drawn[k] for k in places])))
            params = self.loaded.params["clip"]
            out = cascade.clip_scores(clip.log_prob_clean, params, x_0, embedding)
            values += np.asarray(out).tolist()
        return values[: len(drawn)]

    def _rows(
        self, names: list[str], rows: list[Row], low_res: np.ndarray | None
    ) -> Iterator[Piece | Drawn]:
        """The rows through the named stages; `low_res` is one picture for each row, or for all."""
        size = self.request.rows_at_once
        count = math.ceil(len(rows) / size)
        for b in range(count):
            chosen = rows[b * size : (b + 1) * size]
            padded = np.array(chosen + chosen[-1:] * (size - len(chosen)))
            x: Image | None = None
            if low_res is not None:
                places = np.minimum(np.arange(b * size, (b + 1) * size), len(low_res) - 1)
                x = jnp.asarray(low_res[places])
            outs: list[np.ndarray] = []
            for name in names:
                chain = self._stage(name, padded, x)
                yield Piece(name, chain, self._counting(name, b, count))
                x = chain.x_t
                outs.append(images.to_uint8(self._finite(name, np.asarray(x))))
            yield from (Drawn(row, [out[k] for out in outs]) for k, row in enumerate(chosen))

    def _stage(self, name: str, rows: np.ndarray, low_res: Image | None) -> Running:
        """One stage of one batch, at its start."""
        stage, settings = self.loaded.stages[name], self.request.stages[name]
        count, lines, base = len(rows), rows[:, 0].tolist(), not stage.upsampler
        keys = cascade.image_keys(self.call.seed, rows[:, 1], int(stage.upsampler))
        keys = jax.device_put(keys, self.loaded.device)  # noise is made where the model draws
        cond = Cond(
            text=self.texts.prompt(name, lines),
            low_res=None if low_res is None else samplers.quantize(low_res),
            guidance=jnp.full(count, settings.guidance_scale) if stage.guidance else None,
            **self._known(stage, count),
        )
        if stage.away and self.call.negative_prompt is not None:
            away = self.texts.away()
            cond = cond._replace(away=jnp.broadcast_to(away, (count, away.shape[-1])))
        inputs = cascade.Inputs(self.placed(name), keys, cond)
        if base:
            inputs = inputs._replace(
                null_text=self.texts.null() if self.request.unconditional else None,
                guides=guides.of_base(self.request, self.loaded, self.texts, lines),
            )
        start = self._start(stage, count)
        stage, size = self._canvas(stage, start.init, low_res)
        x_T = self._noise(stage, keys, rows, size, settings.temperature)
        return Running(stage, inputs, settings, size=size, start=start, x_T=x_T)

    def _known(self, stage: Stage, count: int) -> dict[str, Image]:
        """The fields of `Cond` that an edit fills; a pixel is known where all of its area is."""
        known, mask = self.edit.known, self.edit.mask_known
        if known is None or mask is None:
            return {}
        factor = self.last // stage.image_size
        planes = images.shrunk(known, factor), images.shrunk(mask, factor, np.min)
        return {"known": _wide(planes[0], count), "mask_known": _wide(planes[1], count)}

    def _start(self, stage: Stage, count: int) -> Start:
        """Where the chain of a stage starts."""
        edit, init = self.edit, None
        if edit.init is not None:
            init = _wide(images.shrunk(edit.init, self.last // stage.image_size), count)
        repeats = edit.repeats if edit.known is not None else 1
        return Start(init, edit.strength, repaint.Resampling(edit.jump, repeats))

    def _canvas(
        self, stage: Stage, init: Image | None, low_res: Image | None
    ) -> tuple[Stage, tuple[int, int]]:
        """The stage for what it is to draw, and how large that is.

        A picture that the base did not draw is enlarged in windows, a batch of them at once.
        """
        size = (stage.image_size, stage.image_size)
        if low_res is not None:
            size = (low_res.shape[1] * self.factor, low_res.shape[2] * self.factor)
        elif init is not None:
            size = (init.shape[1], init.shape[2])
        if self.edit.low_res is not None and max(size) > stage.image_size:
            windows = self.request.batch_size
            network = _tiled(stage.network, stage.image_size, self.factor, windows)
            stage = stage._replace(network=network, inner=None)
        return stage, size

    def _noise(
        self, stage: Stage, keys: Keys, rows: np.ndarray, size: tuple[int, int], temperature: float
    ) -> Image | None:
        """Starting noise of frames between two seeds; None where it is the keys' own."""
        edit, shape = self.edit, (*size, 3)
        if edit.weights is None or edit.to_seed is None:
            return None
        others = cascade.image_keys(edit.to_seed, rows[:, 1], int(stage.upsampler))
        a, b = (samplers.noise(key, 0, shape) for key in (keys, others))
        return samplers.slerp(a, b, jnp.float32(edit.weights[rows[:, 0]])) * temperature

    def _counting(self, name: str, batch: int, batches: int) -> Progress | None:
        """A stage's progress within all batches."""
        progress = self.call.progress
        if progress is None:
            return None
        return lambda done, steps, x_t: progress(name, batch * steps + done, batches * steps)

    def _finite(self, name: str, x: np.ndarray) -> np.ndarray:
        if not np.isfinite(x).all():
            raise InputError(
                f"the {name} network of {self.loaded.name!r} gives numbers that are not finite in "
                f"{self.loaded.dtype}; try float32, less guidance or sound weights."
            )
        return x


@functools.lru_cache
def _tiled(network: Callable[[Params], Network], window: int, factor: int, batch: int):
    """Cached: equal ones share their compiled programs."""
    overlap = window // factor // 4 * factor
    return lambda params: tiling.tiled(network(params), window, overlap, factor, batch)


def _wide(plane: np.ndarray, count: int) -> jax.Array:
    return jnp.broadcast_to(jnp.float32(plane), (count, *plane.shape))
