"""A config to functions and places: all of a run but its data."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from glide_jax.diffusion import distillation, grids, schedules
from glide_jax.errors import InputError
from glide_jax.mesh import partition
from glide_jax.model_dir import schema
from glide_jax.networks import initial, interception, zoo
from glide_jax.networks.unet import attention_blocks
from glide_jax.training import (
    clip_objective,
    distil,
    flops,
    matching,
    objectives,
    optim,
    sections,
    sketching,
)
from glide_jax.training.config import TrainConfig
from glide_jax.training.step import TrainState, train_step
from glide_jax.types import Loss, Params


@dataclasses.dataclass(frozen=True)
class Plan:
    """A config's functions, and where each array lies; nothing is on a device.

    What is trained is the network's parameters, or those of two networks, see `matching.trained`.
    """

    config: TrainConfig
    mesh: Mesh
    min_size: int  # smallest parameter, in elements, that is split over fsdp
    loss_fn: Loss  # its batch is the lesson that `teach` makes of one, where there is a teacher
    lr: optim.LearningRate
    tx: Any
    fresh: Callable[[jax.Array], Params]  # a key to untrained parameters
    teacher: schema.StageConfig | None = None
    teach: distil.Teach | None = None

    def loss(
        self, params: Params, batch: Any, key: jax.Array, taught_by: Params | None = None
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """The loss of a batch.

        Args:
            params: those that are trained.
            batch: see `objectives.Batch`.
            key: decides what is drawn.
            taught_by: the teacher's parameters, where there is one.

        Returns:
            The loss, and metrics by name.
        """
        if self.teach is not None:
            key, own = jax.random.split(key)
            batch = self.teach(taught_by, jax.lax.stop_gradient(params), batch, own)
        return self.loss_fn(params, batch, key)

    def create(self, params: Params) -> TrainState:
        """The state before the first step of a network's parameters."""
        train = self.config.train
        params = matching.trained(self.config.distill, params)
        return TrainState.create(
            params, self.tx, averages=len(train.ema), scale_loss=train.loss_scale == "dynamic"
        )

    @functools.cached_property
    def state_like(self) -> TrainState:
        """The state's shapes and places."""
        like = jax.eval_shape(lambda key: self.create(self.fresh(key)), jax.random.key(0))
        return self._placed(like)

    @functools.cached_property
    def teacher_like(self) -> tuple[Params, ...]:
        """The shapes and places of the teacher's parameters: one tree, or none."""
        if self.teacher is None:
            return ()
        return (self._placed(initial.shapes(self.teacher.model)),)

    def _placed(self, like: Any) -> Any:
        """A tree of shapes with the place of each on the mesh."""
        places = partition.shardings(like, self.mesh, self.min_size)
        put = lambda x, place: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place)
        return jax.tree.map(put, like, places)

    @functools.cached_property
    def batch_like(self) -> objectives.Batch:
        """A batch's shapes and places."""
        o, n = self.config.batches, self.config.model.text_context
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

    def lower(self, options: dict[str, str] | None = None) -> jax.stages.Lowered:
        """The step (state, batch, key), which donates its state, for a compiler with options.

        A teacher's parameters follow the key.
        """

        def taught_train_step(state: TrainState, batch: Any, key: jax.Array, *teacher: Params):
            return train_step(
                state,
                batch,
                key,
                loss_fn=lambda *of_part: self.loss(*of_part, *teacher),
                tx=self.tx,
                ema_decays=self.config.train.ema,
                accumulate=self.config.optim.accumulate,
            )

        places = jax.tree.map(lambda x: x.sharding, self.state_like)
        program = jax.jit(
            taught_train_step,
            donate_argnums=0,
            out_shardings=(places, None),
            compiler_options=options,
        )
        return program.lower(self.state_like, self.batch_like, self.key_like, *self.teacher_like)

    def flops(self) -> float:
        """FLOPs of a step on all devices: three times the loss's, whatever is computed again.

        A teacher's are added once.
        """
        batch, key, taught = self.batch_like, self.key_like, 0.0
        if self.teach is not None:
            teaching = (*self.teacher_like, self.state_like.params, batch, key)
            taught = flops.count(self.teach, *teaching)
            batch = jax.eval_shape(self.teach, *teaching)
        forward = lambda *args: self.loss_fn(*args)[0]
        return taught + 3.0 * flops.count(forward, self.state_like.params, batch, key)


