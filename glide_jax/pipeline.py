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

from glide_jax import build, cascade, checks, compiling, images
from glide_jax.diffusion import samplers
from glide_jax.diffusion.schedules import Schedule
from glide_jax.errors import InputError
from glide_jax.options import Options, Progress
from glide_jax.tokenizers import Tokenizer
from glide_jax.types import Cond, Image, TextCond
from glide_jax.version import __version__

DEFAULT_MODEL = "shapes"
DEFAULT_FOLDER = pathlib.Path.home() / ".cache" / "glide_jax"
DTYPES = ("float32", "bfloat16", "float16")


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
    how: dict[str, build.Sampling]  # of each stage that runs, in order

    def rows(self) -> list[tuple[int, int]]:
        """(prompt, index) of every picture; the index counts within its prompt."""
        first, n = self.options.first_index, self.options.n
        return [(p, first + i) for p in range(len(self.prompts)) for i in range(n)]


def load(
    dir_or_name: str | pathlib.Path = DEFAULT_MODEL,
    *,
    dtype: str = "float32",
    cache: str | pathlib.Path | None = DEFAULT_FOLDER,
) -> "Glide":
    """A model ready to draw.

    Args:
        dir_or_name: a model directory, a model in the box ("shapes"), or one in `cache`/models.
        dtype: what networks compute in; parameters, norms and sampling stay float32.
        cache: where compiled programs are kept between runs; None keeps none.

    Raises:
        InputError: there is no such model, or it is broken.
    """
    checks.one_of("dtype", dtype, DTYPES)
    folder = DEFAULT_FOLDER if cache is None else pathlib.Path(cache)
    directory = build.find(str(dir_or_name), folder / "models")
    if cache is not None:
        compiling.enable_cache(folder / "xla")
    return Glide(build.load(directory, dtype), dtype)


