"""Glide: the cascade as a person calls it. Prompts in, pictures out."""

import dataclasses
import functools
import math
import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image as PILImage

from glide_jax import checks, compiling, images
from glide_jax.diffusion import samplers
from glide_jax.errors import InputError
from glide_jax.model_dir import reading, schema
from glide_jax.sampling import (
    cascade,
    edited,
    edits,
    guides,
    loading,
    memory,
    prompts,
    repeating,
    settings,
)
from glide_jax.sampling.options import Options
from glide_jax.tokenizers.protocol import check_text
from glide_jax.types import Cond, Image
from glide_jax.version import __version__

DEFAULT_MODEL = "shapes"
DEFAULT_FOLDER = pathlib.Path.home() / ".cache" / "glide_jax"


@dataclasses.dataclass(frozen=True)
class Picture:
    """One picture and all that is needed to draw it again."""

    image: PILImage.Image  # the last stage's
    small: PILImage.Image  # the base's
    parameters: dict[str, Any]  # JSON-able

    @property
    def array(self) -> np.ndarray:
        """uint8 (h, w, 3)."""
        return np.asarray(self.image)


@dataclasses.dataclass(frozen=True)
class _Plan:
    """A call with everything checked and defaults filled in."""

    prompts: list[str]
    options: Options
    how: dict[str, settings.Sampling]  # of each stage that runs, in order
    weak: loading.Loaded | None  # the worse model of autoguidance

    @property
    def weights(self) -> np.ndarray | None:
        """Of frames between two prompts, if that is what is drawn."""
        return None if self.options.edit is None else self.options.edit.weights

    @property
    def null(self) -> int:
        """The number of the empty or negative prompt; those mixed in follow."""
        return len(self.prompts if self.weights is None else self.weights)

    def rows(self) -> list[tuple[int, int]]:
        """(prompt or frame, index) of every picture; the index counts within its prompt."""
        first, n = self.options.first_index, self.options.n
        if self.weights is not None:
            return [(frame, first) for frame in range(len(self.weights))]
        on = n if self.options.number_on else 0
        return [(p, first + p * on + i) for p in range(len(self.prompts)) for i in range(n)]


def load(
    dir_or_name: str | pathlib.Path = DEFAULT_MODEL,
    *,
    dtype: str = "float32",
    convolutions: str = "auto",
    program: str | pathlib.Path | None = None,
    offload: bool = False,
    weights: str = "float32",
    cache: str | pathlib.Path | None = DEFAULT_FOLDER,
) -> "Glide":
    """A model ready to draw.

    Args:
        dir_or_name: a model directory, a model in the box ("shapes"), or one in `cache`/models.
        dtype: what networks compute in; norms and sampling stay float32.
        convolutions: the algorithm: direct, winograd2 or winograd4; auto is winograd4 for wide
            networks in float32 on a CPU, else direct (docs/performance.md).
        program: a file of `glide-jax export-program` for this model, which spares tracing its
            networks.
        offload: keep parameters on the host and only the stage that draws on the device: less
            memory, for the time of moving them once a batch.
        weights: how parameters are kept: float32, or bfloat16, int8 or float8_e4m3fn for a half or
            a third of their bytes and less exact pictures (docs/performance.md).
        cache: where compiled programs are kept between runs; None keeps none.

    Raises:
        InputError: there is no such model, or it is broken.
    """
    compiling.check_dtype(dtype)
    folder = DEFAULT_FOLDER if cache is None else pathlib.Path(cache)
    directory = reading.find_model(str(dir_or_name), folder / "models")
    if cache is not None:
        compiling.enable_cache(folder / "xla")
    path = None if program is None else pathlib.Path(program)
    loaded = loading.load(
        directory, dtype, convolutions, program=path, offload=offload, weights=weights
    )
    return Glide(loaded, dtype, folder / "models", str(dir_or_name))


