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
from glide_jax.tokenizers.protocol import check_text
from glide_jax.types import Cond, Image
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
    if dtype == "float16" and jax.default_backend() == "cpu":
        raise InputError("dtype is 'float16', which JAX lacks on a CPU; use float32 or bfloat16.")
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
            **options: as in `pictures`.

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
        for text in texts:
            check_text(text)
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
        if o.known is not None or o.mask_known is not None:
            side = self.sizes[list(how)[-1]]
            images.check_planes(o.known, o.mask_known, side)
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
        if not isinstance(steps, str) or len(steps) > 99 or not any(c in steps for c in ",dfab"):
            steps = str(checks.whole(f"{prefix}steps", steps, 1, len(stage.alpha_bar)))
        if given.get("eta") is not None and how.sampler != "ddim":
            raise InputError(f"eta is {how.eta!r}, but only the sampler ddim knows it.")
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
        encode = self._encoder(plan, size)
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
                x = self._stage(name, plan, schedule, encode, padded, x, report)
                outs.append(images.to_uint8(self._finite(name, np.asarray(x))))
            for k, row in enumerate(chosen):
                pictures = [PILImage.fromarray(out[k]) for out in outs]
                yield Picture(pictures[-1], pictures[0], self._parameters(plan, *row))

    def _stage(
        self,
        name: str,
        plan: _Plan,
        schedule: Schedule,
        encode: Callable[[str, int], Any],
        rows: np.ndarray,
        low_res: Image | None,
        report: cascade.Progress | None,
    ) -> Image:
        """One stage of one batch."""
        stage, how, params = self.loaded.stages[name], plan.how[name], self.loaded.params
        o = plan.options
        join = lambda *parts: jax.tree.map(lambda *a: jnp.concatenate(a), *parts)
        cond = Cond(text=join(*(encode(name, p) for p in rows[:, 0])))
        if o.known is not None and o.mask_known is not None:
            planes = images.shrink_known(o.known, o.mask_known, stage.image_size)
            wide = [jnp.broadcast_to(jnp.float32(a), (len(rows), *a.shape)) for a in planes]
            cond = cond._replace(known=wide[0], mask_known=wide[1])
        if low_res is not None:
            cond = cond._replace(low_res=samplers.quantize(low_res))
        guided, target, log_prob = not stage.upsampler, None, None
        guided_by_clip = o.clip_guidance_scale is not None and not stage.upsampler
        if guided_by_clip and self.loaded.clip is not None:
            embeddings = join(*(encode("clip", p) for p in rows[:, 0]))
            target = cascade.ClipTarget(params["clip"], embeddings)
            log_prob = self.loaded.clip.log_prob
            # CLIP guidance alone has no unconditional half to compute, as in the paper.
            guided = how.guidance_scale != 1.0
        return cascade.run(
            stage,
            params[name],
            cascade.image_keys(o.seed, rows[:, 1], list(plan.how).index(name)),
            cond,
            encode(name, len(plan.prompts)) if guided else None,
            schedule,
            cascade.Settings(how.guidance_scale, how.eta, o.clip_guidance_scale or 0.0),
            sampler=how.sampler,
            temperature=how.temperature,
            clip=target,
            clip_log_prob=log_prob,
            progress=report,
        )

    def _encoder(self, plan: _Plan, batch_size: int) -> Callable[[str, int], Any]:
        """A function from a stage (or "clip") and a prompt's number to its condition.

        The number after the last is the empty prompt. Each is encoded alone (leading axis 1), so
        that a picture does not depend on its neighbours' prompts, and only as many are kept as
        one batch needs: the released base has 20 MB of keys and values for each.
        """
        encoders: dict[str, tuple[Callable[..., Any], int]] = {
            name: (self.loaded.stages[name].encode, self.loaded.stages[name].context)
            for name in plan.how
        }
        tokenizers = dict.fromkeys(encoders, self.loaded.tokenizer)
        if plan.options.clip_guidance_scale is not None:
            clip, tokenizer = self.loaded.clip, self.loaded.clip_tokenizer
            assert clip is not None, "checked by `_plan`"
            assert tokenizer is not None, "read together with the CLIP"
            encoders["clip"], tokenizers["clip"] = (clip.encode, clip.context), tokenizer
        # All at once and first, so that a bad prompt is refused before anything is drawn.
        tokens = {
            name: tokenizers[name]([*plan.prompts, ""], context)
            for name, (_, context) in encoders.items()
        }

        @functools.lru_cache(maxsize=len(encoders) * (batch_size + 1))
        def encode(name: str, p: int) -> Any:
            ids, mask = (array[p : p + 1] for array in tokens[name])
            return cascade.encode_text(encoders[name][0], self.loaded.params[name], ids, mask)

        return encode

    def _finite(self, name: str, x: np.ndarray) -> np.ndarray:
        if not np.isfinite(x).all():
            raise InputError(
                f"the {name} network of {self.loaded.name!r} gives numbers that are not finite in "
                f"{self.dtype}; try float32, less guidance or sound weights."
            )
        return x


def _report(progress: Progress | None, name: str, done: int, total: int):
    """A stage's progress within all batches."""
    return progress and (lambda k, _, x_t: progress(name, done + k, total))
