"""Networks exported as programs: traced once, run by later processes without their modules."""

import functools
import json
import pathlib
import zipfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from glide_jax import checks, files
from glide_jax.errors import InputError
from glide_jax.extras import extra
from glide_jax.files import replacing
from glide_jax.networks.cpu.convolution import bare_kernels
from glide_jax.trees import flatten
from glide_jax.types import Cond, Params, Prediction, Stage, TextCond
from glide_jax.version import __version__

PLATFORMS = ("cpu", "cuda", "rocm", "tpu")
_FORMAT = 1


def write_program(
    path: pathlib.Path,
    configs: Mapping[str, Any],
    stages: Mapping[str, Stage],
    params: Mapping[str, Params],
    dtype: str,
    platforms: Sequence[str] = (),
) -> None:
    """Writes the networks of a model to one file, for any batch at the stages' own size.

    Args:
        path: the file, which is replaced whole.
        configs: StageConfig of each stage.
        stages: the stages' functions.
        params: the stages' parameters, or their shapes.
        dtype: the type in which the networks compute.
        platforms: platforms of the programs, from PLATFORMS; by default the default device's.

    Raises:
        InputError: a platform is unknown, or the extra that this needs is not installed.
    """
    _prepare()
    for platform in platforms:
        checks.one_of("platform", platform, PLATFORMS)
    platforms = tuple(dict.fromkeys(platforms)) or (_platform(),)
    header = {"format": _FORMAT, "glide_jax": __version__, "jax": jax.__version__}
    header |= {"platforms": platforms, **_facts(configs, params, dtype)}
    with replacing(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as out:
        out.writestr("program.json", json.dumps(header, indent=1))
        for name, stage in stages.items():
            for part, program in _of_stage(stage, params[name], _low(configs), platforms).items():
                out.writestr(f"{name}.{part}", bytes(program.serialize()))


def read_program(
    path: pathlib.Path,
    configs: Mapping[str, Any],
    stages: Mapping[str, Stage],
    params: Mapping[str, Params],
    dtype: str,
) -> dict[str, Stage]:
    """The stages with the file's programs in place of their networks.

    Args:
        path: a file that `write_program` wrote.
        configs: StageConfig of each stage.
        stages: the stages' functions.
        params: the stages' parameters.
        dtype: the type in which the networks compute.

    Raises:
        InputError: the file is broken, or made for another model, dtype, platform or algorithm.
    """
    _prepare()
    if what := files.impostor(path):
        raise InputError(f"program {checks.shown(str(path), 200)} {what}.")
    try:
        with zipfile.ZipFile(path) as file:
            header = json.loads(file.read("program.json"))
            if header["format"] != _FORMAT:
                raise InputError(
                    f"program {str(path)!r} has format {header['format']!r}, and this version "
                    f"reads {_FORMAT}; make it again."
                )
            _check(path, header, _facts(configs, params, dtype))
            load = lambda part: jax.export.deserialize(bytearray(file.read(part)))
            programs = {n: (load(f"{n}.network"), load(f"{n}.encode")) for n in stages}
    except OSError as error:
        raise InputError(f"program {str(path)!r} cannot be read: {error.strerror}.") from None
    except InputError:
        raise
    except Exception as error:  # zip, json and flatbuffers raise anything on a damaged file
        raise InputError(
            f"program {str(path)!r} is not one that `glide-jax export-program` wrote, or is "
            f"damaged ({type(error).__name__})."
        ) from None
    return {name: _with(stages[name], _low(configs), *programs[name]) for name in stages}


def _facts(configs: Mapping[str, Any], params: Mapping[str, Params], dtype: str) -> dict[str, Any]:
    """The facts that must be equal where a program is made and where it runs."""
    network = lambda config: {
        k: v for k, v in ({"styles": ()} | config.record()).items() if k != "sampling"
    }
    kernels = {
        f"{stage}/{path}": list(leaf.shape)
        for stage in configs
        for path, leaf in flatten(bare_kernels(params[stage])).items()
    }
    facts = {"dtype": dtype, "networks": {n: network(c) for n, c in configs.items()}}
    return json.loads(json.dumps({**facts, "kernels": kernels}))


def _check(path: pathlib.Path, header: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
    where = f"program {str(path)!r}"
    if header["dtype"] != facts["dtype"]:
        raise InputError(f"{where} computes in {header['dtype']}, and {facts['dtype']} is asked.")
    if header["networks"] != facts["networks"]:
        raise InputError(f"{where} is of another model; make it again with this one.")
    if header["kernels"] != facts["kernels"]:
        raise InputError(f"{where} was made with other `convolutions` than are asked for.")
    if _platform() not in header["platforms"]:
        raise InputError(
            f"{where} is for {', '.join(header['platforms'])}, and this is {_platform()}; make it "
            f"again with --platforms {_platform()}."
        )


def _low(configs: Mapping[str, Any]) -> int:
    """The side, in pixels, of an upsampler's input image."""
    return configs["base"].model.image_size


def _of_stage(stage: Stage, params: Params, low: int, platforms: Sequence[str]) -> dict[str, Any]:
    """A stage's network and text encoder, exported for a batch of any size."""
    like: Callable[..., Any] = lambda shape, dtype=jnp.float32: jax.ShapeDtypeStruct(shape, dtype)
    typed = jax.tree.map(lambda p: like(p.shape, p.dtype), dict(params))
    # Programs take arrays alone, so the types of kernels are put back inside.
    typed_again = lambda bare: jax.tree.unflatten(jax.tree.structure(typed), jax.tree.leaves(bare))
    [b] = jax.export.symbolic_shape("b")
    export = lambda function: jax.export.export(jax.jit(function), platforms=platforms)
    tokens, mask = like((b, stage.context), jnp.int32), like((b, stage.context), jnp.bool_)
    encode = export(lambda bare, tokens, mask: stage.encode(typed_again(bare), tokens, mask))
    text = jax.eval_shape(stage.encode, typed, tokens, mask)
    side = stage.image_size
    planes = lambda side, channels: like((b, side, side, channels))
    cond = Cond(
        text,
        low_res=planes(low, 3) if stage.upsampler else None,
        known=planes(side, 3) if stage.inpaint else None,
        mask_known=planes(side, 1) if stage.inpaint else None,
        guidance=like((b,)) if stage.guidance else None,
        away=like(text.pooled.shape) if stage.away else None,
    )
    network = export(lambda bare, x_t, t, cond: stage.network(typed_again(bare))(x_t, t, cond))
    leaves = bare_kernels(typed)
    return {
        "encode": encode(leaves, tokens, mask),
        "network": network(leaves, planes(side, 3), like((b,), jnp.int32), cond),
    }


def _with(stage: Stage, low: int, network: Any, encode: Any) -> Stage:
    """A stage whose functions are programs; its samplers stay as they are."""
    side = stage.image_size

    def predict(params: Params, x_t: jax.Array, t: jax.Array, cond: Cond) -> Prediction:
        sizes = [x_t.shape[1:3]] + ([] if cond.low_res is None else [cond.low_res.shape[1:3]])
        if sizes != [(side, side), (low, low)][: len(sizes)]:
            raise InputError(
                f"the program draws {side} x {side} pixels, and {sizes[0][0]} x {sizes[0][1]} are "
                "asked for; load the model without a program for other sizes."
            )
        if not stage.inpaint:  # known pixels are the sampler's alone
            cond = cond._replace(known=None, mask_known=None)
        elif cond.known is None or cond.mask_known is None:  # the network does the same
            nothing = jnp.zeros_like(x_t)
            cond = cond._replace(known=nothing, mask_known=nothing[..., :1])
        if stage.away and cond.away is None and cond.text is not None:
            cond = cond._replace(away=jnp.zeros_like(cond.text.pooled))
        return network.call(bare_kernels(dict(params)), x_t, t, cond)

    return stage._replace(
        inner=None,
        network=lambda params: functools.partial(predict, params),
        encode=lambda params, tokens, mask: encode.call(
            bare_kernels(dict(params)), jnp.asarray(tokens, jnp.int32), jnp.asarray(mask, jnp.bool_)
        ),
    )


def _platform() -> str:
    """The default device's platform, by its name in `jax.export`."""
    backend = jax.default_backend()
    return {"gpu": "cuda"}.get(backend, backend)


@functools.cache
def _prepare() -> None:
    """Registers this project's pytrees, so that programs can hold them."""
    extra("flatbuffers")
    import jax.export

    register: Callable[..., Any] = jax.export.register_namedtuple_serialization
    for cls in (Cond, Prediction, TextCond):
        register(cls, serialized_name=f"glide_jax.{cls.__name__}")
