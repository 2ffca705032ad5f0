"""Whatever is wrong with what a person gives: one sentence, exit code 2, nothing left behind."""

import errno
import json
import os
import pathlib
import shutil
import struct
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from PIL import Image

from tests.checkpoints import http_server
from tests.cli import broken

NAN, SHAPE, MISSING, EXTRA = broken.NAN, broken.SHAPE, broken.MISSING, broken.EXTRA


class Case(NamedTuple):
    name: str
    argv: str  # words; {m} a model, {f} one with CLIP and inpainting, {t} a folder, {out} in it
    says: str
    prepare: Callable[..., Any] | None = None  # (folder, model, monkeypatch), makes what is wrong
    values: tuple[str, ...] = ()  # more words, taken as they are


def option(name: str, value: str, says: str, extra: str = "") -> Case:
    argv = f"sample red --model {{m}} --out {{out}} {extra} --{name}"
    return Case(f"{name}={value[:12]!r} {extra}".rstrip(), argv, says, values=(value,))


# Every option's own ranges are cases of tests/sampling/test_call.py.
OPTIONS = [
    option("n", "0", "n is '0'"),
    option("seed", "-1", "seed is '-1'"),
    option("steps", "abc", "'abc'"),
    option("steps", "9" * 5000, "9999..."),
    option("guidance-scale", "nan", "guidance_scale is 'nan'"),
    option("eta", "0.5", "eta is 0.5"),
    option("sampler", "DDPM", "sampler is 'DDPM'"),
    option("grid", "karras", "steps is 'fast27'", "--steps fast27"),
    option("upsample-sampler", "ddim", "no upsampler runs", "--no-upsample"),
    option("negative-prompt", "\ud800", "surrogate"),
    option("mix", "-1:blue", "must be positive"),
    option("guidance-interval", "800,200", "guidance_interval is"),
    option("cfgpp-scale", "0.5", "only the sampler ddim", "--sampler ddpm"),
    option("clip-guidance-scale", "3", "has no CLIP"),
    option("autoguidance-model", "nonesuch", "'nonesuch'"),
    option("batch-size", "0", "batch_size is '0'"),
    *(option("dtype", v, f"dtype is {v!r}") for v in ("float64", "", "int8", "float16")),
    option("device", "abacus", "device is 'abacus'"),
]

SAMPLE = "sample red --model {m} --out {out}"
USAGE = [
    Case("no prompt", "sample --model {m} --out {out}", "there is no prompt"),
    Case("unknown option", f"{SAMPLE} --stesp 3", "--stesp"),
    Case("option without value", f"{SAMPLE} --steps", "--steps"),
    Case("unknown command", "smaple red", "did you mean 'sample'"),
    Case(
        "prompt for a command", "", "there is no command 'a red circle'", values=("a red circle",)
    ),
    Case("lone surrogate", "sample --model {m} --out {out}", "surrogate", values=("a \ud800 b",)),
    Case("undecodable byte", "sample --model {m} --out {out}", "U+DCFF", values=("\udcff",)),
    Case("surrogate among others", f"{SAMPLE} blue", "'\\udfff'", values=("\udfff",)),
    Case("two sources of prompts", f"{SAMPLE} --prompts-file {{t}}/p.txt", "--prompts-file"),
    Case("inpaint without mask", "inpaint {t}/a.png red --model {m} --out {out}", "--mask"),
    Case("inpaint without prompt", "inpaint {t}/a.png --mask {t}/b.png --out {out}", "PROMPT"),
    Case("import without files", "import --out {out}", "FILES"),
    Case("import without out", "import {t}/a.pt", "--out"),
    Case("export without model", "export --out {out}", "MODEL"),
    Case("export without out", "export {m}", "--out"),
    Case("export of unknown model", "export nonesuch --out {out}", "'nonesuch'"),
    Case("doctor with argument", "doctor now", "now"),
    Case("doctor with option", "doctor --fix", "--fix"),
]


def prompts(name: str, content: bytes | None, says: str) -> Case:
    def prepare(folder, model, monkeypatch):
        if content is not None:
            (folder / "p.txt").write_bytes(content)

    argv = "sample --prompts-file {t}/p.txt --model {m} --out {out}"
    return Case(f"prompts file: {name}", argv, says, prepare)


