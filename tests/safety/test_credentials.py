"""Pictures are signed so that C2PA's own library finds them valid, and changes are found."""

import io
import json
import stat

import numpy as np
import pytest
from PIL import Image

from glide_jax import InputError, images, provenance
from glide_jax.safety import credentials, verifying
from glide_jax.sampling import canvas

c2pa = pytest.importorskip("c2pa", reason="pip install 'glide-jax[provenance]'")

RGB = Image.fromarray(np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8))
DRAWN = {"model": "shapes", "edit": None, "prompt": "zebra crossing"}


@pytest.fixture(scope="module")
def pem(tmp_path_factory):
    path, new = credentials.self_made(tmp_path_factory.mktemp("cache"))
    assert new
    assert credentials.self_made(path.parent.parent) == (path, False)
    return path


@pytest.fixture
def signing(pem):
    provenance.sign_by(credentials.signer(pem))
    yield
    provenance.sign_by(None)


def write(path, kind, parameters=DRAWN):
    source = provenance.source_of(parameters)
    if kind == "png":
        images.write_png(path, RGB, parameters)
    else:
        path.write_bytes(images.lossy(RGB, kind, 80, source, parameters))


def record(path) -> dict:
    with c2pa.Reader(str(path)) as reader:
        return reader.get_active_manifest()


@pytest.mark.usefixtures("signing")
@pytest.mark.parametrize("kind", ["png", "jpeg", "webp"])
def test_a_signed_picture_is_valid_by_a_certificate_that_is_not_trusted(tmp_path, kind, pem):
    path = tmp_path / f"a.{kind}"
    write(path, kind)
    verdict = verifying.verify(path)
    assert (verdict.ours, verdict.altered) == (True, False)
    assert "signed by 'glide_jax (self-made, untrusted)', for whom no certificate" in verdict.words
    assert "who is trusted" in verifying.verify(path, pem.read_bytes()).words
    if kind == "png":
        np.testing.assert_array_equal(np.asarray(Image.open(path)), np.asarray(RGB))
        assert images.read_parameters(path) == DRAWN
        assert images.found(path, DRAWN) == "same"
    [action] = record(path)["assertions"][0]["data"]["actions"]
    assert action["action"] == "c2pa.created"
    assert action["digitalSourceType"].endswith("/trainedAlgorithmicMedia")
    assert DRAWN["prompt"] not in json.dumps(record(path))


@pytest.mark.usefixtures("signing")
@pytest.mark.parametrize("kind", ["png", "jpeg", "webp"])
def test_a_changed_byte_breaks_the_record(tmp_path, kind):
    path = tmp_path / f"a.{kind}"
    write(path, kind)
    data = bytearray(path.read_bytes())
    at = data.index(b"AISystemUsed")
    data[at : at + 2] = b"AJ"
    if kind == "png":  # its checksum must fit, or it is no PNG
        import zlib

        start = data.rindex(b"iTXt", 0, at)
        size = int.from_bytes(data[start - 4 : start], "big")
        data[start + 4 + size : start + 8 + size] = zlib.crc32(
            data[start : start + 4 + size]
        ).to_bytes(4, "big")
    path.write_bytes(data)
    verdict = verifying.verify(path)
    assert verdict.altered
    assert "C2PA record broken (assertion.dataHash.mismatch)" in verdict.words


@pytest.mark.usefixtures("signing")
@pytest.mark.parametrize("here", [True, False])
def test_an_edit_records_its_ingredient(tmp_path, here):
    photo = tmp_path / "photo.png"
    write(photo, "png")  # itself signed
    identity = canvas.identity(images.read(photo))
    edit = {"kind": "inpaint", "image": identity if here else {"sha256": identity["sha256"]}}
    write(tmp_path / "edited.png", "png", DRAWN | {"edit": edit})
    found = record(tmp_path / "edited.png")
    [ingredient] = found["ingredients"]
    assert ingredient["relationship"] == "parentOf"
    assert ingredient["title"] == ("photo.png" if here else "a picture that was sent")
    assert ingredient["instance_id"] == f"sha256:{identity['sha256']}"
    assert ("active_manifest" in ingredient) == here  # the photo's own record comes along
    opened, edited = found["assertions"][0]["data"]["actions"]
    assert opened["action"] == "c2pa.opened"
    assert len(opened["parameters"]["ingredients"]) == 1
    assert edited["digitalSourceType"].endswith("/compositeWithTrainedAlgorithmicMedia")
    assert verifying.verify(tmp_path / "edited.png").altered is False


@pytest.mark.usefixtures("signing")
def test_a_file_that_is_another_by_now_is_no_ingredient(tmp_path):
    photo = tmp_path / "photo.png"
    RGB.save(photo)
    identity = canvas.identity(images.read(photo))
    Image.new("RGB", (16, 16)).save(photo)
    write(tmp_path / "a.png", "png", DRAWN | {"edit": {"kind": "edit", "image": identity}})
    [ingredient] = record(tmp_path / "a.png")["ingredients"]
    assert "active_manifest" not in ingredient
    assert ingredient["instance_id"] == f"sha256:{identity['sha256']}"


@pytest.mark.usefixtures("signing")
def test_a_preview_and_an_edit_s_preview_are_signed():
    for source in (provenance.TRAINED, provenance.COMPOSITE):
        buffer = io.BytesIO()
        images.save_png(buffer, RGB, None, source)
        with c2pa.Reader("image/png", io.BytesIO(buffer.getvalue())) as reader:
            assert reader.get_validation_state() == "Valid"


def test_the_key_is_the_user_s_alone(pem):
    assert stat.S_IMODE(pem.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda pem: b"", "the private key in .* cannot be read: there is none"),
        (lambda pem: pem[: pem.index(b"-----BEGIN PRIVATE")], "cannot be read: there is none"),
        (lambda pem: pem[pem.index(b"-----BEGIN PRIVATE") :], "holds no certificate"),
        (lambda pem: pem.replace(b"PRIVATE KEY-----\nM", b"PRIVATE KEY-----\nQ"), "cannot be read"),
        (lambda pem: pem.replace(b"-----BEGIN CERTIFICATE-----\nM",
                                 b"-----BEGIN CERTIFICATE-----\nQ"), "signs no picture"),
        (lambda pem: pem[: pem.index(b"-----BEGIN PRIVATE")]
         + (other := credentials._new_pem())[other.index(b"-----BEGIN PRIVATE") :],
         "signs no picture that is valid: claimSignature.mismatch"),
    ],
)  # fmt: skip
def test_what_signs_nothing_is_refused_before_anything_is_drawn(pem, tmp_path, change, says):
    path = tmp_path / "a.pem"
    path.write_bytes(change(pem.read_bytes()))
    with pytest.raises(InputError, match=says):
        credentials.signer(path)


def test_a_missing_certificate_is_refused(tmp_path):
    with pytest.raises(InputError, match="cannot be read: No such file"):
        credentials.signer(tmp_path / "none.pem")


def test_wrong_certificates_of_trust_are_refused(tmp_path, signing):
    write(tmp_path / "a.png", "png")
    with pytest.raises(InputError, match="--trust cannot be read"):
        verifying.verify(tmp_path / "a.png", b"nothing")
