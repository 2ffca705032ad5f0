"""A model that draws the shapes set exactly, so that everything behind it can be tested."""

import dataclasses
import types
from typing import Any

import jax.numpy as jnp
import numpy as np
from PIL import Image

from glide_jax.data.readers import shapes
from glide_jax.evaluation.features.extractor import Features


@dataclasses.dataclass
class Picture:
    image: Image.Image
    parameters: dict[str, Any]


class Oracle:
    """Draws a scene of its prompt; counts pictures, and stops before any number of them."""

    def __init__(self, stop_at: int | None = None):
        self.drawn, self.stop_at = 0, stop_at
        base = types.SimpleNamespace(distilled=0)
        self.loaded = types.SimpleNamespace(stages={"base": base})

    def parameters(self, prompts, *, first_index=0, number_on=False, batch_size=1, **options):
        base = {"guidance_scale": 1.0, "sampler": "exact", "steps": "1"}
        base |= {key: float(options[key]) for key in ("guidance_scale",) if key in options}
        return [
            {"model": "oracle", "prompt": prompt, "index": first_index + i * number_on,
             "base": base, "seed": options.get("seed", 0), "batch_size": batch_size}
            for i, prompt in enumerate(prompts)
        ]  # fmt: skip

    def pictures(self, prompts, **options):
        for p in self.parameters(prompts, **options):
            if self.drawn == self.stop_at:
                raise KeyboardInterrupt
            self.drawn += 1
            yield Picture(Image.fromarray(scene(p["prompt"], p["index"])), p)


def scene(caption: str, index: int) -> np.ndarray:
    wanted = shapes.parse(caption)
    rng = np.random.default_rng(index)
    while True:
        drawn = shapes.sample_scene(rng, split="all", kinds=(wanted.kind,))
        if len(drawn.objects) != len(wanted.objects):
            continue
        if (drawn.size, drawn.relation) != (wanted.size, wanted.relation):
            continue
        objects = tuple(
            dataclasses.replace(o, colour=c, shape=s, rgb=shapes.COLOURS[c])
            for o, (c, s) in zip(drawn.objects, wanted.objects, strict=True)
        )
        rgb = shapes.BACKGROUNDS[wanted.background]
        drawn = dataclasses.replace(
            drawn, objects=objects, background=wanted.background, background_rgb=rgb
        )
        return shapes.render(drawn)


def statistics() -> Features:
    """An extractor without weights: means and edges of colours on coarse grids."""

    def apply(params, images):
        x = jnp.asarray(images, jnp.float32) / 255
        edges = jnp.abs(jnp.diff(x, axis=1))[:, :, :-1] + jnp.abs(jnp.diff(x, axis=2))[:, :-1]
        edges = jnp.pad(edges, ((0, 0), (0, 1), (0, 1), (0, 0)))
        b, side = x.shape[:2]
        coarse = lambda a, k: a.reshape(b, k, side // k, k, side // k, 3).mean((2, 4))
        # By place in 2 x 2 blocks, where resizing by the nearest pixel leaves its mark.
        phases = edges.reshape(b, side // 2, 2, side // 2, 2, 3).mean((1, 3))
        parts = [coarse(x, 2), 4 * coarse(edges, 2), 4 * coarse(edges**2, 2), 8 * phases]
        pool = jnp.concatenate([part.reshape(b, -1) for part in parts], 1)
        return pool, coarse(x, 4).reshape(b, -1), pool[:, :5] * 9

    return Features("statistics", "none", 64, {}, apply)