PROMPTS = [
    prompts("missing", None, "No such file"),
    prompts("empty", b"", "holds no prompt"),
    prompts("blank", b"\n \n\t\n", "holds no prompt"),
    prompts("latin-1", b"caf\xe9\n", "byte 3"),
    prompts("utf-16", "red".encode("utf-16"), "not UTF-8"),
    prompts("encoded surrogate", b"\xed\xa0\x80\n", "not UTF-8"),
    Case(
        "prompts file: endless",
        "sample --prompts-file /dev/zero --model {m} --out {out}",
        "has over 256 MB; cut it into several",
    ),
    Case(
        "prompts file: a folder",
        "sample --prompts-file {t} --model {m} --out {out}",
        "is a folder",
    ),
]


def model(name: str, says: str, change: Callable[[pathlib.Path], Any], base: str = "m") -> Case:
    """A model directory of which `change` breaks something."""

    def prepare(folder, models, monkeypatch):
        shutil.copytree(models[base], folder / "model")
        change(folder / "model")

    return Case(f"model: {name}", "sample red --model {t}/model --out {out}", says, prepare)


def config(path: str, value: Any, says: str, base: str = "m") -> Case:
    """A model directory with another value in its config.json; path is "base.model.channels"."""

    def change(directory):
        file = directory / "config.json"
        whole = section = json.loads(file.read_text())
        *parents, last = path.split(".")
        for parent in parents:
            section = section[parent]
        if value is broken.GONE:
            del section[last]
        else:
            section[last] = value
        file.write_text(json.dumps(whole))

    return model(f"{path}={value!r}"[:60], says, change, base)


def text(content: bytes) -> Callable[[pathlib.Path], Any]:
    return lambda directory: (directory / "config.json").write_bytes(content)


def tensors(change: Callable[[dict], Any], file: str = "base") -> Callable[[pathlib.Path], Any]:
    return lambda directory: broken.change_weights(directory / f"{file}.safetensors", change)


def raw(content: Callable[[bytes], bytes], file: str) -> Callable[[pathlib.Path], Any]:
    def change(directory):
        (directory / file).write_bytes(content((directory / file).read_bytes()))

    return change


def without(file: str) -> Callable[[pathlib.Path], Any]:
    return lambda directory: (directory / file).unlink()


def pipe(file: str) -> Callable[[pathlib.Path], Any]:
    def change(directory):
        (directory / file).unlink()
        os.mkfifo(directory / file)

    return change


