"""Glide: the cascade as a person calls it. Prompts in, pictures out."""

import functools
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
from PIL import Image as PILImage

from glide_jax import checks, compiling, files
from glide_jax.model_dir import reading
from glide_jax.sampling import canvas, edits, given, loading, memory, notes, repeating
from glide_jax.sampling.batches import Batches, Piece
from glide_jax.sampling.call import Call, Progress, parse
from glide_jax.sampling.picture import Picture
from glide_jax.sampling.request import Request, plan

DEFAULT_MODEL = "shapes"
DEFAULT_FOLDER = pathlib.Path("~/.cache/glide_jax")


@compiling.in_usual_numbers
def load(
    dir_or_name: str | pathlib.Path | reading.Model = DEFAULT_MODEL,
    *,
    dtype: str = "float32",
    convolutions: str = "auto",
    program: str | pathlib.Path | None = None,
    offload: bool = False,
    weights: str = "float32",
    device: Any = None,
    cache: str | pathlib.Path | None = DEFAULT_FOLDER,
) -> "Glide":
    """A model ready to draw.

    Args:
        dir_or_name: a directory, a name (in the box, or in `cache`/models), or a model in memory.
        dtype: what networks compute in; norms and sampling stay float32.
        convolutions: direct, winograd2 or winograd4; auto is the fastest (docs/performance.md).
        program: a file of `glide-jax export-program` for this model, which spares tracing.
        offload: keep parameters on the host, but those of the stage that draws: less memory.
        weights: float32; or bfloat16, int8 or float8_e4m3fn: fewer bytes, less exact pictures.
        device: cpu, gpu, tpu or one of JAX's devices; None is the best that JAX finds.
        cache: where compiled programs are kept between runs; None keeps none.

    Raises:
        InputError: there is no such model, or it is broken.
    """
    place = loading.device_of(device, dtype)
    folder = files.expanded(DEFAULT_FOLDER if cache is None else cache)
    ready = isinstance(dir_or_name, reading.Model)
    source = dir_or_name if ready else reading.find_model(str(dir_or_name), folder / "models")
    if cache is not None:
        compiling.enable_cache(folder / "xla")
    path = None if program is None else files.expanded(program)
    how: Any = {"program": path, "offload": offload, "weights": weights, "device": place}
    loaded = loading.load(source, dtype, convolutions, **how)
    return Glide(loaded, folder / "models", None if ready else str(dir_or_name))


