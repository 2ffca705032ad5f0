"""A model without its weights, which for the released sizes take many seconds: it checks calls."""

import dataclasses
import pathlib
from collections.abc import Sequence

from glide_jax import compiling
from glide_jax.model_dir import reading
from glide_jax.sampling import loading
from glide_jax.sampling.call import Call
from glide_jax.sampling.request import plan


@dataclasses.dataclass(frozen=True)
class Outline:
    """A model of which all but the weights is read.

    Attributes:
        loaded: the model, without parameters.
        models: the folder of other models by name.
    """

    loaded: loading.Loaded
    models: pathlib.Path

    def check(self, prompts: str | Sequence[str], call: Call) -> None:
        """Refuses what the whole model would refuse.

        Raises:
            InputError: a value is wrong, or means nothing to this model.
        """
        other = lambda name: read_outline(name, self.models, self.loaded.dtype).loaded
        plan(self.loaded, prompts, call, other, lambda: 1)


def read_outline(
    dir_or_name: str | reading.Model,
    models: pathlib.Path,
    dtype: str = "float32",
    *,
    exported: bool = False,
) -> Outline:
    """A model without its weights.

    Args:
        dir_or_name: see `glide.load`.
        models: the folder of models by name.
        dtype: see `glide.load`.
        exported: whether a program is to be used.

    Raises:
        InputError: there is no such model, or its config is broken.
    """
    compiling.check_dtype(dtype)
    source = dir_or_name
    if not isinstance(source, reading.Model):
        source = reading.find_model(source, models)
    return Outline(loading.outline(source, dtype, exported=exported), models)
