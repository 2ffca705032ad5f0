"""What an `Edit` means to a stage: its planes, its canvas, where its chain starts."""

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from glide_jax import checks, images, types
from glide_jax.diffusion import repaint, samplers, tiling
from glide_jax.errors import InputError
from glide_jax.sampling import cascade, loading
from glide_jax.sampling.options import Edit, Options, Progress
from glide_jax.types import Image, Keys, Network, Params

_EMPTY = Edit({})
Row = tuple[int, int]  # prompt or frame, and index


def along(encode: Callable[[str, int], Any], weights: np.ndarray) -> Callable[[str, int], Any]:
    """An encoder of frames between prompts 0 and 1, from an encoder of those two."""
    count = len(weights)

    def of_frame(name: str, frame: int) -> Any:
        if frame >= count:  # the empty prompt and what follows it
            return encode(name, frame - count + 2)
        mix = lambda a, b: samplers.slerp(a, b, jnp.float32(weights[frame : frame + 1]))
        return jax.tree.map(mix, encode(name, 0), encode(name, 1))

    return of_frame


def noise(
    edit: Edit,
    keys: Keys,
    rows: np.ndarray,
    number: int,
    shape: tuple[int, int, int],
    temperature: float,
) -> Image | None:
    """Starting noise of frames between two seeds; None where it is the keys' own."""
    if edit.weights is None or edit.to_seed is None:
        return None
    others = cascade.image_keys(edit.to_seed, rows[:, 1], number)
    a, b = (samplers.noise(key, 0, shape) for key in (keys, others))
    return samplers.slerp(a, b, jnp.float32(edit.weights[rows[:, 0]])) * temperature


