"""A short hash that identifies a set, which hosts compare, and runs when they are resumed."""

import hashlib

import numpy as np

from glide_jax.data import catalogue
from glide_jax.data.example import Rejected, Source

_LOOKED_AT = 16  # pictures
_CAPTIONS = 256


def fingerprint(source: Source) -> str:
    """Returns a hash of captions, sizes and pixels of some records spread over the set.

    To it come the names of files in the set and their sizes, where its reader knows them. The place
    of the set does not count: it may differ between hosts that have copies of the same.
    """
    digest = hashlib.sha256()
    for index in np.unique(np.linspace(0, max(len(source) - 1, 0), _LOOKED_AT).astype(int)):
        if index >= len(source):
            continue
        try:
            example = source[int(index)]
            content = (
                repr((example.captions, example.image.shape)).encode() + example.image.tobytes()
            )
        except Rejected as rejected:
            content = rejected.reason.encode()
        digest.update(content)
    digest.update(repr(catalogue.captions_in(source, _CAPTIONS)).encode())
    for part in source.parts if isinstance(source, catalogue.Joined) else (source,):
        for fact in getattr(part, "stamp", tuple)():
            digest.update(repr(fact).encode("utf-8", "backslashreplace"))
    return digest.hexdigest()[:16]
