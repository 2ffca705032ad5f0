"""C2PA: pictures that are signed, with a person's certificate or one that is made here.

Source: the C2PA specification 2.2, sections on actions, ingredients and X.509 certificates.
"""

import datetime
import io
import json
import pathlib
import re
import threading
from collections.abc import Mapping
from typing import Any

from PIL import Image

from glide_jax import checks, files, images, provenance
from glide_jax.errors import InputError
from glide_jax.extras import extra
from glide_jax.safety.verifying import UNTRUSTED
from glide_jax.sampling import canvas
from glide_jax.version import __version__

SELF_MADE = "self"  # stands for a certificate that is made on first use
_NAME = "glide_jax (self-made, untrusted)"
_DAYS = 3650
_CHAIN = re.compile(rb"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----\s*", re.DOTALL)
_LONGEST_PEM = 1 << 20
_LONGEST_INPUT = 1 << 27  # bytes of a picture that went in
_SETTINGS = {  # a thumbnail would be ten times as large as our pictures
    "builder": {"thumbnail": {"enabled": False}},
    "verify": {"verify_after_sign": False, "remote_manifest_fetch": False},
}


def self_made(folder: pathlib.Path) -> tuple[pathlib.Path, bool]:
    """The file of a certificate that nobody vouches for, and whether it was made just now.

    Raises:
        InputError: the extra is missing, or the file cannot be written.
    """
    extra("c2pa")
    path = folder / "c2pa" / "self-made.pem"
    if path.is_file():
        return path, False
    try:
        with files.replacing(path, new=True) as temporary:
            temporary.write_bytes(_new_pem())
            temporary.chmod(0o600)
        path.chmod(0o600)
    except FileExistsError:  # another process has just made it
        return path, False
    except OSError as error:
        raise InputError(
            f"the certificate {checks.shown(str(path), 200)} cannot be written: {error.strerror}."
        ) from None
    return path, True


def signer(path: pathlib.Path) -> provenance.Signer:
    """A signer by the certificates and the private key in a PEM file.

    Args:
        path: the file: the signer's certificate, those above it, and the signer's private key.

    Raises:
        InputError: the extra is missing, or the file does not hold what signs a picture.
    """
    c2pa, shown = extra("c2pa"), checks.shown(str(path), 200)
    try:
        with open(path, "rb") as file:
            pem = file.read(_LONGEST_PEM)
    except OSError as error:
        raise InputError(f"the certificate {shown} cannot be read: {error.strerror}.") from None
    chain = b"".join(_CHAIN.findall(pem))
    algorithm, key = _key(pem, shown)
    if not chain:
        raise InputError(
            f"{shown} holds no certificate; it must be PEM with the chain and the key."
        )
    context, lock = c2pa.Context.from_dict(_SETTINGS), threading.Lock()

    def sign(data: bytes, mime: str, source: str, parameters: Mapping[str, Any]) -> bytes:
        manifest, given = _manifest(source, parameters)
        with lock, c2pa.Builder(manifest, context=context) as builder:
            if given is not None:
                builder.add_ingredient(*given)
            out = io.BytesIO()
            builder.sign(own, mime, io.BytesIO(data), out)
        return out.getvalue()

    try:
        own = c2pa.Signer.from_info(c2pa.C2paSignerInfo(algorithm, chain, key, None))
        Image.new("RGB", (1, 1)).save(trial := io.BytesIO(), "PNG")
        signed = sign(trial.getvalue(), "image/png", provenance.TRAINED, {})
        with c2pa.Reader("image/png", io.BytesIO(signed), context=context) as reader:
            found = json.loads(reader.json()).get("validation_status", [])
    except c2pa.C2paError as error:
        raise InputError(
            f"{shown} signs no picture: {checks.printable(str(error), 200)}."
        ) from None
    wrong = [status["code"] for status in found if status["code"] != UNTRUSTED]
    if wrong:
        raise InputError(f"{shown} signs no picture that is valid: {', '.join(wrong)}.")
    return sign


