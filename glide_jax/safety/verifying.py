"""The claims that a picture's file makes about where it comes from, and whether they hold."""

import importlib.util
import io
import json
import pathlib
from typing import Any, NamedTuple

from PIL import Image

from glide_jax import checks, images, provenance, watermark
from glide_jax.errors import InputError
from glide_jax.extras import extra

UNTRUSTED = "signingCredential.untrusted"  # C2PA's code for a signer whom nobody vouches for


class Credential(NamedTuple):
    """A C2PA record."""

    state: str  # "Trusted", "Valid" by a certificate that is not, "Invalid", or "Unread"
    signer: str = ""  # a name in its certificate
    ours: bool = False  # whether this package made the claim
    faults: str = ""  # C2PA's codes


class Verdict(NamedTuple):
    """The findings about one file."""

    ours: bool  # whether it claims to come from this package, or has its invisible mark
    altered: bool | None  # whether it was changed since; None where that cannot be told
    watermark: int | None  # the tag of that mark, see `watermark.tag`
    words: str  # all of it in a sentence


def verify(path: pathlib.Path, trusted: bytes | None = None) -> Verdict:
    """Reads the claims of a picture and compares them with its pixels.

    A claim without a valid C2PA record is no proof: anybody can write any text into a file.

    Args:
        path: the picture.
        trusted: certificates in PEM that are trusted to sign; by default none is.

    Raises:
        InputError: it is no picture, or cannot be read.
    """
    image = images.read(path)
    claims = provenance.claims(image.info.get("xmp"))
    record = _credential(path, Image.MIME.get(image.format or "", ""), trusted)
    recorded = images.METADATA in image.info or bool(claims.version)
    recorded = recorded or (record is not None and record.ours)
    mark = watermark.read(image)
    ours = recorded or mark is not None
    altered = claims.pixels != images.pixels_hash(image) if claims.pixels else None
    if record is not None and record.state != "Unread":
        altered = bool(altered) or record.state == "Invalid"
    change = [_change(altered)] if ours else []
    words = [_origin(recorded, claims, mark), *change, _signature(record)]
    return Verdict(ours, altered if ours else None, mark, f"{'; '.join(words)}.")


def _origin(recorded: bool, claims: provenance.Claims, mark: int | None) -> str:
    """The origin by records, if they name this package (`recorded`), and by the mark."""
    source, invisible = checks.printable(claims.source, 60), _invisible(mark)
    if recorded:
        version = f" {checks.printable(claims.version, 20)}" if claims.version else ""
        origin = f"a picture of glide_jax{version}, {source or 'without a digital source type'}"
        return f"{origin}, with {invisible}" if invisible else origin
    if invisible:
        return f"a picture of glide_jax by {invisible}, without its records"
    return f"no picture of glide_jax{f', its XMP claims {source}' if source else ''}"


def _invisible(mark: int | None) -> str:
    """A mark in words, with the model in the box that has its tag."""
    if mark is None:
        return ""
    from glide_jax.model_dir import reading  # which imports the networks, as few files need

    named = [name for name in reading.boxed_models() if watermark.tag(name) == mark]
    return f"the invisible mark {mark:05x}{f' (model {named[0]})' if named else ''}"


def _change(altered: bool | None) -> str:
    if altered is None:
        return "whether it was altered since cannot be told"
    return "altered since it was written" if altered else "as it was written"


def _signature(record: Credential | None) -> str:
    if record is None:
        return "no C2PA record"
    who = checks.shown(record.signer, 100)
    return {
        "Trusted": f"C2PA record valid, signed by {who}, who is trusted",
        "Valid": f"C2PA record valid, signed by {who}, for whom no certificate of --trust vouches",
        "Invalid": f"C2PA record broken ({checks.printable(record.faults, 200)})",
        "Unread": "a C2PA record that is not checked: pip install 'glide-jax[provenance]' for that",
    }[record.state]


def _credential(path: pathlib.Path, mime: str, trusted: bytes | None) -> Credential | None:
    """The C2PA record of a picture; None if it has none."""
    data = path.read_bytes()
    if b"jumb" not in data or b"c2pa" not in data:
        return None
    if trusted is None and importlib.util.find_spec("c2pa") is None:
        return Credential("Unread")
    c2pa = extra("c2pa")
    settings: dict[str, Any] = {"verify": {"verify_trust": True, "remote_manifest_fetch": False}}
    if trusted is not None:
        settings["trust"] = {"user_anchors": trusted.decode("ascii", "replace")}
    try:
        context = c2pa.Context.from_dict(settings)
    except c2pa.C2paError as error:
        raise InputError(
            f"the certificates of --trust cannot be read: {checks.printable(str(error), 200)}."
        ) from None
    try:
        with c2pa.Reader(mime, io.BytesIO(data), context=context) as reader:
            found = json.loads(reader.json())
            state = str(reader.get_validation_state())
    except c2pa.C2paError as error:
        kind = type(error).__name__
        missing = kind.endswith(("ManifestNotFound", "NotSupported"))
        return None if missing else Credential("Invalid", faults=str(error))
    claim = found["manifests"][found["active_manifest"]]
    makers = {maker.get("name") for maker in claim.get("claim_generator_info", ())}
    name = claim.get("signature_info", {}).get("issuer", "")
    faults = [status["code"] for status in found.get("validation_status", ())]
    faults = [code for code in faults if code != UNTRUSTED]
    return Credential(state, str(name), "glide_jax" in makers, ", ".join(faults))
