"""A run's config to a plan with its data, its tokenizer and its start."""

import dataclasses
import functools
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from glide_jax import checks, compiling, files, tokenizers
from glide_jax.data import catalogue
from glide_jax.data.example import Source
from glide_jax.data.loader import Loader
from glide_jax.data.readers import emoji_views
from glide_jax.errors import InputError
from glide_jax.mesh import partition
from glide_jax.model_dir import reading
from glide_jax.model_dir.schema import StageConfig
from glide_jax.tokenizers import Tokenizer
from glide_jax.training import init_from, objectives, optim, perceptual
from glide_jax.training.config import TrainConfig
from glide_jax.training.plan import Plan, make_plan
from glide_jax.training.step import TrainState
from glide_jax.types import Params


class MissingInput(InputError):
    """The data, or the model to start from, is not there or cannot be read."""


@dataclasses.dataclass(frozen=True)
class Run:
    """A plan with its data; nothing is on the device yet."""

    plan: Plan
    tokenizer: Tokenizer
    source: Source
    start: Params | None  # in place of fresh ones, on the host
    whole: reading.Model | None  # the model that `start` is of, if its stages go into the result
    teacher: Params | None = None  # a student's, on the host

    @property
    def config(self) -> TrainConfig:
        """The plan's config."""
        return self.plan.config

    def loader(self, whole: bool = False, **changes: Any) -> Loader:
        """The data; step k's batch is a function of the seed and k.

        Args:
            whole: every host reads all rows, and not those of its devices alone.
            **changes: fields of the config's `batches` to change.
        """
        options = dataclasses.replace(self.config.batches, **changes)
        rows = None if whole else partition.local_rows(self.plan.mesh, options.batch_size)
        return Loader(self.source, self.tokenizer, self.config.model.text_context, options, rows)

    def batches(self, loader: Loader, step: int) -> Iterator[objectives.Batch]:
        """The batches after step `step`; putting one on the device waits for nothing."""
        size = self.config.batches.batch_size
        for arrays in loader.batches(step):
            placed: dict[str, Any] = partition.put_batch(arrays, self.plan.mesh, size)
            yield objectives.Batch(**placed)

    def begin(self) -> TrainState:
        """The state before the first step, on the mesh."""
        plan = self.plan
        places = jax.tree.map(lambda x: x.sharding, plan.state_like)
        if self.start is not None:
            start = partition.shard_state(self.start, plan.mesh, plan.min_size)
            return jax.jit(plan.create, out_shardings=places)(start)
        fresh = jax.jit(
            lambda key: plan.create(plan.fresh(key)),
            out_shardings=places,
            compiler_options=compiling.options(),
        )
        return fresh(jax.random.key(self.config.seed))

    def taught(self, step: Callable[..., Any]) -> Callable[..., Any]:
        """A compiled step as (state, batch, key), with the teacher's parameters on the mesh."""
        if self.teacher is None:
            return step
        teacher = partition.shard_state(self.teacher, self.plan.mesh, self.plan.min_size)
        return lambda *args: step(*args, teacher)

    def resumed(self, state: TrainState) -> TrainState:
        """A restored state under the config's learning rate, which may be another by now."""
        opt_state = optim.with_rate(state.opt_state, self.plan.lr, self.plan.mesh)
        return state._replace(opt_state=opt_state)

    @functools.cached_property
    def key(self) -> jax.Array:
        """The key of all noise, whole on every device."""
        # Made there and not put there, since a mesh may have devices of other hosts.
        make = jax.jit(jax.random.key, out_shardings=partition.replicated(self.plan.mesh))
        return make(np.uint32(self.config.seed))  # a plain int would have to fit int32