class Glide:
    """A loaded cascade: parameters and a tokenizer; every call is a function of its inputs."""

    def __init__(
        self,
        loaded: loading.Loaded,
        dtype: str,
        models: pathlib.Path = DEFAULT_FOLDER / "models",
        path: str | None = None,
    ):
        """Takes a loaded model, the folder of other models by name, and where this one lies."""
        self.loaded, self.dtype, self._path = loaded, dtype, path
        other = lambda name: loading.load(reading.find_model(name, models), dtype)
        self._fitting = functools.cache(self.largest_batch)  # of "auto", the same in every call
        # Where they are on the device already, to put them there is nothing.
        self._placed = functools.lru_cache(maxsize=1)(lambda n: jax.device_put(loaded.params[n]))
        self._other: Callable[[str], loading.Loaded] = functools.lru_cache(maxsize=2)(other)

    @property
    def parameter_count(self) -> int:
        """Of all stages and the CLIP together."""
        return reading.parameter_count(self.loaded.params)

    @property
    def sizes(self) -> dict[str, int]:
        """Pixels a side of each stage's pictures."""
        return {name: stage.image_size for name, stage in self.loaded.stages.items()}

    def __call__(self, prompts: str | Sequence[str], **options: Any) -> list[Picture]:
        """Pictures of prompts: those of `pictures`, as a list.

        >>> glide = glide_jax.load()
        >>> [picture] = glide("a large red circle on a white background")
        >>> picture.image.save("circle.png")
        """
        return list(self.pictures(prompts, **options))

    def pictures(self, prompts: str | Sequence[str], **options: Any) -> Iterator[Picture]:
        """Draws pictures of each prompt, batch by batch (GLIDE, section 2).

        Prompts are one or several, "" to draw without one; for the others see `Options`.

        Raises:
            InputError: a value is wrong; raised when the first picture is asked for.
        """
        yield from self._draw(self._plan(prompts, options))

    def parameters(self, prompts: str | Sequence[str], **options: Any) -> list[dict[str, Any]]:
        """What `Picture.parameters` would be, without drawing."""
        plan = self._plan(prompts, options)
        return [self._parameters(plan, *row) for row in plan.rows()]

    inpaint, edit, vary, upscale = edits.inpaint, edits.edit, edits.vary, edits.upscale
    interpolate, repeat = edits.interpolate, repeating.repeat

    def _plan(self, prompts: str | Sequence[str], options: dict[str, Any]) -> _Plan:
        texts = [prompts] if isinstance(prompts, str) else list(prompts)
        if not texts:
            raise InputError("there are no prompts; give at least one.")
        for text in texts:
            check_text(text)
        o = guides.checked(schema.known_fields(Options, options, "the call"), self.loaded)
        wishes, stages, defaults = (
            settings.wished(o),
            self.loaded.stages,
            self.loaded.sampling,
        )
        check = settings.checked
        edit, how = edited.checked(o.edit), {}
        if edit.low_res is None:
            how["base"] = check(stages["base"], defaults["base"], wishes["base"])
        if o.upsample and "upsample" in stages:
            up = wishes["upsample"]
            if edit.known is not None and o.upsample_sampler is None:
                # An ODE would not take up the grain of known pixels; the released notebook changes
                # its sampler, too.
                up["sampler"] = "ddpm"
            how["upsample"] = check(stages["upsample"], defaults["upsample"], up, "upsample_")
        elif any(v is not None for v in (o.upsample_steps, o.upsample_sampler, o.temperature)):
            raise InputError(
                "upsample_steps, upsample_sampler or temperature is set, but no upsampler runs."
            )
        weak = None
        if o.autoguidance_model is not None:
            weak = guides.check_weak(self._other(str(o.autoguidance_model)), self.loaded)
        n = checks.whole("n", o.n, 1, 1_000_000)
        o = dataclasses.replace(
            o,
            n=n,
            keep=edited.checked_keep(o, n, self.loaded),
            seed=checks.whole("seed", o.seed, 0, 2**32 - 1),
            first_index=checks.whole("first_index", o.first_index, 0, 2**31 - 1),
            batch_size=self._fitting()
            if o.batch_size == "auto"
            else checks.whole("batch_size", o.batch_size, 1, 4096),
        )
        return _Plan(texts, o, how, weak)

    def largest_batch(self, most: int = 64) -> int:
        """How many pictures at once fit the device's free memory: a power of two, at most `most`.

        The compiler is asked, once a model: with an empty cache that is two programs a stage.
        """
        free, _ = memory.free()
        return memory.largest_batch(self.loaded, checks.whole("most", most, 1, 4096), free)

    def _parameters(self, plan: _Plan, prompt: int, index: int) -> dict[str, Any]:
        """All that is needed to draw a picture again."""
        stages = {name: dataclasses.asdict(how) for name, how in plan.how.items()}
        for values in stages.values():  # as JSON has it
            values["guidance_interval"] = list(values["guidance_interval"])
        return {
            "glide_jax": __version__,
            "model": self.loaded.name,
            "model_path": self._path,
            "dtype": self.dtype,
            **({} if self.loaded.weights == "float32" else {"weights": self.loaded.weights}),
            "prompt": plan.prompts[prompt if plan.weights is None else 0],
            "seed": plan.options.seed,
            "index": index,
            "clip_guidance_scale": plan.options.clip_guidance_scale,
            "batch_size": edited.batch_size(plan.options, len(plan.rows())),
            "edit": None if plan.options.edit is None else plan.options.edit.record,
            **guides.described(plan.options),
            **stages,
        }

    def _draw(self, plan: _Plan) -> Iterator[Picture]:
        rows, o = plan.rows(), plan.options
        edit = edited.checked(o.edit)
        size = 1 if edit.low_res is not None else edited.batch_size(o, len(rows))
        encode = prompts.encoder(
            self.loaded, self._placed, list(plan.how), plan.prompts, o, plan.weak, size
        )
        if edit.weights is not None:
            encode = edited.along(encode, edit.weights)
        batches = functools.partial(self._batches, plan, encode, size)
        low_res = None if edit.low_res is None else edit.low_res[None]
        done = ((row, outs, {}) for row, outs in batches(list(plan.how), rows, low_res))
        if o.keep is not None:
            done = edited.best(o, self.loaded, encode, rows, size, batches, list(plan.how)[1:])
        for row, outs, more in done:
            pictures = [PILImage.fromarray(out) for out in outs]
            parameters = self._parameters(plan, *row) | more
            yield Picture(edit.finish(pictures[-1]), pictures[0], parameters)

    def _batches(
        self,
        plan: _Plan,
        encode: Callable[[str, int], Any],
        size: int,
        names: list[str],
        rows: list[tuple[int, int]],
        low_res: np.ndarray | None,
    ) -> Iterator[tuple[tuple[int, int], list[np.ndarray]]]:
        """What each of the named stages draws of each row, uint8; `low_res` is of each, or one."""
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
                x = self._stage(name, plan, encode, padded, x, (b, count))
                outs.append(images.to_uint8(self._finite(name, np.asarray(x))))
            yield from ((row, [out[k] for out in outs]) for k, row in enumerate(chosen))

    def _stage(
        self,
        name: str,
        plan: _Plan,
        encode: Callable[[str, int], Any],
        rows: np.ndarray,
        low_res: Image | None,
        batch: tuple[int, int],
    ) -> Image:
        """One stage of one batch, of which there are so many."""
        stage, how = self.loaded.stages[name], plan.how[name]
        o, edit, b = plan.options, edited.checked(plan.options.edit), len(rows)
        schedule = cascade.schedule_of(stage, how.steps, how.grid)
        join = lambda *parts: jax.tree.map(lambda *a: jnp.concatenate(a), *parts)
        last = self.sizes[list(plan.how)[-1]]
        cond = Cond(
            text=join(*(encode(name, p) for p in rows[:, 0])),
            low_res=None if low_res is None else samplers.quantize(low_res),
            **edited.known(edit, stage, last, b),
        )
        chain, windows = edited.chain(edit, stage, last, b), edit.low_res is not None
        stage, size = edited.canvas(
            stage, chain.init, low_res, last // self.sizes["base"], int(o.batch_size) * windows
        )
        number = ("base", "upsample").index(name)
        keys = cascade.image_keys(o.seed, rows[:, 1], number)
        first, end = chain.bounds(stage, schedule)
        report = edited.counting(o.progress, name, end - first, *batch)
        guided, guiding, null = not stage.upsampler, cascade.NO_GUIDES, plan.null
        if not stage.upsampler:
            guiding = guides.of_base(
                o, self.loaded, plan.weak, encode, rows[:, 0].tolist(), first_of_mix=null + 1
            )
            # A CLIP or a worse model alone has no unconditional half to compute, as in the papers.
            alone = o.clip_guidance_scale is not None or plan.weak is not None
            guided = not alone or how.guidance_scale != 1.0 or how.cfgpp_scale > 0.0
        return cascade.run(
            stage,
            self._placed(name),
            keys,
            cond,
            encode(name, null) if guided else None,
            schedule,
            settings.settings(how),
            sampler=how.sampler,
            temperature=how.temperature,
            size=size,
            guides=guiding,
            edit=chain,
            x_T=edited.noise(edit, keys, rows, number, (*size, 3), how.temperature),
            progress=report,
        )

    def _finite(self, name: str, x: np.ndarray) -> np.ndarray:
        if not np.isfinite(x).all():
            raise InputError(
                f"the {name} network of {self.loaded.name!r} gives numbers that are not finite in "
                f"{self.dtype}; try float32, less guidance or sound weights."
            )
        return x