FILES = ("base.safetensors", "upsample.safetensors", "clip.safetensors")
HUGE = struct.pack("<Q", 1 << 40) + b"{}"
MODELS = [
    Case("model: unknown name", "sample red --model nonesuch --out {out}", "'nonesuch'"),
    Case("model: no such path", "sample red --model {t}/no/such --out {out}", "no/such"),
    Case("model: a file", "sample red --model {m}/README.md --out {out}", "is a file"),
    Case("model: not a model", "sample red --model {t} --out {out}", "no config.json"),
    Case("model: long name", "sample red --out {out} --model", "xxx", values=("x" * 5000,)),
    model("no weights", "are missing", without("base.safetensors")),
    model("no upsampler weights", "are missing", without("upsample.safetensors")),
    model("no CLIP weights", "are missing", without("clip.safetensors"), "f"),
    model("no tokenizer", "tokenizer.model", without("tokenizer.model")),
    model("empty JSON", "not valid JSON", text(b"")),
    model("cut JSON", "not valid JSON", text(b'{"format": "glide_jax", ')),
    model("deep JSON", "not valid JSON", text(b"[" * 100_000)),
    model("huge number", "not valid JSON", text(b'{"version": ' + b"9" * 5000 + b"}")),
    model("bytes for JSON", "not valid JSON", text(b"\xff\xfe\x00")),
    model("a list", "holds [1, 2]; it must be a JSON object", text(b"[1, 2]")),
    model("a number", "holds 7; it must be a JSON object", text(b"7")),
    model("a field twice", "'name' stands in it twice", text(b'{"name": "a", "name": "b"}')),
    model("too long", "has over 16 MB", text(b" " * (1 << 24) + b"{}")),
    *(
        model(f"{what} for {file}", says, raw(lambda b, content=content: content, file), "f")
        for file in ("config.json", "tokenizer.model", *FILES)
        for what, content, says in (
            ("a pointer", b"version https://git-lfs.github.com/spec/v1\noid x", "git lfs pull"),
            ("a page", b"\n<!DOCTYPE html><html>Not found</html>", "is a web page"),
        )
    ),
    *(model(f"{file} a pipe", "is no file", pipe(file)) for file in ("config.json", *FILES[:2])),
    model("tokenizer a pipe", "is no file", pipe("tokenizer.model")),
    model("another's config", "not a glide_jax model", text(b'{"model_type": "bert"}')),
    config("version", 99, "version 99"),
    config("version", "1", "version '1'"),
    config("format", "glide", "not a glide_jax model"),
    config("name", 7, "name is 7"),
    config("name", "a\nb", "name is 'a\\nb'"),
    config("upsampel", {}, "did you mean 'upsample'"),
    config("base", broken.GONE, "no section 'base'"),
    config("base", [], "no section 'base'"),
    config("tokenizer", broken.GONE, "no section 'tokenizer'"),
    config("tokenizer", "glide_bpe", "no section 'tokenizer'"),
    config("tokenizer.kind", "words", "'words'"),
    config("tokenizer.sha256", "0" * 64, "000000000000"),
    config("tokenizer.file", "../tokenizer.model", "'../tokenizer.model'"),
    config("tokenizer", {"kind": "glide_bpe"}, "vocab_size is 300"),
    config("base.sampeling", {}, "did you mean 'sampling'"),
    config("base.model.chanels", 32, "did you mean 'channels'"),
    config("base.model.unet_shape", 32, "unknown field 'unet_shape'"),
    config("base.model", 5, "model is 5"),
    config("base.model.channels", "32", "channels is '32'"),
    config("base.model.channels", 32.0, "channels is 32.0"),
    config("base.model.channels", True, "channels is True"),
    config("base.model.channels", None, "channels is None"),
    config("base.model.channels", -32, "channels is -32"),
    config("base.model.channels", 0, "channels is 0"),
    config("base.model.channels", 40, "channels is 40"),
    config("base.model.channels", 64, "the config says"),
    config("base.model.channels", 8192, "the config says"),
    config("base.model.channels", 10**30, "channels is 1000"),
    config("base.model.channel_mult", [], "channel_mult is ()"),
    config("base.model.channel_mult", [1, 0], "channel_mult is (1, 0)"),
    config("base.model.channel_mult", [1, "2"], "channel_mult is (1, '2')"),
    config("base.model.channel_mult", [1] * 30, "1 to 10 levels"),
    config("base.model.channel_mult", 3, "channel_mult is 3"),
    config("base.model.res_blocks", 0, "res_blocks is 0"),
    config("base.model.res_blocks", 10**9, "res_blocks is 1000000000"),
    config("base.model.res_blocks", 4, "lack"),
    config("base.model.image_size", 0, "image_size is 0"),
    config("base.model.image_size", 17, "image_size is 17"),
    config("base.model.image_size", 10**9, "image_size is 1000000000"),
    config("base.model.patch", 0, "patch is 0"),
    config("base.model.attention", [0], "attention is (0,)"),
    config("base.model.attention", [7], "7 is none of them"),
    config("base.model.attention", [[8]], "attention is ([8],)"),
    config("base.model.head_channels", 0, "head_channels is 0"),
    config("base.model.head_channels", 7, "head_channels"),
    config("base.model.heads", 0, "heads is 0"),
    config("base.model.text_heads", 5, "text_heads"),
    config("base.model.text_layers", 10**9, "text_layers is 1000000000"),
    config("base.model.text_layers", 2, "lack"),
    config("base.model.text_context", 0, "text_context is 0"),
    config("base.model.text_width", -1, "text_width is -1"),
    config("base.model.vocab_size", 100, "vocab_size is 100"),
    config("base.model.vocab_size", 400, "the config says"),
    config("base.model.text_layers", 256, "lack"),
    config("base.model.res_blocks", 32, "lack"),
    config("base.model.image_size", 16384, "the levels' sizes are"),
    config("base.model.dropout", 10**400, "dropout is 1000"),
    config("base.sampling.guidance_scale", 10**400, "guidance_scale is 1000"),
    config("base.model.channel_mult", [2] * 100_000, "1 to 10 levels"),
    config("base.model.attention", [7] * 100_000, "7 is none of them"),
    config("base.prediction", "\x1b[31m" * 9999, "\\x1b[31m"),
    config("version", "\x1b" * 300_000, "version '\\x1b"),
    config("tokenizer.kind", "x" * 300_000, "must be one of"),
    config("x" * 300_000, 1, "unknown field 'xxx"),
    config("base.model.dropout", float("nan"), "dropout is nan"),
    config("base.model.upsampler", True, "upsampler is True"),
    config("base.model.inpaint", True, "the config says"),
    config("upsample.model.upsampler", False, "upsampler is False"),
    config("upsample.model.image_size", 24, "image_size is 24"),
    config("base.noise_schedule", "quadratic", "'quadratic'"),
    config("base.prediction", "x0", "prediction is 'x0'"),
    config("base.sampling.steps", 50, "steps is 50"),
    config("base.sampling.steps", "2000", "steps is '2000'"),
    config("base.sampling.eta", "0", "eta is '0'"),
    config("base.sampling.guidance_scale", float("nan"), "guidance_scale is nan"),
    config("base.sampling.sampler", "euler", "sampler is 'euler'"),
    config("clip", {}, "no section 'model'"),
    config("clip.model.image_size", 32, "image_size is 32", "f"),
    config("clip.model.num_timesteps", 10, "num_timesteps is 10", "f"),
    config("clip.model.patch", 3, "(patch)", "f"),
    config("clip.model.vocab_size", 77, "vocab_size is 77", "f"),
    config("clip.extra", 1, "unknown field 'extra'", "f"),
    model("NaN", "not finite", tensors(NAN)),
    model("NaN in the upsampler", "upsample.safetensors", tensors(NAN, "upsample")),
    model("a tensor too few", "lack", tensors(MISSING)),
    model("a tensor too many", "'extra'", tensors(EXTRA)),
    model("another shape", "of shape", tensors(SHAPE)),
    model("no tensors", "lack", tensors(dict.clear)),
    model("cut weights", "cannot be read", raw(lambda b: b[: len(b) // 2], "base.safetensors")),
    model("longer weights", "cannot be read", raw(lambda b: b + b"0", "base.safetensors")),
    model("empty weights", "cannot be read", raw(lambda b: b"", "base.safetensors")),
    model("huge header", "cannot be read", raw(lambda b: HUGE, "base.safetensors")),
    model("text as weights", "cannot be read", raw(lambda b: b"hello" * 99, "base.safetensors")),
    model("cut tokenizer", "SHA-256", raw(lambda b: b[:99], "tokenizer.model")),
    model("weights a folder", "base.safetensors", broken.folder_for("base.safetensors")),
    model("config a folder", "config.json", broken.folder_for("config.json")),
]


def failing(number: int, *names: str) -> Callable[..., Any]:
    """Makes functions ("tempfile.TemporaryFile") fail as the system call would."""

    def prepare(folder, models, monkeypatch):
        def fail(*_, **__):
            raise OSError(number, os.strerror(number))

        (folder / "out").mkdir()
        for name in names:
            monkeypatch.setattr(name, fail)

    return prepare


def a_file_at(name: str) -> Callable[..., Any]:
    return lambda folder, models, monkeypatch: (folder / name).write_text("here")


FOLDERS = [
    Case("out is a file", SAMPLE, "cannot be written to", a_file_at("out")),
    Case("out below a file", f"{SAMPLE}/a/b", "cannot be written to", a_file_at("out")),
    Case("out has a long name", "sample red --model {m} --out", "x", values=("x" * 300,)),
    *(
        Case(
            f"out: {errno.errorcode[n]}",
            SAMPLE,
            os.strerror(n),
            failing(n, "tempfile.TemporaryFile"),
        )
        for n in (errno.EACCES, errno.EROFS, errno.ENOSPC, errno.EDQUOT)
    ),
    Case(
        "disk full at the picture",
        f"{SAMPLE} --steps 1 --upsample-steps 1",
        "No space left",
        failing(errno.ENOSPC, "PIL.Image.Image.save"),
    ),
    Case(
        "disk full at its end",
        f"{SAMPLE} --steps 1 --upsample-steps 1",
        "No space left",
        failing(errno.ENOSPC, "glide_jax.files._flush"),
    ),
]


def picture(name: str, says: str, image: Any = None, mask: Any = None, extra: str = "") -> Case:
    """Inpainting of `image` by `mask`: pictures, bytes of a file, or None for a good one."""

    def prepare(folder, models, monkeypatch):
        for file, given in (("a.png", image), ("b.png", mask)):
            given = Image.new("RGB", (20, 20), "white") if given is None else given
            if isinstance(given, bytes):
                (folder / file).write_bytes(given)
            elif given is not broken.GONE:
                given.save(folder / file)

    argv = "inpaint {t}/a.png red --mask {t}/b.png --model {m} --out {out}"
    return Case(f"inpaint: {name}", f"{argv} {extra}", says, prepare)


def edits(command: str, name: str, says: str, extra: str = "", image: Any = None) -> Case:
    """A command on `image`: a picture, bytes of a file, or None for a good one."""

    def prepare(folder, models, monkeypatch):
        given = Image.new("RGB", (20, 20), "white") if image is None else image
        if isinstance(given, bytes):
            (folder / "a.png").write_bytes(given)
        elif given is not broken.GONE:
            given.save(folder / "a.png")

    return Case(f"{command}: {name}", f"{command} {{t}}/a.png {extra} --model {{m}} --out {{out}}",
                says, prepare)  # fmt: skip


PNG = broken.png(Image.new("RGB", (64, 64), "red"))
PICTURES = [
    picture("no picture", "does not exist", image=broken.GONE),
    picture("no mask", "does not exist", mask=broken.GONE),
    picture("empty file", "not a picture", image=b""),
    picture("text as PNG", "not a picture", image=b"a red circle"),
    picture("text as mask", "not a picture", mask=b"white"),
    picture("cut PNG", "cannot be read", image=PNG[: len(PNG) // 2]),
    picture("PNG of a header", "a.png", image=PNG[:33]),
    picture("damaged PNG", "cannot be read", image=PNG[:50] + b"\0\0\0\0" + PNG[54:]),
    picture("bomb", "too large", image=broken.png_header(60_000, 60_000)),
    picture("picture of no size", "a.png", image=broken.png_header(0, 5)),
    picture("mask of another size", "20 x 20", mask=Image.new("L", (10, 10), 255)),
    picture("mask turned", "12 x 20", Image.new("RGB", (20, 12)), Image.new("L", (12, 20), 255)),
    picture("black mask", "no white", mask=Image.new("L", (20, 20))),
    picture("transparent mask", "no white", mask=Image.new("LA", (20, 20), (255, 0))),
    picture("n of inpaint", "n is '0'", extra="--n 0"),
    picture("steps of inpaint", "steps is '0'", extra="--steps 0"),
    picture("unknown model", "'nonesuch'", extra="--model nonesuch"),
    *(
        picture(f"{name} {value}", f"{name} is '{value}'", extra=f"--{name} {value}")
        for name, value in (
            ("strength", "0"),
            ("strength", "2"),
            ("strength", "nan"),
            ("repeats", "0"),
            ("jump", "x"),
            ("extend", "1,2"),
        )
    ),
    picture("a side below 0", "a side of extend is '-1'", extra="--extend -1,0,0,0"),
    picture("keep", "has no CLIP", extra="--keep 1"),
    edits("edit", "strength 0", "strength is '0'", "red --strength 0"),
    edits("edit", "without prompt", "PROMPT"),
    edits("edit", "too long", "90 x 20", "red", Image.new("RGB", (90, 20))),
    edits("edit", "text as picture", "not a picture", "red", b"a red circle"),
    edits("edit", "text as mask", "does not exist", "red --mask {t}/b.png"),
    edits("vary", "strength abc", "strength is 'abc'", "--strength abc"),
    edits("vary", "no picture", "does not exist", image=broken.GONE),
    edits("upscale", "too large", "9000 x 1", image=Image.new("RGB", (9000, 1))),
    edits("upscale", "steps", "upsample_steps is '0'", "--upsample-steps 0"),
    edits("repeat", "of no picture of ours", "carries no parameters"),
    edits("repeat", "of text", "not a picture", image=b"a red circle"),
    Case(
        "interpolate: frames", "interpolate red blue --frames 1 --model {m} --out {out}", "frames"
    ),
    Case("interpolate: seed", "interpolate red blue --to-seed x --model {m} --out {out}", "'x'"),
    Case("interpolate: n", "interpolate red blue --n 2 --model {m} --out {out}", "n is '2'"),
    Case("interpolate: one prompt", "interpolate red --model {m} --out {out}", "LAST"),
    option("keep", "1", "has no CLIP"),
    Case("keep: more than n", "sample red --keep 3 --n 2 --model {f} --out {out}", "keep is 3"),
    Case("inpaint: a folder", "inpaint {t} red --mask {t} --model {m} --out {out}", "directory"),
]


def checkpoints(
    name: str, says: str, make: Callable[..., Any], files: str, extra: str = ""
) -> Case:
    argv = " ".join(f"{{t}}/{file}" for file in files.split())
    prepare = lambda folder, models, monkeypatch: make(folder, monkeypatch)
    return Case(f"import: {name}", f"import {argv} --out {{out}} {extra}", says, prepare)


def contents(**files: bytes) -> Callable[..., Any]:
    def make(folder, monkeypatch):
        for name, content in files.items():
            (folder / f"{name}.pt").write_bytes(content)

    return make


def states(*names: str, change: Callable[[dict], Any] = dict) -> Callable[..., Any]:
    """Checkpoints of tiny networks of the released kinds; `change` is done to the first."""
    return lambda folder, monkeypatch: broken.write_states(folder, monkeypatch, names, change)


def then(make: Callable[..., Any], more: Callable[[pathlib.Path, Any], Any]) -> Callable[..., Any]:
    def both(folder, monkeypatch):
        make(folder, monkeypatch)
        more(folder, monkeypatch)

    return both


def no_room(folder, monkeypatch):
    def fail(path, *_):
        with open(path, "wb") as file:
            file.write(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(pathlib.Path, "write_bytes", fail)


IMPORTS = [
    checkpoints("missing", "does not exist", contents(), "a.pt"),
    checkpoints("empty", "is empty", contents(a=b""), "a.pt"),
    checkpoints("web page", "web page", contents(a=b"<html>"), "a.pt"),
    checkpoints("text", "not a PyTorch checkpoint", contents(a=b"hello"), "a.pt"),
    checkpoints("cut zip", "cut", contents(a=b"PK\x03\x04" + b"\0" * 99), "a.pt"),
    checkpoints("safetensors", "safetensors", contents(a=struct.pack("<Q", 2) + b"{}"), "a.pt"),
    checkpoints("a folder", "is a folder", contents(), "."),
    checkpoints("foreign network", "not one of GLIDE's", states("foreign"), "foreign.pt"),
    checkpoints("no base", "no base network", states("upsample"), "upsample.pt"),
    checkpoints("one CLIP encoder", "both", states("base", "clip_text"), "base.pt clip_text.pt"),
    checkpoints("two bases", "second base", states("base"), "base.pt base.pt"),
    checkpoints("mixed", "inpainting", states("base", "base_inpaint"), "base.pt base_inpaint.pt"),
    checkpoints("missing tensor", "no tensor", states("base", change=MISSING), "base.pt"),
    checkpoints("extra tensor", "such as 'extra'", states("base", change=EXTRA), "base.pt"),
    checkpoints("another shape", "has shape", states("base", change=SHAPE), "base.pt"),
    checkpoints("NaN", "not finite", states("base", change=NAN), "base.pt"),
    checkpoints(
        "too large for half", "float16", states("base", change=broken.LARGE), "base.pt", "--half"
    ),
    checkpoints("out in use", "not an empty", then(states("base"), broken.occupy), "base.pt"),
    checkpoints("out a file", "out'", then(states("base"), broken.file_out), "base.pt"),
    checkpoints("disk full", "No space left", then(states("base"), no_room), "base.pt"),
    checkpoints(
        "disk full at start",
        "No space left",
        then(states("base"), lambda f, m: failing(errno.ENOSPC, "tempfile.mkdtemp")(f, None, m)),
        "base.pt",
    ),
]

DISK = failing(errno.ENOSPC, "glide_jax.files._flush")
EXPORTS = [
    Case("export: on patches", "export {m} --out {out}", "works on patches"),
    Case("export: not a model", "export {t} --out {out}", "no config.json"),
    Case("export: out a file", "export {m} --out {out}", "cannot be written to", a_file_at("out")),
    Case(
        "export: disk full",
        "export {t}/plain --out {out}",
        "No space left",
        broken.exportable(DISK),
    ),
    Case("download: unknown", "download bas --folder {out}", "use 'base'"),
    Case("download: one unknown of two", "download base nonsense --folder {out}", "'nonsense'"),
    Case("download: empty name", "download --folder {out}", "''", values=("",)),
    Case("download: odd hash", "download base --sha256 xyz --folder {out}", "'xyz'"),
    Case(
        "download: a hash for two", "download base upsample --sha256 00 --folder {out}", "one name"
    ),
    Case("download: a hash for none", "download --sha256 00 --folder {out}", "one name"),
    Case(
        "download: folder a file",
        "download base --folder {out}",
        "cannot be written",
        a_file_at("out"),
    ),
    Case(
        "download: wrong hash",
        f"download base --sha256 {'0' * 64} --folder {{out}}",
        "0000",
        broken.served(),
    ),
    Case(
        "download: not there",
        "download upsample --folder {out}",
        "404",
        broken.served(http_server.status(404)),
    ),
    Case(
        "download: no network",
        "download base --folder {out}",
        "could not be fetched",
        broken.offline,
    ),
]

CASES = [*OPTIONS, *USAGE, *PROMPTS, *MODELS, *FOLDERS, *PICTURES, *IMPORTS, *EXPORTS]


def tree(folder: pathlib.Path) -> list[pathlib.Path]:
    return sorted(folder.rglob("*"))


def check(code: int, err: str, says: str) -> None:
    complaints = [line for line in err.splitlines() if line.startswith("glide-jax: ")]
    assert len(complaints) == 1, err
    [sentence] = complaints
    assert code == 2, sentence
    assert "Traceback" not in err
    assert says in sentence, sentence
    assert sentence.endswith((".", "?", ")")), sentence
    assert not sentence.endswith(".."), sentence
    assert len(sentence) < 700, sentence
    assert "[Errno" not in sentence, sentence


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_bad_input_is_one_sentence_and_leaves_nothing(
    case, cli, tmp_path, tiny_model, tiny_full, monkeypatch
):
    models = {"m": tiny_model, "f": tiny_full}
    if case.prepare:
        case.prepare(tmp_path, models, monkeypatch)
    names = models | {"t": tmp_path, "out": tmp_path / "out"}
    before = tree(tmp_path)
    monkeypatch.chdir(tmp_path)
    result = cli(*(word.format(**names) for word in case.argv.split()), *case.values)
    check(result.code, result.err, case.says)
    assert tree(tmp_path) == before


def test_there_are_a_hundred_of_them():
    assert len(CASES) >= 100
    assert len({case.name for case in CASES}) == len(CASES)


SHELL = [
    (("sample", b"\xff\xfe"), {}, "surrogate"),
    (("sample", "red", "--device", "gpu"), {}, "no gpu"),
    (("sample", "red", "--device", "tpu"), {}, "no tpu"),
    (("sample", "red"), {"JAX_PLATFORMS": "abacus"}, "abacus"),
    (("smaple",), {}, "sample"),
    (("sample", "red", "--out", "file/a"), {}, "a file is in the way; give a folder"),
]


@pytest.mark.parametrize(("argv", "environment", "says"), SHELL)
def test_bad_input_to_a_process(argv, environment, says, shell, tmp_path, tiny_model):
    (tmp_path / "file").write_text("here")
    argv = [os.fsdecode(word) if isinstance(word, bytes) else word for word in argv]
    model = ["--model", tiny_model] if argv[0] == "sample" else []
    result = shell(*argv, *model, cwd=tmp_path, env=os.environ | environment)
    check(result.code, result.err, says)
    assert [path.name for path in tree(tmp_path)] == ["file"]


def test_a_long_prompt_is_legal_but_the_cut_is_told(cli, tmp_path, tiny_model):
    prompt = "a red circle " * 800
    result = cli("sample", prompt, "--model", tiny_model, "--out", tmp_path / "out", "--steps", 1,
                 "--upsample-steps", 1)  # fmt: skip
    assert result.code == 0
    warnings = [line for line in result.err.splitlines() if line.startswith("warning: ")]
    assert len(warnings) == 1
    assert "12 fit, so its end is not seen" in warnings[0]
    assert len(list((tmp_path / "out").iterdir())) == 1


def test_a_wrong_option_is_seen_before_the_model_is_loaded(cli, tmp_path):
    for argv in (("--n", 0), ("--steps", 0), ("--mix", "x"), ("--keep", 2)):
        result = cli("sample", "red", "--model", "nonesuch", "--out", tmp_path / "out", *argv)
        assert "nonesuch" not in result.complaint
    assert "nonesuch" in cli("sample", "red", "--model", "nonesuch", "--out", tmp_path).complaint
