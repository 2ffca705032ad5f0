"""Hostile forms, and pictures in them, made from a seed."""

import itertools
import random
from collections.abc import Callable

from tests import fuzz
from tests.serving.hostile import EDITS, FIELDS, FORMS, REPEAT, VALUES, VARIATIONS
from tests.serving.hostile_pictures import bombs, sound, strange
from tests.serving.wire import Shot, request

Part = tuple[bytes, bytes]  # a part's lines of headers, and what it holds


def _field(name: str, value: bytes) -> Part:
    return b'Content-Disposition: form-data; name="%s"' % name.encode(), value


def _file(name: str, data: bytes, filename: bytes = b"a.png") -> Part:
    return (
        b'Content-Disposition: form-data; name="%s"; filename="%s"\r\nContent-Type: image/png'
        % (name.encode(), filename),
        data,
    )


def _form(path: str, parts: list[Part], boundary: bytes = b"x", **more) -> Shot:
    body = b"".join(b"--%s\r\n%s\r\n\r\n%s\r\n" % (boundary, *part) for part in parts)
    kind = more.get("kind", b"multipart/form-data; boundary=" + boundary)
    body = more.get("change", lambda raw: raw)(body + b"--%s--\r\n" % boundary)
    return Shot(request("POST", path, body, [b"Content-Type: " + kind]))


def _good_parts(rng: random.Random, path: str) -> list[Part]:
    """Parts that are right for a route, of few steps."""
    parts = [_file("image", sound()["PNG"])]
    if path != REPEAT:
        parts += [_field("num_inference_steps", b"1")]
    if path == EDITS:
        parts += [_field("prompt", b"a red circle")]
        parts += [_file("mask", sound()["clear"])] * rng.randrange(2)
    rng.shuffle(parts)
    return parts


def form_values(rng: random.Random) -> Shot:
    """Fields with values of any kind, some of them twice, unknown, or files."""
    path = rng.choice(FORMS[:2])
    parts = _good_parts(rng, path)
    for _ in range(rng.choice((1, 1, 2, 3))):
        name, value = rng.choice(FIELDS) + rng.choice(("", "", "", "[]")), rng.choice(VALUES)
        value = rng.choice((value, value.strip(b'"'), value.strip(b'"')))
        part = _file(name, value) if rng.random() < 0.15 else _field(name, value)
        parts.insert(rng.randrange(len(parts) + 1), part)
    return _form(path, parts)


def form_cut(rng: random.Random) -> Shot:
    """A form that ends anywhere, often at the edges of its parts."""
    path = rng.choice(FORMS)

    def cut(raw: bytes) -> bytes:
        edges = [k for k in range(len(raw)) if raw[k : k + 2] in (b"\r\n", b"--", b'="', b": ")]
        at = rng.choice((rng.choice(edges) + rng.randrange(3), rng.randrange(len(raw))))
        return raw[:at]

    return _form(path, _good_parts(rng, path), change=cut)


def form_damaged(rng: random.Random) -> Shot:
    """A form with damage anywhere."""
    path = rng.choice(FORMS)
    return _form(path, _good_parts(rng, path), change=lambda raw: fuzz.mutate(raw, rng))


def form_types(rng: random.Random) -> Shot:
    """Boundaries that are missing, wrong, long or within the content, and codings of texts."""
    path, parts = rng.choice(FORMS), []
    boundary = rng.choice(
        (b"x", b"-", b"--", b"a" * 70, b"a" * 5000, b"a b", b"'()+_,-./:=?", b"\xff")
    )
    charsets = (
        b"utf-8", b"utf-16", b"utf-7", b"idna", b"punycode", b"undefined", b"hex", b"base64",
        b"zip",
        b"rot13", b"mbcs", b"raw_unicode_escape", b"unicode_escape", b"x" * 5000, b"..", b"\xff",
        b"",
        b"utf-8; charset=idna", b"__main__", b"a/b", b"cp65001", b"utf_8_sig", b"oem", b"cp037",
    )  # fmt: skip
    form = b"multipart/form-data"
    kind = rng.choice((
        form, form + b"; boundary=", form + b"; boundary", form + b"; boundary=y", form + b";",
        form + b"; boundary=y; boundary=" + boundary, form + b'; boundary="%s"' % boundary,
        form + b'; boundary="' + boundary, form + b"; boundary*=utf-8''" + boundary,
        form + b"; boundary*0=x; boundary*1=y", form + b";;;" * 3000 + b"boundary=" + boundary,
        b"multipart/mixed; boundary=" + boundary, b"MULTIPART/FORM-DATA; BOUNDARY=" + boundary,
        b"application/x-www-form-urlencoded", b"application/json", b"text/plain", b"",
        *(form + b"; charset=%s; boundary=%s" % (name, boundary) for name in charsets),
    ))  # fmt: skip
    inner = b"\r\n--%s\r\n" % boundary
    texts = (
        b"a circle",
        inner,
        inner[:-2] + b"--",
        inner[2:],
        inner[:-3],
        b"\xff\xfe",
        b"xn--a.." * 9,
    )
    parts = [*_good_parts(rng, path), _field("user", rng.choice(texts))]
    return _form(path, parts, boundary, kind=kind)


