"""The sheet of samples that a run draws now and then: the same inputs and noise each time."""

import functools
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
from PIL import Image

from glide_jax import checks, contact_sheets, images, provenance
from glide_jax.mesh import hosts
from glide_jax.model_dir import schema
from glide_jax.sampling import cascade, settings, stages
from glide_jax.sampling.running import Running
from glide_jax.training.run import Run
from glide_jax.types import Cond, Params

_FIRST = 8  # pictures of the data, where the config names no prompts


class Sheet:
    """Draws with parameters of the run: guided DDIM of few steps.

    An upsampler or an inpainting model receives its input planes from the first pictures of the
    data; they are shown beside each sample.
    """

    def __init__(self, run: Run):
        log, part = run.config.log, run.config.part
        assert isinstance(part, schema.StageConfig), "a CLIP draws nothing"
        self._stage = stages.stage(part, run.config.train.dtype)
        self._scale = checks.real("log.guidance_scale", log.guidance_scale, -100.0, 100.0)
        steps, grid, eta = settings.parse_steps("log.sample_steps", log.sample_steps), "", 0.0
        if part.distilled:  # which has no other chain
            own = settings.from_config(part.sampling, "config.sampling")
            steps, grid, eta = own.steps, own.grid, own.eta
        self._settings = settings.StageSettings(
            steps, "ddim", grid=grid, eta=eta, guidance_scale=self._scale
        )
        self._seed = run.config.seed
        given = part.model.upsampler or part.model.inpaint
        self.prompts, self._cond = list(log.prompts), Cond()
        if given or not self.prompts:
            self._take(run)
        texts = [*self.prompts, ""]
        self._tokens = run.tokenizer(texts, part.model.text_context)
        self.parameters = dict(
            prompts=self.prompts,
            seed=self._seed,
            guidance_scale=self._scale,
            steps=str(steps),
            sampler="ddim",
        )

    def _take(self, run: Run) -> None:
        """The first pictures of the data as input, their captions as prompts."""
        loader = run.loader(whole=True, workers=0, window=0, batch_size=_FIRST)
        first = next(loader.batches())
        loader.close()
        planes: dict[str, Any] = {name: jnp.asarray(rows[:_FIRST]) for name, rows in first.items()}
        names = ("low_res", "known", "mask_known")
        self._cond = Cond(**{name: planes[name] for name in names if name in planes})
        rows = zip(first["tokens"][:_FIRST], first["mask"][:_FIRST], strict=True)
        self.prompts = [run.tokenizer.decode(ids[real].tolist()) for ids, real in rows]

    def draw(self, params: Params, stopping: Callable[[], bool] | None) -> Image.Image | None:
        """The sheet, or None if `stopping` was true before the end.

        Without `stopping` the chain is one program, which hosts that draw together need: otherwise
        the cuts depend on time.
        """
        n, encode = len(self.prompts), functools.partial(cascade.encode_text, self._stage.encode)
        tokens, mask = self._tokens
        cond = self._cond._replace(text=encode(params, tokens[:n], mask[:n]))
        null = None
        if self._stage.guidance:
            cond = cond._replace(guidance=jnp.full(n, self._scale))
        elif self._scale != 1.0:
            null = encode(params, tokens[n:], mask[n:])
        keys = cascade.image_keys(self._seed, np.arange(n), int(self._stage.upsampler))

        def check(*_: Any) -> None:
            if stopping is not None and stopping():
                raise _Stopped

        try:
            chain = Running(self._stage, cascade.Inputs(params, keys, cond, null), self._settings)
            x_0 = chain.finish(None if stopping is None else check)
        except _Stopped:
            return None
        drawn = [Image.fromarray(pixels) for pixels in images.to_uint8(hosts.whole(x_0))]
        inputs = [plane for plane in (self._cond.low_res, self._cond.known) if plane is not None]
        shown, captions = [], []
        for k, picture in enumerate(drawn):
            shown += [
                *(Image.fromarray(images.to_uint8(np.asarray(a[k]))) for a in inputs),
                picture,
            ]
            captions += [*("given" for _ in inputs), self.prompts[k]]
        return contact_sheets.contact_sheet(shown, captions)

    @property
    def source(self) -> str:
        """Where the sheet's pictures come from, one of `provenance`."""
        given = self._cond.low_res is not None or self._cond.known is not None
        return provenance.COMPOSITE if given else provenance.TRAINED


class _Stopped(Exception):
    """A signal came while a sheet was drawn."""
