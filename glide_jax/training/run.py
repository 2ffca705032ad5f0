"""A run's config to what training needs: functions, data, and where everything lies."""

import dataclasses
import functools
import pathlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from glide_jax import checks, compiling, tokenizers
from glide_jax.data import catalogue
from glide_jax.data.example import Source
from glide_jax.data.loader import Loader
from glide_jax.errors import InputError
from glide_jax.mesh import partition
from glide_jax.model_dir import reading, schema
from glide_jax.tokenizers import Tokenizer
from glide_jax.training import init_from, objectives, optim, validity
from glide_jax.training.plan import Plan, plan
from glide_jax.training.step import TrainState
from glide_jax.types import Params


@dataclasses.dataclass(frozen=True)
class Run(Plan):
    """A plan with its data; nothing is on the device yet."""

    tokenizer: Tokenizer
    source: Source
    start: Params | None  # in place of fresh ones, on the host
    whole: reading.Model | None  # the model that `start` is of, if its stages go into the result

    def loader(self, whole: bool = False, **changes: Any) -> Loader:
        """The data; step k's batch is a function of the seed and k.

        Args:
            whole: every host reads all rows, and not those of its devices alone.
            **changes: of the options.
        """
        options = dataclasses.replace(self.options, **changes)
        rows = None if whole else partition.local_rows(self.mesh, options.batch_size)
        return Loader(self.source, self.tokenizer, self.model.text_context, options, rows)

    def batches(self, loader: Loader, step: int) -> Iterator[objectives.Batch]:
        """The batches after step `step`, each on its way to the device before it is asked for."""
        ahead, size = None, self.options.batch_size
        for arrays in loader.batches(step):
            placed: dict[str, Any] = partition.put_batch(arrays, self.mesh, size)
            batch = objectives.Batch(**placed)
            if ahead is not None:
                yield ahead
            ahead = batch

    def begin(self) -> TrainState:
        """The state before the first step, on the mesh."""
        places = jax.tree.map(lambda x: x.sharding, self.state_like)
        if self.start is not None:
            return jax.jit(self.create, out_shardings=places)(
                partition.shard_state(self.start, self.mesh, self.min_size)
            )
        fresh = jax.jit(
            lambda key: self.create(self.fresh(key)),
            out_shardings=places,
            compiler_options=compiling.options(),
        )
        return fresh(jax.random.key(self.config.seed))

    def resumed(self, state: TrainState) -> TrainState:
        """A restored state under the config's learning rate, which may be another by now."""
        rate = partition.shard_state(self.lr, self.mesh)
        return state._replace(opt_state=optim.with_rate(state.opt_state, rate))

    @functools.cached_property
    def key(self) -> jax.Array:
        """Of all noise, whole on every device."""
        # Made there and not put there, since a mesh may have devices of other hosts.
        make = jax.jit(jax.random.key, out_shardings=partition.replicated(self.mesh))
        return make(self.config.seed)

    def compile(self) -> "Compiled":
        """The compiled step, and what it costs."""
        compiled = self.lower(compiling.options()).compile()
        memory = compiled.memory_analysis()
        temporary = getattr(memory, "temp_size_in_bytes", 0) or 0
        return Compiled(compiled, self.flops(), temporary)


class Compiled(NamedTuple):
    """A step that is ready to run."""

    step: Callable[..., Any]  # (state, batch, key), whose state is donated
    flops: float  # of all devices: three times the loss's, whatever is computed again
    temporary: int  # bytes a device needs besides the state and the batch


def prepare_run(
    config: ConfigDict,
    tokenizer: Tokenizer | None = None,
    cache: pathlib.Path | None = None,
) -> Run:
    """A config's functions, data and places.

    Args:
        config: as `read_config` gives.
        tokenizer: that the run began with; None makes one, which may mean to train it.
        cache: the folder whose models/ and data/ hold what is named without a path.

    Raises:
        InputError: a field's value is not possible, the data is not there, or the model to start
            from is another.
    """
    validity.check(config)
    whole = None
    if config.train.init_from:
        whole = reading.read_model(
            reading.find_model(config.train.init_from, (cache or pathlib.Path()) / "models")
        )
    part = validity.part_of(config)
    model = part.model if isinstance(part, schema.StageConfig) else part
    source = catalogue.open_source(
        config.data.source,
        path=config.data.path,
        split=config.data.split,
        kinds=config.data.kinds,
        image_size=model.image_size,
        seed=config.seed,
        data_dir=None if cache is None else cache / "data",
    )
    if tokenizer is None:
        tokenizer = _tokenizer(config, source, whole)
    if tokenizer.vocab_size > model.vocab_size:
        raise InputError(
            f"model.vocab_size is {model.vocab_size}; it must be at least the tokenizer's "
            f"{tokenizer.vocab_size}."
        )
    null_tokens = jnp.asarray(tokenizer([""], model.text_context).tokens[0])
    planned = plan(config, null_tokens)
    start = None
    if whole is not None:
        start = init_from.parameters(config, part, whole, planned.fresh)
        if init_from.has_new_words(config):
            whole = None  # its other parts know other words
    fields = {field.name: getattr(planned, field.name) for field in dataclasses.fields(planned)}
    return Run(**fields, tokenizer=tokenizer, source=source, start=start, whole=whole)


def _tokenizer(config: ConfigDict, source: Source, whole: reading.Model | None) -> Tokenizer:
    kind, size = config.tokenizer.kind, config.tokenizer.vocab_size
    keeps = config.objective != "clip" and not init_from.has_new_words(config)
    if whole is not None and keeps:
        return whole.tokenizer
    checks.one_of("tokenizer.kind", kind, ("glide", "clip", "sentencepiece"))
    if kind == "sentencepiece":
        return tokenizers.SentencePiece.train(catalogue.captions_in(source), size)
    return tokenizers.GlideBPE() if kind == "glide" else tokenizers.ClipBPE()
