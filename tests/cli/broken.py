"""Makes what is broken: weights, pictures, checkpoints, servers."""

import contextlib
import io
import pathlib
import struct
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image

from tests.checkpoints import http_server

RUNNING = contextlib.ExitStack()  # servers, until the tests end


class GONE:
    """In place of a value: there is none."""


def change_weights(path: pathlib.Path, change: Callable[[dict], Any]) -> None:
    from safetensors import numpy as safetensors

    tensors = {name: array.copy() for name, array in safetensors.load_file(path).items()}
    change(tensors)
    path.write_bytes(safetensors.save(tensors))


def _largest(tensors: dict) -> str:
    return max(tensors, key=lambda name: (tensors[name].size, name))


def NAN(tensors: dict) -> None:
    tensors[_largest(tensors)].reshape(-1)[7] = np.nan


def LARGE(tensors: dict) -> None:
    tensors[_largest(tensors)].reshape(-1)[7] = 1e5


def SHAPE(tensors: dict) -> None:
    name = _largest(tensors)
    tensors[name] = tensors[name][..., :-1]


def MISSING(tensors: dict) -> None:
    del tensors[_largest(tensors)]


def EXTRA(tensors: dict) -> None:
    tensors["extra"] = np.zeros(3, np.float32)


def folder_for(name: str) -> Callable[[pathlib.Path], Any]:
    def change(directory):
        (directory / name).unlink()
        (directory / name).mkdir()

    return change


# Pictures.


def png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds next to nothing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = chunk(b"IDAT", zlib.compress(b"\0" * 100))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + rows + chunk(b"IEND", b"")


# Checkpoints of the release's kinds, of tiny networks.


def released_sizes(monkeypatch) -> None:
    """Makes the released networks tiny, so that the importer takes seconds."""
    import dataclasses

    from glide_jax.networks import zoo
    from tests import tiny

    base = dataclasses.replace(tiny.BASE, vocab_size=50257, resblock_updown=True)
    up = dataclasses.replace(base, image_size=32, channel_mult=(1,), attention=(), upsampler=True)
    sizes = {"base": base, "upsample": up}
    sizes |= {f"{k}-inpaint": dataclasses.replace(v, inpaint=True) for k, v in sizes.items()}
    clip = dataclasses.replace(tiny.CLIP, vocab_size=65536)
    monkeypatch.setattr(zoo, "MODELS", sizes)
    monkeypatch.setattr(zoo, "CLIP", clip)


def state(kind: str) -> dict[str, np.ndarray]:
    """A state dict as the release has it; after `released_sizes`."""
    from glide_jax.checkpoints.torch import names
    from glide_jax.networks import zoo
    from tests import tiny

    if kind == "foreign":
        return {"conv1.weight": np.zeros((64, 3, 7, 7), np.float32)}
    if kind.startswith("clip"):
        params = tiny.weights(zoo.CLIP)[kind.removeprefix("clip_")]
        return names.export_params(params, names.clip_entry)
    return names.export_params(tiny.weights(zoo.named(kind.replace("_", "-"))))


def write_states(folder, monkeypatch, names, change=dict) -> None:
    from glide_jax.checkpoints.torch import writer

    released_sizes(monkeypatch)
    for i, name in enumerate(names):
        tensors = state(name)
        if i == 0:
            change(tensors)
        writer.write_state_dict(folder / f"{name}.pt", tensors)


def occupy(folder, monkeypatch) -> None:
    (folder / "out").mkdir()
    (folder / "out" / "config.json").write_text("{}")


def file_out(folder, monkeypatch) -> None:
    (folder / "out").write_text("here")


def exportable(more: Callable[..., Any]) -> Callable[..., Any]:
    """A model that PyTorch GLIDE could hold, and something else that is wrong."""

    def prepare(folder, models, monkeypatch):
        from tests import tiny

        tiny.save(folder, "plain", upsample=False)
        more(folder, models, monkeypatch)

    return prepare


# The network.


def served(*orders: Callable) -> Callable[..., Any]:
    """A server has the released files, unless it is given orders."""

    def prepare(folder, models, monkeypatch):
        server = RUNNING.enter_context(http_server.running())
        server.orders += orders
        (folder / "out").mkdir()
        _patch_release(monkeypatch, server.url)

    return prepare


def offline(folder, models, monkeypatch) -> None:
    (folder / "out").mkdir()
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    _patch_release(monkeypatch, "http://127.0.0.1:9/base.pt")


def _patch_release(monkeypatch, url: str) -> None:
    from glide_jax.checkpoints import released

    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "127.0.0.1")
    source, _, file = url.rpartition("/")
    monkeypatch.setattr(released, "SOURCE", source)
    monkeypatch.setattr(released, "RELEASED", {"base": file, "upsample": file})
