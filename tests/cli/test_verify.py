"""`glide-jax verify` as scripts use it: a line a file, and an exit code."""

import numpy as np
import pytest
from PIL import Image

from glide_jax import images

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