def mesh_of(config: TrainConfig, devices: Sequence[Any] | None = None) -> Mesh:
    """The mesh that a config asks for, on all devices or those given."""
    m = config.mesh
    return partition.make_mesh(m.data, m.fsdp, m.tensor, m.slices, devices)


def make_plan(
    config: TrainConfig,
    null_tokens: jax.Array,
    mesh: Mesh | None = None,
    min_size: int = partition.MIN_SHARD_SIZE,
    perceive: Callable[..., jax.Array] | None = None,
    teacher: schema.StageConfig | None = None,
) -> Plan:
    """A config's functions and places.

    Args:
        config: the run's.
        null_tokens: ids of the empty prompt, (context,).
        mesh: where; by default `mesh_of` the config.
        min_size: see `partition.partition`.
        perceive: see `objectives.text_to_image`.
        teacher: the stage that a student learns from; by default one like the student.

    Raises:
        InputError: the model cannot be split so, or a value is not possible.
    """
    mesh = mesh_of(config) if mesh is None else mesh
    _check_heads(config.model, mesh.shape["tensor"])
    network = functools.partial(on_mesh, mesh=mesh, min_size=min_size)
    fresh: Callable[[jax.Array], Params] = initial.initialiser(config.model)
    teach = None
    if isinstance(config.model, zoo.ClipConfig):
        loss_fn, start = _clip_loss(config, config.model, network), fresh
        fresh = lambda key: clip_objective.with_logit_scale(start(key))
    elif config.objective == "sketches":
        call, plain = _glide_methods(config, config.model, network), fresh
        fraction = config.diffusion.null_fraction
        loss_fn = sketching.sketches(call("encode"), null_tokens, fraction)
        fresh = lambda key: sketching.with_sketcher(plain(key))
    elif config.distill.what and isinstance(config.part, schema.StageConfig):
        teacher = _teacher_like(config.part, config.distill) if teacher is None else teacher
        loss_fn, teach = _distilling(config, config.part, teacher, null_tokens, network)
    else:
        loss_fn = _glide_loss(config, config.model, null_tokens, network, perceive)
    frozen = None
    freeze = config.train.freeze
    if config.objective == "sketches":
        freeze = (*freeze, *sketching.OTHERS)
    if freeze:
        like = jax.eval_shape(fresh, jax.random.key(0))
        frozen = optim.frozen_mask(like, freeze)
        loss_fn = optim.without_frozen(loss_fn, frozen)
    lr = optim.lr_schedule(config.optim, config.train.num_steps)
    tx = optim.optimizer(config.optim, lr, frozen)
    if config.distill.what == "distribution":
        tx = matching.faster_critic(tx, config.distill.critic_rate)
    return Plan(config, mesh, min_size, loss_fn, lr, tx, fresh, teacher, teach)