class Glide:
    """A loaded cascade: parameters and a tokenizer; every call is a function of its inputs."""

    def __init__(
        self,
        loaded: loading.Loaded,
        models: pathlib.Path = DEFAULT_FOLDER / "models",
        path: str | None = None,
    ):
        """Takes a model, the folder of other models by name, and the path this was read from."""
        self.loaded, self._path = loaded, path
        dtype, device = loaded.dtype, loaded.device
        other = lambda name: loading.load(reading.find_model(name, models), dtype, device=device)
        self._fitting = functools.cache(self.largest_batch)  # for "auto", the same in every call
        place = lambda name: jax.device_put(loaded.params[name], device)  # stays where it is there
        self._placed = functools.lru_cache(maxsize=1)(place)
        self._other: Callable[[str], loading.Loaded] = functools.lru_cache(maxsize=2)(other)

    def __repr__(self) -> str:
        """Name, parameters and sizes."""
        sizes = ", ".join(f"{name} {size}" for name, size in self.sizes.items())
        millions = self.parameter_count / 1e6
        return f"<Glide {self.loaded.name!r}: {millions:.1f} M parameters, {sizes} pixels a side>"

    @property
    def parameter_count(self) -> int:
        """The parameters of all stages and the CLIP together."""
        return self.loaded.parameter_count

    @property
    def sizes(self) -> dict[str, int]:
        """Pixels a side of each stage's pictures."""
        return {name: stage.image_size for name, stage in self.loaded.stages.items()}

    def __call__(self, prompts: str | Sequence[str], **options: Any) -> list[Picture]:
        """Pictures of prompts: those of `pictures`, as a list.

        >>> [picture] = load()("a large red circle on a white background")
        >>> picture.save("circle.png")
        """
        return list(self.pictures(prompts, **options))

    @compiling.in_usual_numbers
    def pictures(
        self, prompts: str | Sequence[str], call: Call | None = None, **options: Any
    ) -> Iterator[Picture]:
        """Draws pictures of each prompt, batch by batch (GLIDE, section 2).

        Args:
            prompts: one or several; "" draws without one.
            call: parsed options, over which the others go.
            **options: fields of `call.Call` and `settings.StageSettings`; `steps`, `sampler` and
                `grid` of the upsampler begin with `upsample_`.

        Raises:
            InputError: a value is wrong; raised when the first picture is asked for.
        """
        request = self._plan(prompts, call, options)
        notes.warn_outside(self.loaded, [*request.prompts, *dict(request.call.mix)])
        for item in self._items(request):
            if isinstance(item, Picture):
                yield item
            else:
                item.chain.finish(item.progress)

    @compiling.in_usual_numbers
    def begin(
        self, prompts: str | Sequence[str], call: Call | None = None, **options: Any
    ) -> Iterator[Piece | Picture]:
        """The chains and pictures of `pictures`, for a caller that runs the chains itself.

        Each `Piece` holds a chain at its start, which is to be finished before the next item is
        taken: in one go, or a few steps at a time with others' steps between, as a service does.

        Args:
            prompts: see `pictures`.
            call: see `pictures`.
            **options: see `pictures`.

        Raises:
            InputError: a value is wrong; raised when the first item is taken.
        """
        yield from self._items(self._plan(prompts, call, options))

    def _items(self, request: Request) -> Iterator[Piece | Picture]:
        for item in Batches(self.loaded, self._placed, request).walk():
            if isinstance(item, Piece):
                yield item
                continue
            stages = [PILImage.fromarray(pixels) for pixels in item.stages]
            parameters = request.parameters(self.loaded, self._path, item.row)
            if item.choice is not None:
                parameters["choice"] = item.choice
            yield Picture(request.call.edit.finish(stages[-1]), stages[0], parameters)

    @compiling.in_usual_numbers
    def parameters(
        self, prompts: str | Sequence[str], call: Call | None = None, **options: Any
    ) -> list[dict[str, Any]]:
        """The `Picture.parameters` that `pictures` would give, without drawing."""
        request = self._plan(prompts, call, options)
        return [request.parameters(self.loaded, self._path, row) for row in request.rows]

    def _plan(
        self, prompts: str | Sequence[str], call: Call | None, options: Mapping[str, Any]
    ) -> Request:
        return plan(self.loaded, prompts, parse(options, call), self._other, self._fitting)

    @compiling.in_usual_numbers
    def largest_batch(self, most: int = 64) -> int:
        """How many pictures at once fit the device's free memory: a power of two, at most `most`.

        The compiler is asked, once a model: with an empty cache that is two programs a stage.
        """
        free, _ = memory.free(self.loaded.device)
        return memory.largest_batch(self.loaded, checks.whole("most", most, 1, 4096), free)

    @compiling.in_usual_numbers
    def inpaint(
        self,
        image: given.PictureLike,
        mask: given.PictureLike | None,
        prompts: str | Sequence[str],
        *,
        extend: Sequence[int] | str = (0, 0, 0, 0),
        strength: float | str = 1.0,
        repeats: int | str = 1,
        jump: int | str | None = None,
        margin: float | str = edits.AUTO,
        **options: Any,
    ) -> list[Picture]:
        """Repaints the white part of a mask in a picture of any size (GLIDE, section 4.3).

        A square around what is painted is drawn at the model's size and put back; every pixel
        where the mask is black stays as it is, so a result can be the next call's picture.

        A model without inpainting planes paints too: known pixels replace every prediction of x_0.
        That joins less well; `repeats` of 5 to 10 help, and cost as many times the steps.

        Args:
            image: a picture of any size: Pillow's, ours, a path or an array. The result has its
                transparency, colour profile, EXIF record and texts.
            mask: one as large; white is painted, black is kept, grey is blended; docs/editing.md
                names what else is understood. None with `extend`.
            prompts: see `pictures`.
            extend: pixels to add at the left, top, right and bottom (outpainting), or "0,0,64,0".
            strength: below 1, painting starts from the pixels that are there, such as a sketch.
            repeats: how often each stretch of steps is walked (Lugmayr et al., 2022, RePaint).
            jump: steps of a stretch; 10 if not given, and only with `repeats`.
            margin: context on each side of the hole that the model sees, in parts of the hole's
                longer side, 0 to 8. By default the window is no smaller than the model's
                pictures; with a margin a small hole is drawn enlarged.
            **options: see `pictures`.

        Raises:
            InputError: image and mask differ in size, or there is nothing to paint.
        """
        edits.check_repeats(repeats, jump)
        edit = edits.inpainting(
            self.loaded, image, mask, extend=extend, strength=strength, repeats=repeats, jump=jump,
            margin=margin, upsample=options.get("upsample", True),
        )  # fmt: skip
        return self(prompts, edit=edit, **options)

    @compiling.in_usual_numbers
    def edit(
        self,
        image: given.PictureLike,
        prompts: str | Sequence[str],
        *,
        strength: float | str = 0.6,
        mask: given.PictureLike | None = None,
        **options: Any,
    ) -> list[Picture]:
        """Draws prompts from a picture, such as a photo or a coloured sketch (Meng et al., 2022).

        The picture is noised and drawn from there, at every stage of the cascade (SDEdit,
        algorithm 1). With a mask only its white part changes, as in GLIDE's figure 4; see
        `inpaint`.

        Args:
            image: see `inpaint`; without a mask its shorter side becomes the model's size.
            prompts: see `pictures`.
            strength: above 0 to 1; small keeps the picture, 1 leaves nothing of it.
            mask: see `inpaint`.
            **options: see `pictures`.

        Raises:
            InputError: a value is wrong, or the picture is more than 4 times as long as wide.
        """
        upsample = options.get("upsample", True)
        edit = edits.redrawing(self.loaded, image, mask, strength=strength, upsample=upsample)
        return self(prompts, edit=edit, **options)

    def vary(
        self,
        image: given.PictureLike,
        prompts: str | Sequence[str] = "",
        *,
        strength: float | str = 0.5,
        **options: Any,
    ) -> list[Picture]:
        """Variations of a picture: `edit`, 4 of them unless `n` is given.

        Args:
            image: see `edit`.
            prompts: see `pictures`; "" leaves open what the picture shows.
            strength: see `edit`.
            **options: see `pictures`.
        """
        return self.edit(image, prompts, strength=strength, **{"n": 4, **options})

    @compiling.in_usual_numbers
    def upscale(
        self, image: given.PictureLike, prompts: str | Sequence[str] = "", **options: Any
    ) -> list[Picture]:
        """Enlarges any picture by the model's upsampler.

        A picture larger than the base's is worked on in windows that overlap by a quarter and are
        averaged at every step, so that they are one picture; `batch_size` windows run at once.

        Args:
            image: see `inpaint`.
            prompts: what it shows; "" leaves that open.
            **options: see `pictures`; those of the base are refused.

        Raises:
            InputError: the model has no upsampler, or the result would be too large.
        """
        return self(prompts, edit=edits.upscaling(self.loaded, image), **options)

    @compiling.in_usual_numbers
    def interpolate(
        self,
        first: str,
        last: str,
        *,
        frames: int | str = 8,
        to_seed: int | str | None = None,
        **options: Any,
    ) -> list[Picture]:
        """Pictures on the way from one prompt to another, and from one seed to another.

        Prompts go along the arc between their encodings, starting noise along the arc between the
        two seeds' noise (Ho et al., 2020, section 4.3, does so in x_t). Noise of later steps is
        the first seed's, so with a sampler that needs none (the default here is ddim with eta 0)
        both ends are the pictures that the prompts draw alone.

        Args:
            first: the prompt of the first picture.
            last: the prompt of the last picture.
            frames: number of pictures, at least 2.
            to_seed: the last picture's seed, if not the first's.
            **options: see `pictures`; `n` is 1.

        Raises:
            InputError: a value is wrong.
        """
        call = edits.interpolating(
            self.loaded, parse(options), (first, last), frames=frames, to_seed=to_seed
        )
        return list(self.pictures([first, last], call))

    def repeat(
        self,
        parameters: Mapping[str, Any],
        *,
        image: given.PictureLike | None = None,
        mask: given.PictureLike | None = None,
        progress: Progress | None = None,
    ) -> Picture:
        """Draws a picture again from its parameters, bit for bit on the same kind of device.

        Args:
            parameters: `Picture.parameters` of a picture of this model, or read from its PNG.
            image: the picture that went in, if one did; by default it is read from where it lay.
            mask: its mask, likewise.
            progress: called with a stage's name, its steps done and its steps in all.

        Raises:
            InputError: something that went in is missing or differs, or the parameters are not
                whole.
        """
        prompts, call = repeating.repetition(self.loaded, parameters, image, mask)
        repeating.check_same(self.loaded, self.parameters(prompts, call)[0], parameters)
        drawing = self.pictures(prompts, call, progress=progress)
        frames = [next(drawing)] if call.edit.weights is None else list(drawing)
        whole = canvas.strip([frame.image for frame in frames])
        return Picture(whole, frames[0].small, dict(parameters))
