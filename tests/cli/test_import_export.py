"""`glide-jax import` and `export`: there and back without losing a bit."""

import json
import pathlib
import re
import shlex

import numpy as np
import pytest

from glide_jax import images, trees
from glide_jax.checkpoints import released
from glide_jax.checkpoints.torch import names, reader, writer
from glide_jax.model_dir import reading
from glide_jax.networks import initial, zoo
from glide_jax.sampling.glide import load
from glide_jax.trees import flatten
from tests.checkpoints import http_server
from tests.cli import broken

DOCS = pathlib.Path(__file__).parents[2] / "docs"

KINDS = ("base", "upsample", "clip_image", "clip_text")
INPAINT = ("base_inpaint", "upsample_inpaint")
RELEASED = {name: f"{name}_enc" if name.startswith("clip") else name for name in KINDS + INPAINT}


@pytest.fixture
def checkpoints(tmp_path, monkeypatch):
    """Writes checkpoints of tiny networks of some of the released kinds; gives their paths."""

    def write(*kinds, cast=np.float32):
        broken.released_sizes(monkeypatch)
        for kind in kinds:
            tensors = {name: a.astype(cast) for name, a in broken.state(kind).items()}
            writer.write_state_dict(tmp_path / "pt" / f"{kind}.pt", tensors)
        return [tmp_path / "pt" / f"{kind}.pt" for kind in kinds]

    return write


@pytest.mark.parametrize("kinds", [("base",), ("base", "upsample"), KINDS, INPAINT])
def test_import_and_export_are_inverse(kinds, cli, checkpoints, tmp_path):
    paths = checkpoints(*kinds)
    result = cli("import", *paths, "--out", tmp_path / "model")
    assert result.code == 0, result.err
    assert result.out.strip() == str(tmp_path / "model")
    assert len(result.err.splitlines()) == len(kinds)
    result = cli("export", tmp_path / "model", "--out", tmp_path / "back")
    assert result.code == 0, result.err
    written = [tmp_path / "back" / f"{RELEASED[kind]}.pt" for kind in kinds]
    assert sorted(result.out.split()) == sorted(map(str, written))
    for before, after in zip(paths, written, strict=True):
        a, b = reader.read_state_dict(before), reader.read_state_dict(after)
        assert a.keys() == b.keys()
        assert all(a[name].dtype == b[name].dtype for name in a)
        assert all(np.array_equal(a[name], b[name]) for name in a)
    again = cli("import", *written, "--out", tmp_path / "again", "--name", "model")
    assert again.code == 0, again.err
    for file in (tmp_path / "model").iterdir():
        if file.name != "README.md":  # tells of the files
            assert file.read_bytes() == (tmp_path / "again" / file.name).read_bytes(), file.name


def test_what_was_imported_draws_and_says_what_it_is(cli, checkpoints, tmp_path, cache):
    paths = checkpoints(*KINDS)
    assert cli("import", *paths, "--out", tmp_path / "model").code == 0
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    assert config["name"] == "model"
    assert config["base"]["sampling"]["guidance_scale"] == 3.0
    assert config["upsample"]["sampling"]["steps"] == "fast27"
    assert config["clip"]["tokenizer"]["kind"] == "clip_bpe"
    assert "2112.10741" in (tmp_path / "model" / "README.md").read_text()
    glide = load(tmp_path / "model", cache=cache)
    assert (glide.loaded.clip is not None, glide.sizes) == (True, {"base": 16, "upsample": 32})
    [picture] = glide("a red circle", steps=1, upsample=False)
    assert picture.image.size == (16, 16)


@pytest.mark.parametrize(("cast", "half"), [(np.float32, True), (np.float16, False)])
def test_half_weights_are_half_the_size_and_load(cast, half, cli, checkpoints, tmp_path):
    paths = checkpoints("base", cast=cast)
    result = cli("import", *paths, "--out", tmp_path / "model", "--half" if half else "--full")
    assert result.code == 0, result.err
    size = (tmp_path / "model" / "base.safetensors").stat().st_size
    model = reading.read_model(tmp_path / "model")
    params = flatten(model.stages["base"][1])
    assert all(a.dtype == np.float32 for a in params.values())
    bytes_each = 2 if half else 4
    assert size == pytest.approx(bytes_each * reading.parameter_count(params), rel=0.1)
    state = {name: a for name, a in broken.state("base").items()}
    shapes = initial.shapes(zoo.named("base"))
    right = flatten(names.import_params(state, shapes))
    for name, array in params.items():
        np.testing.assert_array_equal(array, right[name].astype(np.float16).astype(np.float32))


def test_an_empty_folder_may_become_the_model(cli, checkpoints, tmp_path):
    (tmp_path / "model").mkdir()
    assert cli("import", *checkpoints("base"), "--out", tmp_path / "model").code == 0
    assert reading.read_model(tmp_path / "model").name == "model"