def chain(edit: Edit, stage: types.Stage, last_size: int, b: int) -> cascade.Edit:
    """How a stage's chain is changed by an edit."""
    resampling = repaint.Resampling(edit.jump, edit.repeats if edit.known is not None else 1)
    init = None
    if edit.init is not None:
        init = _wide(images.shrunk(edit.init, last_size // stage.image_size), b)
    return cascade.Edit(init, edit.strength, resampling)


def known(edit: Edit, stage: types.Stage, last_size: int, b: int) -> dict[str, Image]:
    """The fields of `Cond` that an edit fills: pixels by area, known where all of a pixel was."""
    if edit.known is None or edit.mask_known is None:
        return {}
    factor = last_size // stage.image_size
    planes = images.shrunk(edit.known, factor), images.shrunk(edit.mask_known, factor, np.min)
    return dict(zip(("known", "mask_known"), (_wide(plane, b) for plane in planes), strict=True))


def canvas(
    stage: types.Stage, init: Image | None, low_res: Image | None, factor: int, batch: int
) -> tuple[types.Stage, tuple[int, int]]:
    """The stage for what it is to draw, and how large that is.

    Args:
        stage: of the model.
        init: what it starts from.
        low_res: what it enlarges.
        factor: of enlarging.
        batch: windows at once, of a picture that the base did not draw; 0 of one that it did.
    """
    size = (stage.image_size, stage.image_size)
    if low_res is not None:
        size = (low_res.shape[1] * factor, low_res.shape[2] * factor)
    elif init is not None:
        size = (init.shape[1], init.shape[2])
    if batch and max(size) > stage.image_size:
        network = _tiled(stage.network, stage.image_size, factor, batch)
        stage = stage._replace(network=network)
    return stage, size


@functools.lru_cache
def _tiled(network: Callable[[Params], Network], window: int, factor: int, batch: int):
    """Cached: equal ones share their compiled programs."""
    overlap = window // factor // 4 * factor
    return lambda params: tiling.tiled(network(params), window, overlap, factor, batch)


def best(
    o: Options,
    loaded: loading.Loaded,
    encode: Callable[[str, int], Any],
    rows: list[Row],
    size: int,
    batches: Callable[..., Iterator[tuple[Row, list[np.ndarray]]]],
    after: list[str],
) -> Iterator[tuple[Row, list[np.ndarray], dict[str, Any]]]:
    """The `o.keep` rows of each prompt that the CLIP finds to fit it best, best first.

    All bases are drawn, and only what is kept goes through the stages `after` it.
    """
    smalls = [small for _, [small] in batches(["base"], rows, None)]
    values = scores(loaded, encode, [p for p, _ in rows], smalls, size)
    order = sorted(range(len(rows)), key=lambda k: (rows[k][0], -values[k], k))
    firsts = [rows[k][0] for k in order]
    assert o.keep is not None, "or there is nothing to choose"
    kept = [k for j, k in enumerate(order) if j - firsts.index(rows[k][0]) < o.keep]
    more = [{"choice": {"n": o.n, "keep": o.keep, "score": values[k]}} for k in kept]
    rows, smalls = [rows[k] for k in kept], [smalls[k] for k in kept]
    low_res = images.from_uint8(np.stack(smalls))
    enlarged = (outs for _, outs in batches(after, rows, low_res)) if after else ([] for _ in rows)
    for row, small, outs, choice in zip(rows, smalls, enlarged, more, strict=True):
        yield row, [small, *outs], choice


def scores(
    loaded: loading.Loaded,
    encode: Callable[[str, int], Any],
    prompts: Sequence[int],
    drawn: Sequence[np.ndarray],
    size: int,
) -> list[float]:
    """The CLIP's scaled cosine of each picture (h, w, 3) and its prompt, at t = 0."""
    clip, values = loaded.clip, []
    assert clip is not None, "see `checked_keep`"
    for start in range(0, len(drawn), size):
        places = np.minimum(np.arange(start, start + size), len(drawn) - 1)
        text = jnp.concatenate([encode("clip", prompts[k]) for k in places])
        x_0 = jnp.asarray(images.from_uint8(np.stack([drawn[k] for k in places])))
        # The jitted call of any function of parameters and two arrays.
        out = cascade.encode_text(clip.log_prob_clean, loaded.params["clip"], x_0, text)
        values += np.asarray(out).tolist()
    return values[: len(drawn)]


def checked(edit: Any) -> Edit:
    """The edit of a call, an empty one if there is none.

    Raises:
        InputError: it is something else.
    """
    if edit is not None and not isinstance(edit, Edit):
        raise InputError(
            f"edit is {checks.shown(edit)}; it must come from glide_jax.sampling.edits."
        )
    return edit or _EMPTY


def checked_keep(o: Options, n: int, loaded: loading.Loaded) -> int | None:
    """How many of `n` pictures to keep, if not all.

    Raises:
        InputError: there is no CLIP to choose by, or nothing to choose from.
    """
    if o.keep is None:
        return None
    if loaded.clip is None:
        raise InputError(f"keep is {checks.shown(o.keep)}, but model {loaded.name!r} has no CLIP.")
    edit = checked(o.edit)
    if edit.low_res is not None or edit.weights is not None or edit.known is not None:
        raise InputError(f"keep is {checks.shown(o.keep)}; it chooses among pictures of prompts.")
    return checks.whole("keep", o.keep, 1, n)


def batch_size(o: Options, rows: int) -> int:
    """How many run at once: of pictures, or of an upscaled picture's windows."""
    windows = checked(o.edit).low_res is not None
    size = int(o.batch_size)  # a number since the call was checked
    return size if windows else min(size, rows)


def counting(
    progress: Progress | None, name: str, steps: int, batch: int, batches: int
) -> cascade.Progress | None:
    """A stage's progress within all batches, each of so many steps."""
    if progress is None:
        return None
    return lambda done, _, x_t: progress(name, batch * steps + done, batches * steps)


def _wide(plane: np.ndarray, b: int) -> Image:
    return jnp.broadcast_to(jnp.float32(plane), (b, *plane.shape))
