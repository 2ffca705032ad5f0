"""A config to functions and places: all of a run but its data."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from ml_collections import ConfigDict

from glide_jax import checks
from glide_jax.data.loader import DataOptions
from glide_jax.diffusion import schedules
from glide_jax.errors import InputError
from glide_jax.mesh import partition
from glide_jax.model_dir import schema
from glide_jax.networks import interception, zoo
from glide_jax.networks.initial import initialiser
from glide_jax.networks.unet import attention_blocks
from glide_jax.training import clip_objective, flops, objectives, optim, validity
from glide_jax.training.step import TrainState, train_step
from glide_jax.types import Loss, Params


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a config computes and where each array lies; nothing is on a device."""

    config: ConfigDict
    part: schema.StageConfig | zoo.ClipConfig  # what is trained, as config.json tells it
    options: DataOptions
    mesh: Mesh
    min_size: int  # of the parameters that are split
    loss_fn: Loss
    lr: optim.LearningRate
    tx: Any
    fresh: Callable[[jax.Array], Params]  # parameters of a key
    create: Callable[[Params], TrainState]

    @property
    def model(self) -> zoo.ModelConfig | zoo.ClipConfig:
        """The network's config."""
        return self.part.model if isinstance(self.part, schema.StageConfig) else self.part

    @property
    def stage(self) -> str:
        """What part of a model directory the run makes: base, upsample or clip."""
        if isinstance(self.model, zoo.ClipConfig):
            return "clip"
        return "upsample" if self.model.upsampler else "base"

    @functools.cached_property
    def state_like(self) -> TrainState:
        """The state's shapes and places."""
        like = jax.eval_shape(lambda key: self.create(self.fresh(key)), jax.random.key(0))
        return placed_like(like, partition.shardings(like, self.mesh, self.min_size))

    @functools.cached_property
    def batch_like(self) -> objectives.Batch:
        """A batch's shapes and places."""
        o, n = self.options, self.model.text_context
        place = partition.batch_sharding(self.mesh)
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

    @property
    def key_like(self) -> jax.ShapeDtypeStruct:
        """The key's type and place."""
        place = partition.replicated(self.mesh)
        return jax.ShapeDtypeStruct((), jax.random.key(0).dtype, sharding=place)

    def lower(self, options: dict[str, str] | None) -> jax.stages.Lowered:
        """The step (state, batch, key) whose state is donated, before the compiler.

        Args:
            options: of the compiler.
        """
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
            step, donate_argnums=0, out_shardings=(places, None), compiler_options=options
        )
        return program.lower(self.state_like, self.batch_like, self.key_like)

    def flops(self) -> float:
        """Of a step, on all devices: three times the loss's, whatever is computed again."""
        forward = lambda *args: self.loss_fn(*args)[0]
        return 3.0 * flops.count(forward, self.state_like.params, self.batch_like, self.key_like)


def placed_like(tree: Any, places: Any) -> Any:
    """Shapes with their places."""
    put = lambda x, place: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place)
    return jax.tree.map(put, tree, places)


def mesh_of(config: ConfigDict, devices: Sequence[Any] | None = None) -> Mesh:
    """The mesh that a config asks for, on all devices or those given."""
    m = config.mesh
    return partition.make_mesh(m.data, m.fsdp, m.tensor, m.slices, devices)


def plan(
    config: ConfigDict,
    null_tokens: jax.Array,
    mesh: Mesh | None = None,
    min_size: int = partition.MIN_SHARD_SIZE,
) -> Plan:
    """A config's functions and places.

    Args:
        config: as `read_config` gives.
        null_tokens: of the empty prompt, (context,).
        mesh: where; by default `mesh_of` the config.
        min_size: see `sharding.partition`.

    Raises:
        InputError: a field's value is not possible, or the model cannot be split so.
    """
    validity.check(config)
    part = validity.part_of(config)
    model = part.model if isinstance(part, schema.StageConfig) else part
    mesh = mesh_of(config) if mesh is None else mesh
    _check_heads(model, mesh.shape["tensor"])
    around = functools.partial(on_mesh, mesh=mesh, min_size=min_size)
    if isinstance(part, schema.StageConfig):
        loss_fn, fresh = _glide(config, part, null_tokens, around), initialiser(part.model)
    else:
        loss_fn = _clip(config, part, around)
        start = initialiser(part)
        fresh = lambda key: clip_objective.with_logit_scale(start(key))
    frozen = None
    if config.train.freeze:
        like = jax.eval_shape(fresh, jax.random.key(0))
        frozen = optim.frozen_mask(like, config.train.freeze)
        loss_fn = optim.without_frozen(loss_fn, frozen)
    lr, tx = _optimizer(config, frozen)
    create = functools.partial(
        TrainState.create,
        tx=tx,
        averages=len(config.train.ema),
        scale_loss=config.train.loss_scale == "dynamic",
    )
    options = validity.data_options(config, model.image_size)
    return Plan(config, part, options, mesh, min_size, loss_fn, lr, tx, fresh, create)  # type: ignore[arg-type]