def on_mesh(
    apply: Callable[..., Any], mesh: Mesh, min_size: int = partition.MIN_SHARD_SIZE
) -> Callable[..., Any]:
    """A network's `apply` with the rules of `partition` around its layers, if the mesh needs any.

    A mesh of `data` alone does not: whole parameters and split rows leave no choice.

    Args:
        apply: a module's.
        mesh: where it is to run.
        min_size: see `partition.partition`.
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


def _glide_loss(
    config: TrainConfig,
    shape: zoo.ModelConfig,
    null_tokens: jax.Array,
    network: Callable[[Callable], Callable],
    perceive: Callable[..., jax.Array] | None,
) -> Loss:
    """The loss of a base or an upsampler."""
    call = _glide_methods(config, shape, network)
    return objectives.text_to_image(
        call(None), call("encode"), _schedule(config), null_tokens, config.diffusion,
        call("token_logits"), perceive,
    )  # fmt: skip


def _glide_methods(
    config: TrainConfig, shape: zoo.ModelConfig, network: Callable[[Callable], Callable]
) -> Callable[..., Any]:
    """The methods of a base or an upsampler, see `_methods`."""
    model = zoo.glide_model(shape, jnp.dtype(config.train.dtype))
    if config.train.remat == "blocks":
        text = None if model.text is None else model.text.clone(remat=True)
        model = model.clone(unet=model.unet.clone(remat=True), text=text)
    return _methods(model, network)


def _teacher_like(part: schema.StageConfig, distill: sections.Distill) -> schema.StageConfig:
    """The teacher's config, as far as a student's decides it."""
    if distill.what == "steps":
        return part
    return dataclasses.replace(part, model=dataclasses.replace(part.model, guidance=(), away=False))


def _distilling(
    config: TrainConfig,
    part: schema.StageConfig,
    teacher: schema.StageConfig,
    null_tokens: jax.Array,
    network: Callable[[Callable], Callable],
) -> tuple[Loss, distil.Teach]:
    """A student's loss of a lesson, and the teacher's lessons."""

    def functions(of: schema.StageConfig) -> distil.Part:
        call = _glide_methods(config, of.model, network)
        return distil.Part(call(None), call("encode"), of.prediction, bool(of.model.guidance))

    schedule, away = _schedule(config), config.distill.away_fraction * part.model.away
    how = distil.Guided(null_tokens, part.model.guidance, away)
    taught, own = functions(teacher), functions(part)
    if config.distill.what == "distribution":
        alpha_bar = schedules.alpha_bar(config.diffusion.noise_schedule)
        t = grids.timesteps(config.distill.grid, config.distill.count, alpha_bar)
        chain = schedules.from_alpha_bar(alpha_bar, t)
        steps = matching.Steps(chain, float(part.sampling["eta"]))
        look = matching.looking(
            taught, own, schedule, steps, how, config.diffusion.null_fraction,
            config.distill.interval,
        )  # fmt: skip
        return matching.closer(own, schedule, chain, how), look
    weigh = functools.partial(
        distillation.weight_of_v, name=config.distill.weight, most=config.diffusion.max_snr
    )
    loss = distil.student(functions(part), schedule, how, weigh)
    if config.distill.what == "guidance":
        return loss, distil.of_guidance(taught, schedule, how, config.diffusion)
    alpha_bar = schedules.alpha_bar(config.diffusion.noise_schedule)
    t = grids.timesteps(config.distill.grid, config.distill.of_teacher, alpha_bar)
    chain = schedules.from_alpha_bar(alpha_bar, t)
    weight = jnp.float32(distillation.weights(alpha_bar[t], config.distill.leap))
    steps = distil.Steps(chain, weight, config.distill.renoise, config.distill.own_way)
    return loss, distil.of_steps(taught, own, steps, how, config.diffusion)


def _clip_loss(
    config: TrainConfig, shape: zoo.ClipConfig, network: Callable[[Callable], Callable]
) -> Loss:
    """The loss of the noise-aware CLIP."""
    model = zoo.clip_model(shape, jnp.dtype(config.train.dtype))
    if config.train.remat == "blocks":
        model = model.clone(image=model.image.clone(remat=True), text=model.text.clone(remat=True))
    call = _methods(model, network)
    return clip_objective.contrastive(call("encode_image"), call("encode_text"), _schedule(config))


def _methods(model: Any, network: Callable[[Callable], Callable]) -> Callable[..., Any]:
    """A module's methods by name, as functions of parameters and arrays."""
    apply = network(model.apply)
    return lambda method: lambda params, *a, **k: apply({"params": params}, *a, method=method, **k)


def _schedule(config: TrainConfig) -> schedules.Schedule:
    return schedules.from_alpha_bar(schedules.alpha_bar(config.diffusion.noise_schedule))
