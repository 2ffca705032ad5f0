"""A run's config to what training needs: functions, data, and where everything lies."""

import dataclasses
import functools
import pathlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from glide_jax import checks, compiling, sharding, tokenizers
from glide_jax.build import models, starting, validity
from glide_jax.data.example import Source
from glide_jax.data.pipeline import DataOptions, Loader
from glide_jax.data.sources import catalogue
from glide_jax.diffusion import schedules
from glide_jax.errors import InputError
from glide_jax.models import zoo
from glide_jax.tokenizers import Tokenizer
from glide_jax.training import clip_objective, flops, objectives, optim
from glide_jax.training.step import TrainState, train_step
from glide_jax.types import Loss, Params


@dataclasses.dataclass(frozen=True)
class Run:
    """All that a config decides; nothing is on the device yet."""

    config: ConfigDict
    part: models.StageConfig | zoo.ClipConfig  # what is trained, as config.json tells it
    tokenizer: Tokenizer
    source: Source
    options: DataOptions
    mesh: jax.sharding.Mesh
    loss_fn: Loss
    lr: Callable[[Any], Any]  # of the number of updates
    tx: Any
    fresh: Callable[[jax.Array], Params]  # parameters of a key
    create: Callable[[Params], TrainState]
    start: Params | None  # in place of fresh ones, on the host
    whole: models.Model | None  # the model that `start` is of, with its other stages

    @property
    def model(self) -> zoo.ModelConfig | zoo.ClipConfig:
        """The network's config."""
        return self.part.model if isinstance(self.part, models.StageConfig) else self.part

    @property
    def stage(self) -> str:
        """What part of a model directory the run makes: base, upsample or clip."""
        if isinstance(self.model, zoo.ClipConfig):
            return "clip"
        return "upsample" if self.model.upsampler else "base"

    def loader(self, **changes: Any) -> Loader:
        """The data; step k's batch is a function of the seed and k."""
        return Loader(
            self.source,
            self.tokenizer,
            self.model.text_context,
            dataclasses.replace(self.options, **changes),
            process_index=jax.process_index(),
            process_count=jax.process_count(),
        )

    def batches(self, loader: Loader, step: int) -> Iterator[objectives.Batch]:
        """The batches after step `step`, each on its way to the device before it is asked for."""
        ahead = None
        for arrays in loader.batches(step):
            placed: dict[str, Any] = sharding.put_batch(arrays, self.mesh)
            batch = objectives.Batch(**placed)
            if ahead is not None:
                yield ahead
            ahead = batch

    @functools.cached_property
    def state_like(self) -> TrainState:
        """The state's shapes and places."""
        like = jax.eval_shape(lambda key: self.create(self.fresh(key)), jax.random.key(0))
        places = sharding.shardings(like, self.mesh)
        put = lambda x, place: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place)
        return jax.tree.map(put, like, places)

    def begin(self) -> TrainState:
        """The state before the first step, on the mesh."""
        places = jax.tree.map(lambda x: x.sharding, self.state_like)
        if self.start is not None:
            return jax.jit(self.create, out_shardings=places)(
                sharding.shard_state(self.start, self.mesh)
            )
        fresh = jax.jit(
            lambda key: self.create(self.fresh(key)),
            out_shardings=places,
            compiler_options=compiling.options(),
        )
        return fresh(jax.random.key(self.config.seed))

    @functools.cached_property
    def batch_like(self) -> objectives.Batch:
        """A batch's shapes and places."""
        o, n = self.options, self.model.text_context
        place = sharding.batch_sharding(self.mesh)
        rows: Callable[..., Any] = lambda dtype, *shape: jax.ShapeDtypeStruct(
            (o.batch_size, *shape), dtype, sharding=place
        )
        small = o.side // o.scale
        image = rows(jnp.float32, o.side, o.side, 3)
        return objectives.Batch(
            image=image,
            tokens=rows(jnp.int32, n),
            mask=rows(jnp.bool_, n),
            low_res=rows(jnp.float32, small, small, 3) if o.low_res else None,
            known=image if o.masks else None,
            mask_known=rows(jnp.float32, o.side, o.side, 1) if o.masks else None,
        )

    @functools.cached_property
    def key(self) -> jax.Array:
        """Of all noise, whole on every device."""
        return jax.device_put(
            jax.random.key(self.config.seed), sharding.replicated(self.mesh)
        )  # fmt: skip

    def compile(self) -> "Compiled":
        """The compiled step, and what it costs."""
        config = self.config
        step = functools.partial(
            train_step,
            loss_fn=self.loss_fn,
            tx=self.tx,
            ema_decays=tuple(config.train.ema),
            accumulate=config.optim.accumulate,
        )
        places = jax.tree.map(lambda x: x.sharding, self.state_like)
        program = jax.jit(
            step,
            donate_argnums=0,
            out_shardings=(places, None),
            compiler_options=compiling.options(),
        )
        compiled = program.lower(self.state_like, self.batch_like, self.key).compile()
        forward = lambda *args: self.loss_fn(*args)[0]
        work = 3.0 * flops.count(forward, self.state_like.params, self.batch_like, self.key)
        memory = compiled.memory_analysis()
        temporary = getattr(memory, "temp_size_in_bytes", 0) or 0
        return Compiled(compiled, work, temporary)


class Compiled(NamedTuple):
    """A step that is ready to run."""

    step: Callable[..., Any]  # (state, batch, key), whose state is donated
    flops: float  # of all devices: three times the loss's, whatever is computed again
    temporary: int  # bytes a device needs besides the state and the batch