def _manifest(
    source: str, parameters: Mapping[str, Any]
) -> tuple[dict[str, Any], tuple[str, str, io.BytesIO] | None]:
    """The claim that is signed, and the picture that went in where its file is still there."""
    agent = {"name": "glide_jax", "version": __version__}
    done: dict[str, Any] = {
        "digitalSourceType": provenance.TYPES + source,
        "softwareAgent": agent,
    }
    model = parameters.get("model")
    if model is not None:
        done["parameters"] = {"glide_jax.model": str(model)}
    if source == provenance.TRAINED:
        return _claim(agent, [{"action": "c2pa.created", **done}]), None
    edit = parameters.get("edit") or {}
    record = edit.get("image") or {}
    opened = {"action": "c2pa.opened", "parameters": {"ingredientIds": ["went-in"]}}
    actions = [opened, {"action": "c2pa.edited", "description": edit.get("kind", "edit"), **done}]
    path = pathlib.Path(record["path"]) if "path" in record else None
    ingredient = {
        "title": path.name if path else "a picture that was sent",
        "relationship": "parentOf",
        "label": "went-in",
        "instance_id": f"sha256:{record['sha256']}" if "sha256" in record else "unknown",
    }
    given = None if path is None else _went_in(path, record["sha256"])
    if given is None:
        return {**_claim(agent, actions), "ingredients": [ingredient]}, None
    mime, data = given
    return _claim(agent, actions), (json.dumps(ingredient), mime, io.BytesIO(data))


def _claim(agent: dict[str, Any], actions: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "claim_generator_info": [agent],
        "assertions": [{"label": "c2pa.actions.v2", "data": {"actions": actions}}],
    }


def _went_in(path: pathlib.Path, sha256: str) -> tuple[str, bytes] | None:
    """Type and bytes of the picture that went in; None where it has gone or is another by now."""
    try:
        if files.is_stream(path) or path.stat().st_size > _LONGEST_INPUT:
            return None
        image, data = images.read(path), path.read_bytes()
        same = canvas.identity(image)["sha256"] == sha256
        mime = Image.MIME.get(image.format or "")
    except (OSError, InputError):
        return None
    return (mime, data) if same and mime else None


def _key(pem: bytes, shown: str) -> tuple[bytes, bytes]:
    """C2PA's name of the algorithm of a private key, and the key in PKCS 8."""
    extra("cryptography")
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    found = re.search(
        rb"-----BEGIN ([A-Z ]*)PRIVATE KEY-----.*?-----END [A-Z ]*-----", pem, re.DOTALL
    )
    try:
        if found is None:
            raise ValueError("there is none")
        key = serialization.load_pem_private_key(found[0], None)
    except (ValueError, TypeError) as error:  # the latter where it is encrypted
        why = checks.printable(str(error), 200).rstrip(".")
        raise InputError(f"the private key in {shown} cannot be read: {why}.") from None
    match key:
        case ec.EllipticCurvePrivateKey():
            curves = {"secp256r1": b"es256", "secp384r1": b"es384", "secp521r1": b"es512"}
            algorithm = curves.get(key.curve.name)
        case ed25519.Ed25519PrivateKey():
            algorithm = b"ed25519"
        case rsa.RSAPrivateKey():
            algorithm = b"ps256"
        case _:
            algorithm = None
    if algorithm is None:
        raise InputError(
            f"the private key in {shown} is of a kind that C2PA does not sign with; it must be of "
            "P-256, P-384, P-521, Ed25519 or RSA."
        )
    plain = serialization.NoEncryption()
    return algorithm, key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain
    )


def _new_pem() -> bytes:
    """A certificate, that of its self-made issuer, and its private key."""
    extra("cryptography")
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]  # the issuer's, the signer's
    name = lambda text: x509.Name(
        [
            x509.NameAttribute(kind, text)
            for kind in (NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME)
        ]
    )
    names, now = [name(f"{_NAME} issuer"), name(_NAME)], datetime.datetime.now(datetime.UTC)

    def certificate(own: int) -> bytes:
        issues = own == 0
        usage = dict.fromkeys(
            ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
             "encipher_only", "decipher_only"), False,
        )  # fmt: skip
        usage |= dict(digital_signature=not issues, key_cert_sign=issues, crl_sign=issues)
        above, mine = (key.public_key() for key in (keys[0], keys[own]))
        builder = (
            x509.CertificateBuilder(names[0], names[own], mine, x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=_DAYS))
            .add_extension(x509.BasicConstraints(issues, None), True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(mine), False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(above), False)
            .add_extension(x509.KeyUsage(**usage), True)
        )
        if not issues:
            mail = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION])  # C2PA asks for it
            builder = builder.add_extension(mail, False)
        return builder.sign(keys[0], hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    private = keys[1].private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return certificate(1) + certificate(0) + private