def on_mesh(
    apply: Callable[..., Any], mesh: Mesh, min_size: int = partition.MIN_SHARD_SIZE
) -> Callable[..., Any]:
    """A network's `apply` with `sharding`'s rules around its layers, where the mesh needs any.

    A mesh of `data` alone does not: whole parameters and split rows leave no choice.
    """
    if mesh.shape["fsdp"] == mesh.shape["tensor"] == 1:
        return apply
    return interception.intercepted(
        apply,
        functools.partial(partition.at_use, mesh=mesh, min_size=min_size),
        functools.partial(partition.at_output, mesh=mesh),
    )


def _check_heads(model: zoo.ModelConfig | zoo.ClipConfig, tensor: int) -> None:
    """Each device of `tensor` computes whole heads, and whole groups of the inner norms."""
    if isinstance(model, zoo.ClipConfig):
        counts = {"image_heads": model.image_heads, "text_heads": model.text_heads}
    else:
        counts = {f"heads of {b.name}": b.heads for b in attention_blocks(model)}
        counts |= {"text_heads": model.text_heads} if model.text_width else {}
        counts["groups of norms"] = 32
    for name, count in counts.items():
        if count % tensor:
            raise InputError(
                f"mesh.tensor is {tensor}; it must divide the {name}, which are {count}."
            )


def _glide(
    config: ConfigDict,
    part: schema.StageConfig,
    null_tokens: jax.Array,
    around: Callable[[Callable], Callable],
) -> Loss:
    """The loss of a base or an upsampler."""
    model = zoo.glide_model(part.model, jnp.dtype(config.train.dtype))
    if config.train.remat == "blocks":
        text = None if model.text is None else model.text.clone(remat=True)
        model = model.clone(unet=model.unet.clone(remat=True), text=text)
    apply: Callable[..., Any] = around(model.apply)
    call = lambda method: lambda params, *a: apply({"params": params}, *a, method=method)
    table = schedules.from_alpha_bar(schedules.alpha_bar(part.noise_schedule))
    d = config.diffusion
    return objectives.text_to_image(
        network=lambda params, *a, **k: apply({"params": params}, *a, **k),
        encode=call("encode"),
        schedule=table,
        null_tokens=null_tokens,
        null_fraction=checks.real("diffusion.null_fraction", d.null_fraction, 0.0, 1.0),
        vb_weight=checks.real("diffusion.vb_weight", d.vb_weight, 0.0, 1e6),
        max_snr=d.max_snr,
        prediction=part.prediction,
        noisy_share=checks.real("diffusion.noisy_share", d.noisy_share, 0.0, 1.0),
        noisy_from=checks.real("diffusion.noisy_from", d.noisy_from, 0.0, 1.0),
        token_logits=call("token_logits"),
        text_loss_weight=d.text_loss_weight,
    )


def _clip(config: ConfigDict, part: zoo.ClipConfig, around: Callable[[Callable], Callable]) -> Loss:
    """As `_glide`, of the noise-aware CLIP."""
    model = zoo.clip_model(part, jnp.dtype(config.train.dtype))
    if config.train.remat == "blocks":
        model = model.clone(image=model.image.clone(remat=True), text=model.text.clone(remat=True))
    apply: Callable[..., Any] = around(model.apply)
    call = lambda method: lambda params, *a: apply({"params": params}, *a, method=method)
    table = schedules.from_alpha_bar(schedules.alpha_bar(config.diffusion.noise_schedule))
    return clip_objective.contrastive(call("encode_image"), call("encode_text"), table)


def _optimizer(config: ConfigDict, frozen: Any) -> tuple[optim.LearningRate, Any]:
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