class Glide:
    """A loaded cascade: parameters and a tokenizer; every call is a function of its inputs."""

    def __init__(self, loaded: build.Loaded, dtype: str):
        """Takes what `build.load` read."""
        self.loaded, self.dtype = loaded, dtype

    @property
    def parameter_count(self) -> int:
        """Of all stages and the CLIP together."""
        return build.parameter_count(self.loaded.params)

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

    def inpaint(
        self,
        image: PILImage.Image,
        mask: PILImage.Image,
        prompts: str | Sequence[str],
        **options: Any,
    ) -> list[Picture]:
        """Repaints the white part of `mask` in `image` (GLIDE, section 4.3).

        With a model that has no inpainting planes, known pixels only replace every prediction of
        x_0, which joins less well.

        Args:
            image: square, any size; resized to the model's with antialiased bicubic.
            mask: the same size; white is painted anew, black is kept.
            prompts: as in `pictures`.
            options: as in `pictures`.

        Raises:
            InputError: image and mask differ in size or are not square, or the mask is all black.
        """
        planes = self.inpainting_planes(image, mask, upsample=options.get("upsample", True))
        return self(prompts, **options, **planes)

    def inpainting_planes(
        self, image: PILImage.Image, mask: PILImage.Image, *, upsample: bool = True
    ) -> dict[str, np.ndarray]:
        """The options `known` and `mask_known` for a picture and a mask; see `inpaint`."""
        size = self.sizes["upsample" if upsample and "upsample" in self.sizes else "base"]
        known, mask_known = images.prepare_inpainting(image, mask, size)
        return {"known": known, "mask_known": mask_known}

    def _plan(self, prompts: str | Sequence[str], options: dict[str, Any]) -> _Plan:
        texts = [prompts] if isinstance(prompts, str) else list(prompts)
        if not texts:
            raise InputError("there are no prompts; give at least one.")
        o = build.known_fields(Options, options, "the call")
        guidance_scale, clip_scale = o.guidance_scale, o.clip_guidance_scale
        if clip_scale is not None:
            if self.loaded.clip is None:
                raise InputError(f"model {self.loaded.name!r} has no CLIP to guide it.")
            clip_scale = checks.real("clip_guidance_scale", clip_scale, 0.0, 1000.0)
            guidance_scale = 1.0 if guidance_scale is None else guidance_scale
        base = dict(steps=o.steps, sampler=o.sampler, guidance_scale=guidance_scale, eta=o.eta)
        how = {"base": self._sampling("base", base)}
        up = dict(steps=o.upsample_steps, temperature=o.temperature)
        if o.upsample and "upsample" in self.loaded.stages:
            # DDIM would not take up the grain of known pixels; the released notebook changes too.
            up |= {"sampler": "ddpm"} if o.known is not None else {}
            how["upsample"] = self._sampling("upsample", up)
        elif any(value is not None for value in up.values()):
            raise InputError("upsample_steps or temperature is set, but no upsampler runs.")
        o = dataclasses.replace(
            o,
            n=checks.whole("n", o.n, 1, 1_000_000),
            seed=checks.whole("seed", o.seed, 0, 2**32 - 1),
            first_index=checks.whole("first_index", o.first_index, 0, 2**31 - 1),
            batch_size=checks.whole("batch_size", o.batch_size, 1, 4096),
            clip_guidance_scale=clip_scale,
        )
        return _Plan(texts, o, how)

    def _parameters(self, plan: _Plan, prompt: int, index: int) -> dict[str, Any]:
        """All that is needed to draw a picture again."""
        stages = {name: dataclasses.asdict(how) for name, how in plan.how.items()}
        return {
            "glide_jax": __version__,
            "model": self.loaded.name,
            "dtype": self.dtype,
            "prompt": plan.prompts[prompt],
            "seed": plan.options.seed,
            "index": index,
            "clip_guidance_scale": plan.options.clip_guidance_scale,
            "inpainted": plan.options.known is not None,
            **stages,
        }

    def _sampling(self, name: str, given: dict[str, Any]) -> build.Sampling:
        """A stage's defaults with what was given, every value checked."""
        stage, prefix = self.loaded.stages[name], "upsample_" if name == "upsample" else ""
        chosen = {key: value for key, value in given.items() if value is not None}
        how = dataclasses.replace(self.loaded.sampling[name], **chosen)
        steps = how.steps
        if not isinstance(steps, str) or not any(c in steps for c in ",dfab"):
            steps = str(checks.whole(f"{prefix}steps", steps, 1, len(stage.alpha_bar)))
        cascade.schedule_of(stage, steps)  # refuses a respacing that is not possible
        return build.Sampling(
            steps=steps,
            sampler=checks.one_of("sampler", how.sampler, tuple(samplers.STEPS)),
            guidance_scale=checks.real("guidance_scale", how.guidance_scale, -100.0, 100.0),
            eta=checks.real("eta", how.eta, 0.0, 1.0),
            temperature=checks.real("temperature", how.temperature, 0.0, 10.0),
        )

    def _draw(self, plan: _Plan) -> Iterator[Picture]:
        rows = plan.rows()
        size = min(plan.options.batch_size, len(rows))
        texts = {name: self._encode(name, plan.prompts) for name in plan.how}
        guided = plan.options.clip_guidance_scale is not None
        clip = self._encode_clip(plan.prompts) if guided else None
        schedules = {
            name: cascade.schedule_of(self.loaded.stages[name], how.steps)
            for name, how in plan.how.items()
        }
        batches = math.ceil(len(rows) / size)
        for b in range(batches):
            chosen = rows[b * size : (b + 1) * size]
            padded = np.array(chosen + chosen[-1:] * (size - len(chosen)))
            x: Image | None = None
            outs: list[np.ndarray] = []
            for name, schedule in schedules.items():
                steps = int(schedule.num_steps)
                report = _report(plan.options.progress, name, b * steps, batches * steps)
                x = self._stage(name, plan, schedule, texts[name], clip, padded, x, report)
                outs.append(images.to_uint8(np.asarray(x)))
            for k, row in enumerate(chosen):
                pictures = [PILImage.fromarray(out[k]) for out in outs]
                yield Picture(pictures[-1], pictures[0], self._parameters(plan, *row))

    def _stage(
        self,
        name: str,
        plan: _Plan,
        schedule: Schedule,
        texts: tuple[TextCond | None, TextCond | None],
        clip_text: jax.Array | None,
        rows: np.ndarray,
        low_res: Image | None,
        report: cascade.Progress | None,
    ) -> Image:
        """One stage of one batch."""
        stage, how, params = self.loaded.stages[name], plan.how[name], self.loaded.params
        o = plan.options
        prompt, null = texts
        take = lambda tree: jax.tree.map(lambda a: a[rows[:, 0]], tree)
        cond = Cond(text=take(prompt))
        if o.known is not None and o.mask_known is not None:
            planes = images.shrink_known(o.known, o.mask_known, stage.image_size)
            wide = [jnp.broadcast_to(jnp.float32(a), (len(rows), *a.shape)) for a in planes]
            cond = cond._replace(known=wide[0], mask_known=wide[1])
        if low_res is not None:
            cond = cond._replace(low_res=samplers.quantize(low_res))
        guided, target, log_prob = not stage.upsampler, None, None
        if clip_text is not None and self.loaded.clip is not None and not stage.upsampler:
            target = cascade.ClipTarget(params["clip"], take(clip_text))
            log_prob = self.loaded.clip.log_prob
            # CLIP guidance alone has no unconditional half to compute, as in the paper.
            guided = how.guidance_scale != 1.0
        return cascade.run(
            stage,
            params[name],
            cascade.image_keys(o.seed, rows[:, 1], list(plan.how).index(name)),
            cond,
            null if guided else None,
            schedule,
            cascade.Settings(how.guidance_scale, how.eta, o.clip_guidance_scale or 0.0),
            sampler=how.sampler,
            temperature=how.temperature,
            clip=target,
            clip_log_prob=log_prob,
            progress=report,
        )

    def _encode(self, name: str, prompts: list[str]) -> tuple[TextCond | None, TextCond | None]:
        """The conditions of the prompts and of the empty prompt (leading axis 1)."""
        stage, tokenizer = self.loaded.stages[name], self.loaded.tokenizer
        encode = functools.partial(cascade.encode_text, stage.encode, self.loaded.params[name])
        return (
            _batched(encode, tokenizer, prompts, stage.context),
            _batched(encode, tokenizer, [""], stage.context),
        )

    def _encode_clip(self, prompts: list[str]) -> jax.Array:
        clip, tokenizer = self.loaded.clip, self.loaded.clip_tokenizer
        assert clip is not None, "checked by `_plan`"
        assert tokenizer is not None, "read together with the CLIP"
        encode = functools.partial(cascade.encode_text, clip.encode, self.loaded.params["clip"])
        return _batched(encode, tokenizer, prompts, clip.context)


def _batched(encode: Callable, tokenizer: Tokenizer, texts: list[str], context: int) -> Any:
    """Encodes texts eight at a time, or one alone: two shapes, however many there are."""
    size = 1 if len(texts) == 1 else 8
    tokens, mask = tokenizer(texts, context)
    pad = lambda a: np.concatenate([a, np.repeat(a[-1:], -len(texts) % size, axis=0)])
    tokens, mask = pad(tokens), pad(mask)
    parts = [encode(tokens[i : i + size], mask[i : i + size]) for i in range(0, len(tokens), size)]
    return jax.tree.map(lambda *a: jnp.concatenate(a)[: len(texts)], *parts)


def _report(progress: Progress | None, name: str, done: int, total: int):
    """A stage's progress within all batches."""
    return progress and (lambda k, _, x_t: progress(name, done + k, total))