def prepare_run(
    config: TrainConfig,
    tokenizer: Tokenizer | None = None,
    cache: pathlib.Path | None = None,
) -> Run:
    """A config's functions, data and places.

    Args:
        config: the run's.
        tokenizer: the one that the run began with; None makes one, which may mean to train it.
        cache: the folder whose models/ and data/ hold what is named without a path.

    Raises:
        InputError: a field's value is not possible, the data is not there, or the model to start
            from is another.
    """
    whole, source = _start_model(config, cache), _source(config, cache)
    if config.data.styles:
        source = emoji_views.Named(source)
    if tokenizer is None:
        tokenizer = _tokenizer(config, source, whole)
    teacher, taught_by = None, None
    if config.distill.what:
        teacher, taught_by = init_from.teacher_of(config, whole)
    plan = _plan(config, tokenizer, cache, teacher)
    start = None
    if whole is not None:
        start = init_from.starting_parameters(config, whole, plan.fresh)
        if init_from.has_new_words(config):
            whole = None  # its other parts know other words
    return Run(plan, tokenizer, source, start, whole, taught_by)


def plan_without_data(config: TrainConfig, cache: pathlib.Path | None = None) -> Plan:
    """The plan of a run whose data or start are not there, and whose shapes are the config's.

    Args:
        config: the run's.
        cache: see `prepare_run`.

    Raises:
        InputError: a field's value is not possible.
    """
    data = config.data
    catalogue.check_source(data.source, data.path, data.kinds)
    fixed = config.tokenizer.kind != "sentencepiece"  # which is trained on the captions
    return _plan(config, _tokenizer(config, None, None) if fixed else None, cache)


def _start_model(config: TrainConfig, cache: pathlib.Path | None) -> reading.Model | None:
    if not config.train.init_from:
        return None
    try:
        found = reading.find_model(config.train.init_from, (cache or pathlib.Path()) / "models")
    except InputError as error:
        raise MissingInput(str(error)) from None
    return reading.read_model(found)


def _source(config: TrainConfig, cache: pathlib.Path | None) -> Source:
    data = config.data
    catalogue.check_source(data.source, data.path, data.kinds)
    try:
        return catalogue.open_source(
            data.source,
            path=data.path,
            split=data.split,
            kinds=data.kinds,
            image_size=config.model.image_size,
            seed=config.seed,
            data_dir=None if cache is None else cache / "data",
        )
    except InputError as error:
        if data.source == catalogue.ENDLESS:  # which reads nothing that could be missing
            raise
        raise MissingInput(str(error)) from None


def _plan(
    config: TrainConfig,
    tokenizer: Tokenizer | None,
    cache: pathlib.Path | None,
    teacher: StageConfig | None = None,
) -> Plan:
    """The plan; without a tokenizer, whose ids are no shapes, all tokens of "" are 0."""
    model = config.model
    if tokenizer is not None and tokenizer.vocab_size > model.vocab_size:
        raise InputError(
            f"model.vocab_size is {model.vocab_size}; it must be at least the tokenizer's "
            f"{tokenizer.vocab_size}."
        )
    perceive = None
    if config.stage != "clip" and config.diffusion.perceptual_weight:
        folder = files.expanded(catalogue.DATA_DIR) if cache is None else cache / "data"
        perceive = perceptual.load_teacher(folder)
    null_tokens = jnp.zeros(model.text_context, jnp.int32)
    if tokenizer is not None:
        null_tokens = jnp.asarray(tokenizer([""], model.text_context).tokens[0])
    return make_plan(config, null_tokens, perceive=perceive, teacher=teacher)


def _tokenizer(
    config: TrainConfig, source: Source | None, whole: reading.Model | None
) -> Tokenizer:
    kind, size = config.tokenizer.kind, config.tokenizer.vocab_size
    if whole is not None and config.stage != "clip" and not init_from.has_new_words(config):
        return whole.tokenizer
    checks.one_of("tokenizer.kind", kind, ("glide", "clip", "sentencepiece"))
    if kind == "sentencepiece" and source is not None:
        return tokenizers.SentencePiece.train(catalogue.captions_in(source), size)
    return tokenizers.GlideBPE() if kind == "glide" else tokenizers.ClipBPE()