@pytest.fixture
def recipe(cli, monkeypatch, tmp_path, cache):
    """The commands of docs/start.md, as words, with a server of tiny files and an empty home."""
    broken.released_sizes(monkeypatch)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("GLIDE_JAX_CACHE")
    (tmp_path / ".cache" / "glide_jax").mkdir(parents=True)
    (tmp_path / ".cache" / "glide_jax" / "xla").symlink_to(cache / "xla")
    monkeypatch.chdir(tmp_path)

    def serve(handler):
        kind = handler.path.rpartition("/")[2].removesuffix(".pt")
        path = tmp_path / "served" / f"{kind}.pt"
        writer.write_state_dict(path, broken.state(kind))
        handler.server.data = path.read_bytes()
        http_server.serve(handler)

    text = (
        (DOCS / "start.md").read_text().partition("## The released GLIDE\n")[2].partition("##")[0]
    )
    commands = [
        shlex.split(line, comments=True) for line in re.findall(r"^ {4}(glide-jax .+)", text, re.M)
    ]
    with http_server.running() as server:
        server.orders = [serve] * 4
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        monkeypatch.setattr(released, "SOURCE", server.url.rpartition("/")[0])
        yield commands


@pytest.mark.slow
def test_the_recipe_of_the_released_model_works_as_it_is_printed(
    cli, recipe, tmp_path, monkeypatch
):
    assert [words[1] for words in recipe] == ["download", "import", "sample"]
    for words in recipe:
        result = cli(*words[1:])
        assert result.code == 0, result.err
    [picture] = (tmp_path / "out").glob("*corgi*.png")
    assert images.read_parameters(picture)["model"] == "glide"


def test_import_finds_what_was_downloaded_by_name_and_prefers_a_file(
    cli, checkpoints, tmp_path, monkeypatch
):
    base, upsample = checkpoints("base", "upsample")
    folder = tmp_path / "cache" / "checkpoints"
    folder.mkdir(parents=True)
    monkeypatch.setenv("GLIDE_JAX_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "base").mkdir()  # a folder is no checkpoint, whatever its name
    missing = cli("import", "base", "--out", tmp_path / "model").complaint
    assert missing.startswith("'base' is not here: `glide-jax download base` fetches it")
    (folder / "base.pt.part").touch()
    (tmp_path / "base").rmdir()
    assert (
        "'base.pt' is not downloaded whole" in cli("import", "base.pt", "--out", "model").complaint
    )
    base.rename(folder / "base.pt")
    upsample.rename(tmp_path / "upsample.pt")
    result = cli("import", "base", "upsample.pt", "--out", tmp_path / "model")
    assert result.code == 0, result.err
    assert [line.partition(":")[0] for line in result.err.splitlines()] == [
        str(folder / "base.pt"), "upsample.pt"
    ]  # fmt: skip
    (tmp_path / "base.pt").write_bytes(b"mine")
    assert "base.pt" in cli("import", "base.pt", "--out", "other").complaint


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_networks_of_the_released_sizes_come_back_bit_by_bit(cli, tmp_path):
    """385 M, 398 M and 150 M numbers: three files of 1.5 GB at a time, two in memory."""
    kinds = {
        "base": (zoo.BASE, names.glide_entry),
        "upsample": (zoo.UPSAMPLE, names.glide_entry),
    }
    shapes = {kind: initial.shapes(config) for kind, (config, _) in kinds.items()}
    clip, entries = initial.shapes(zoo.CLIP), {kind: entry for kind, (_, entry) in kinds.items()}
    for part in ("image", "text"):
        shapes[f"clip_{part}"] = clip[part]
        entries[f"clip_{part}"] = names.clip_entry
    (tmp_path / "pt").mkdir()
    for kind, tree in shapes.items():
        params = _random(tree, kind)
        state = names.export_params(params, entries[kind])
        writer.write_state_dict(tmp_path / "pt" / f"{kind}.pt", state)
        del params, state
    paths = [tmp_path / "pt" / f"{kind}.pt" for kind in shapes]
    result = cli("import", *paths, "--out", tmp_path / "model")
    assert result.code == 0, result.err
    result = cli("export", tmp_path / "model", "--out", tmp_path / "back")
    assert result.code == 0, result.err
    for path, kind in zip(paths, shapes, strict=True):
        a, b = (
            reader.read_state_dict(path),
            reader.read_state_dict(tmp_path / "back" / f"{RELEASED[kind]}.pt"),
        )
        assert a.keys() == b.keys()
        assert all(np.array_equal(a[name], b[name]) for name in a)
    for file in [*paths, *tmp_path.glob("*/*.safetensors"), *tmp_path.glob("back/*")]:
        file.unlink()


def _random(shapes, salt: str):
    rng = np.random.default_rng(len(salt))
    flat = flatten(shapes)
    noise = {
        path: rng.standard_normal(leaf.shape, np.float32) * np.float32(0.02)
        for path, leaf in flat.items()
    }
    return trees.unflatten(noise)