def build(
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
        whole = models.read(
            models.find(config.train.init_from, (cache or pathlib.Path()) / "models")
        )
    part = validity.part_of(config)
    model = part.model if isinstance(part, models.StageConfig) else part
    source = catalogue.open_source(
        config.data.source,
        path=config.data.path,
        split=config.data.split,
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
    mesh = sharding.make_mesh(config.mesh.data, config.mesh.fsdp)
    fresh, loss_fn = _clip(config, part) if isinstance(part, zoo.ClipConfig) else _glide(
        config, part, tokenizer
    )  # fmt: skip
    if mesh.shape["fsdp"] > 1:
        plain = loss_fn
        loss_fn = lambda params, *rest: plain(sharding.gathered(params, mesh), *rest)
    params_like = jax.eval_shape(fresh, jax.random.key(0))
    frozen = optim.frozen_mask(params_like, config.train.freeze) if config.train.freeze else None
    if frozen is not None:
        loss_fn = optim.without_frozen(loss_fn, frozen)
    lr, tx = _optimizer(config, frozen)
    create = functools.partial(
        TrainState.create,
        tx=tx,
        averages=len(config.train.ema),
        scale_loss=config.train.loss_scale == "dynamic",
    )
    start = None if whole is None else starting.parameters(config, part, whole, params_like)
    options = validity.data_options(config, model.image_size)
    return Run(
        config, part, tokenizer, source, options, mesh, loss_fn, lr, tx, fresh, create, start, whole
    )  # fmt: skip


def _tokenizer(config: ConfigDict, source: Source, whole: models.Model | None) -> Tokenizer:
    kind, size = config.tokenizer.kind, config.tokenizer.vocab_size
    if whole is not None and config.objective != "clip":
        return whole.tokenizer
    checks.one_of("tokenizer.kind", kind, ("glide", "clip", "sentencepiece"))
    if kind == "sentencepiece":
        return tokenizers.SentencePiece.train(catalogue.captions_in(source), size)
    return tokenizers.GlideBPE() if kind == "glide" else tokenizers.ClipBPE()


def _glide(
    config: ConfigDict, part: models.StageConfig, tokenizer: Tokenizer
) -> tuple[Callable[[jax.Array], Params], Loss]:
    """Fresh parameters by a key, and the loss, of a base or an upsampler."""
    model = zoo.glide_model(part.model, jnp.dtype(config.train.dtype))
    if config.train.remat == "blocks":
        text = None if model.text is None else model.text.clone(remat=True)
        model = model.clone(unet=model.unet.clone(remat=True), text=text)
    apply: Callable[..., Any] = model.apply
    call = lambda method: lambda params, *a: apply({"params": params}, *a, method=method)
    table = schedules.from_alpha_bar(schedules.alpha_bar(part.noise_schedule))
    d = config.diffusion
    loss_fn = objectives.text_to_image(
        network=lambda params, *a, **k: apply({"params": params}, *a, **k),
        encode=call("encode"),
        schedule=table,
        null_tokens=jnp.asarray(tokenizer([""], part.model.text_context).tokens[0]),
        null_fraction=checks.real("diffusion.null_fraction", d.null_fraction, 0.0, 1.0),
        vb_weight=checks.real("diffusion.vb_weight", d.vb_weight, 0.0, 1e6),
        max_snr=d.max_snr,
        prediction=part.prediction,
        noisy_share=checks.real("diffusion.noisy_share", d.noisy_share, 0.0, 1.0),
        noisy_from=checks.real("diffusion.noisy_from", d.noisy_from, 0.0, 1.0),
        token_logits=call("token_logits"),
        text_loss_weight=d.text_loss_weight,
    )
    return models.initialiser(part.model), loss_fn  # type: ignore[return-value]


def _clip(config: ConfigDict, part: zoo.ClipConfig) -> tuple[Callable[[jax.Array], Params], Loss]:
    """As `_glide`, of the noise-aware CLIP."""
    model = zoo.clip_model(part, jnp.dtype(config.train.dtype))
    if config.train.remat == "blocks":
        model = model.clone(image=model.image.clone(remat=True), text=model.text.clone(remat=True))
    apply: Callable[..., Any] = model.apply
    call = lambda method: lambda params, *a: apply({"params": params}, *a, method=method)
    table = schedules.from_alpha_bar(schedules.alpha_bar(config.diffusion.noise_schedule))
    loss_fn = clip_objective.contrastive(call("encode_image"), call("encode_text"), table)
    fresh = models.initialiser(part)
    return lambda key: clip_objective.with_logit_scale(fresh(key)), loss_fn


def _optimizer(config: ConfigDict, frozen: Any) -> tuple[Callable[[Any], Any], Any]:
    o = config.optim
    lr = optim.lr_schedule(
        o.schedule,
        checks.real("optim.lr", o.lr, 0.0, 1e3),
        config.train.num_steps,
        warmup_steps=checks.whole("optim.warmup_steps", o.warmup_steps, 0, 10**9),
        decay_fraction=o.decay_fraction,
    )
    names = ("b1", "b2", "eps", "weight_decay", "clip_norm")
    numbers = {name: checks.real(f"optim.{name}", o[name], 0.0, 1e9) for name in names}
    return lr, optim.optimizer(o.name, lr, **numbers, frozen=frozen)