def form_parts(rng: random.Random) -> Shot:
    """Parts without names, with names of every kind, nested, empty, or thousands of them."""
    path = rng.choice(FORMS)
    disposition = b"Content-Disposition: form-data; "
    names = (
        b'name=""', b"name=image", b'name="image', b'name="a\x00b"', b'name="a\r\nX: y"', b"",
        b'name="image"; name="mask"', b"name*=utf-8''im%61ge", b"name*=utf-8''%ff", b'name="\xff"',
        b"name*=idna''x", b"name*=undefined''x%20", b"name*0=im; name*1=age", b'name="image\\"x"',
        b'name="' + b"a" * 9000 + b'"', b'name="image"; filename=""', b'name="image"; filename',
        b'name="image"; filename="../../x\x00.png"', b"name=\"image\"; filename*=utf-8''%00%2f",
        b'name="image"; filename="a\r\n\r\n"', b'name="mask"; filename="' + b"b" * 9000 + b'"',
        b'name="[]"', b'name="image[]"', b'name="image[][]"', b'name="\xed\xa0\x80"', b'; ; ="',
        b'name="image"; filename="a.png"; filename*=utf-8\'\'%ed%a0%80',
    )  # fmt: skip
    strange: list[Part] = [
        (disposition + rng.choice(names), rng.choice((b"", sound()["PNG"], b"\x00", b"x" * 3000))),
        (disposition + rng.choice(names) + b"\r\nContent-Transfer-Encoding: base64", b"aGk="),
        (b'Content-Disposition: attachment; name="image"', b"x"), (b"", b"x"), (b"X: y", b""),
        (b'content-disposition: form-data; name="user"\r\n' * 2, b""), (b"X" * 70_000, b""),
        (b"Content-Type: multipart/mixed; boundary=y\r\n" + disposition + b'name="image"',
         b"--y\r\nContent-Disposition: file; filename=a\r\n\r\nx\r\n--y--"),
        (disposition + b'name="user"\r\nContent-Type: text/plain; charset=idna', b"\xff" * 99),
        (b"\r\n".join(b"X-%d: y" % k for k in range(2000)) + b"\r\n" + disposition + b'name="n"',
        b"1"),
        _field("user", b"y" * rng.choice((1 << 10, 1 << 19))), _field("image", sound()["PNG"]),
    ]  # fmt: skip
    parts = [*_good_parts(rng, path), *rng.sample(strange, rng.randrange(1, 4))]
    if rng.random() < 0.2:
        one = rng.choice(
            (_field("", b""), _field("user", b"x"), _file("image", b""), _file("a", b"x"))
        )
        parts += [one] * rng.choice((5, 65, 3000, 9000))
    rng.shuffle(parts)
    return _form(path, parts)


def form_coded(rng: random.Random) -> Shot:
    """The other coding of forms, which holds no pictures."""
    texts = (b"", b"=", b"&", b"&&&&", b"%", b"%ff=%fe", b"image=x", b"a=b&" * 3000, b"prompt=%00",
             b"image=a&image=b", b"n=%31&prompt=x&seed=1", b";", b"\xff",
             b"prompt=" + b"a" * 900_000,
             b"image[]=x", b"%5b%5d=1", b"n" * 900_000)  # fmt: skip
    body = rng.choice(texts) + rng.choice((b"", b"&", b"&x=y", b"\x00"))
    kind = b"Content-Type: application/x-www-form-urlencoded"
    return Shot(request("POST", rng.choice(FORMS), fuzz.mutate(body, rng), [kind]))


def _of_picture(rng: random.Random, data: bytes) -> Shot:
    """A picture where pictures go."""
    path = rng.choice((EDITS, EDITS, VARIATIONS, REPEAT))
    name = rng.choice((b"a.png", b"a.jpg", b"", b"x.svg", b"../../a", b"a\x00.png", "é".encode()))
    parts = [_file("image", data, name)]
    if path != REPEAT:
        parts.append(_field("num_inference_steps", b"1"))
    if path == EDITS:
        parts.append(_field("prompt", b"a red circle"))
        match rng.randrange(4):
            case 0:
                parts = [_file("image", sound()["PNG"]), _file("mask", data, name), *parts[1:]]
            case 1:
                parts.append(_file("mask", sound()["clear"]))
            case 2:
                parts.append(_file("mask", data))
    return _form(path, parts)


def pictures_bombs(rng: random.Random) -> Shot:
    """Pictures that claim or unpack to much, or lie of their lengths."""
    return _of_picture(rng, rng.choice([*bombs().values()]))


def pictures_strange(rng: random.Random) -> Shot:
    """Pictures of every mode, several kinds at once, and files that are none."""
    return _of_picture(rng, rng.choice([*strange().values(), *sound().values()]))


def pictures_damaged(rng: random.Random) -> Shot:
    """Pictures of every format with damage."""
    pictures = itertools.chain(sound().values(), strange().values())
    return _of_picture(rng, fuzz.mutate(rng.choice([*pictures]), rng))


def pictures_cut(rng: random.Random) -> Shot:
    """Pictures that end too soon."""
    data = rng.choice([*sound().values()])
    return _of_picture(rng, data[: rng.randrange(len(data))])


KINDS: dict[str, Callable[[random.Random], Shot]] = {
    kind.__name__: kind
    for kind in (form_values, form_cut, form_damaged, form_types, form_parts, form_coded,
                 pictures_bombs, pictures_strange, pictures_damaged, pictures_cut)
}  # fmt: skip
