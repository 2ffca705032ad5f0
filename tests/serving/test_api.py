"""The protocol, spoken by the unmodified OpenAI client and by hand."""

import base64
import dataclasses
import http.client
import io
import json
import socket
import urllib.parse
import warnings

import numpy as np
import openai
import pytest
from PIL import Image

from glide_jax import images, provenance
from glide_jax.data.readers import procedural
from glide_jax.safety.prompt_filter import PromptFilter
from glide_jax.sampling.glide import Glide
from tests.serving.conftest import LIMITS, png, running

PROMPT = "a red circle"
FEW = {"num_inference_steps": 2}
RNG = np.random.default_rng(0)
SOURCE = Image.fromarray(RNG.integers(0, 256, (40, 48, 3), np.uint8))


def masked(alpha: int = 0) -> Image.Image:
    """The source with a part of that alpha."""
    picture = SOURCE.convert("RGBA")
    picture.paste((9, 9, 9, alpha), (10, 10, 30, 30))
    return picture


FILES = {
    "source": png(SOURCE),
    "clear": png(masked()),
    "mask": png(masked()),
    "opaque": png(SOURCE.convert("RGBA")),
    "half": png(masked(128)),
    "small": png(masked().resize((10, 10))),
    "large": png(Image.new("L", (400, 400))),
    "cut": png(SOURCE)[:200],
    "text": b"no picture",
    "empty": b"",
}


@pytest.fixture(scope="module")
def client(server):
    return openai.OpenAI(api_key="any", base_url=f"{server}/v1", max_retries=0)


def file(name: str):
    return (f"{name}.png", FILES[name], "image/png")


def generate(client, **fields):
    extra = {**FEW, **fields.pop("extra", {})}
    return client.images.generate(**{"prompt": PROMPT, "extra_body": extra, **fields})


def edit(client, image="source", **fields):
    extra = {**FEW, **fields.pop("extra", {})}
    if "mask" in fields:
        fields["mask"] = file(fields["mask"])
    return client.images.edit(
        **{"image": file(image), "prompt": PROMPT, "extra_body": extra, **fields}
    )


def vary(client, image="source", **fields):
    extra = {**FEW, **fields.pop("extra", {})}
    with warnings.catch_warnings(category=DeprecationWarning, action="ignore"):  # OpenAI drops it
        return client.images.create_variation(image=file(image), extra_body=extra, **fields)


def decoded(answer) -> list[Image.Image]:
    return [Image.open(io.BytesIO(base64.b64decode(item.b64_json))) for item in answer.data]


SOUND = {  # name: call, size of the pictures, number of them, format
    "prompt alone": (generate, {}, (32, 32), 1, "PNG"),
    "empty prompt": (generate, {"prompt": ""}, (32, 32), 1, "PNG"),
    "prompt of another script": (generate, {"prompt": "犬 🎈"}, (32, 32), 1, "PNG"),
    "model": (generate, {"model": "plain"}, (32, 32), 1, "PNG"),
    "n": (generate, {"n": 3}, (32, 32), 3, "PNG"),
    "n is null": (generate, {"n": None}, (32, 32), 1, "PNG"),
    "largest n": (generate, {"n": 4}, (32, 32), 4, "PNG"),
    "size auto": (generate, {"size": "auto"}, (32, 32), 1, "PNG"),
    "size of the base": (generate, {"size": "16x16"}, (16, 16), 1, "PNG"),
    "size of the upsampler": (generate, {"size": "32x32"}, (32, 32), 1, "PNG"),
    "b64_json": (generate, {"response_format": "b64_json"}, (32, 32), 1, "PNG"),
    "webp": (generate, {"output_format": "webp"}, (32, 32), 1, "WEBP"),
    "jpeg": (generate, {"output_format": "jpeg"}, (32, 32), 1, "JPEG"),
    "png": (generate, {"output_format": "png"}, (32, 32), 1, "PNG"),
    "compression": (
        generate, {"output_format": "jpeg", "output_compression": 5}, (32, 32), 1, "JPEG",
    ),
    "user": (generate, {"user": "me"}, (32, 32), 1, "PNG"),
    "stream is false": (generate, {"stream": False}, (32, 32), 1, "PNG"),
    "negative prompt": (generate, {"extra": {"negative_prompt": "blue"}}, (32, 32), 1, "PNG"),
    "guidance": (generate, {"extra": {"guidance_scale": 7.5}}, (32, 32), 1, "PNG"),
    "no guidance": (generate, {"extra": {"guidance_scale": 1}}, (32, 32), 1, "PNG"),
    "seed": (generate, {"extra": {"seed": 4294967295}}, (32, 32), 1, "PNG"),
    "sampler": (generate, {"extra": {"sampler": "ddim"}}, (32, 32), 1, "PNG"),
    "preset": (generate, {"extra": {"preset": "fast"}}, (32, 32), 1, "PNG"),
    "edit by a mask": (edit, {"mask": "mask"}, (48, 40), 1, "PNG"),
    "edit by its own transparency": (edit, {"image": "clear"}, (48, 40), 1, "PNG"),
    "edit by half transparency": (edit, {"mask": "half"}, (48, 40), 1, "PNG"),
    "edit of its own size": (edit, {"mask": "mask", "size": "48x40"}, (48, 40), 1, "PNG"),
    "edit of several": (edit, {"mask": "mask", "n": 2}, (48, 40), 2, "PNG"),
    "edit from what is there": (
        edit, {"mask": "mask", "extra": {"strength": 0.5}}, (48, 40), 1, "PNG",
    ),
    "edit as webp": (edit, {"mask": "mask", "output_format": "webp"}, (48, 40), 1, "WEBP"),
    "edit with all the words": (
        edit, {"mask": "mask", "extra": {"seed": 3, "guidance_scale": 2.0, "sampler": "ddim",
                                         "negative_prompt": "red"}}, (48, 40), 1, "PNG",
    ),
    "variation": (vary, {}, None, 1, "PNG"),
    "variations": (vary, {"n": 2}, None, 2, "PNG"),
    "variation by strength": (vary, {"extra": {"strength": 0.9}}, None, 1, "PNG"),
    "variation as jpeg": (vary, {"extra": {"output_format": "jpeg"}}, None, 1, "JPEG"),
}  # fmt: skip


@pytest.mark.parametrize("name", SOUND)
def test_a_sound_request_gives_its_pictures(client, name):
    call, fields, size, count, kind = SOUND[name]
    answer = call(client, **fields)
    pictures = decoded(answer)
    assert len(pictures) == count
    assert {picture.format for picture in pictures} == {kind}
    assert answer.output_format == kind.lower()
    for picture in pictures:
        mark = provenance.claims(picture.info["xmp"])
        assert mark.source == (provenance.TRAINED if call is generate else provenance.COMPOSITE)
        assert mark.pixels == images.pixels_hash(picture)
    if size is not None:
        assert {picture.size for picture in pictures} == {size}
        assert answer.size == f"{size[0]}x{size[1]}"
    if count > 1:
        first, second = (np.asarray(picture.convert("RGB")) for picture in pictures[:2])
        assert (first != second).any()


WRONG = {  # name: call, status, field, words of the sentence
    "no prompt": (generate, {"prompt": None}, 400, "prompt", "prompt is missing"),
    "prompt that is a number": (generate, {"prompt": 3}, 400, "prompt", "it must be a text"),
    "long prompt": (generate, {"prompt": "x" * 201}, 400, "prompt", "201 characters"),
    "long negative prompt": (
        generate, {"extra": {"negative_prompt": "x" * 201}}, 400, "negative_prompt", "201",
    ),
    "no such model": (generate, {"model": "dall-e-3"}, 404, "model", "it is 'plain'"),
    "record_prompt": (
        generate, {"extra": {"record_prompt": "no"}}, 400, "record_prompt", "true or false",
    ),
    "n of 0": (generate, {"n": 0}, 400, "n", "from 1 to 4"),
    "huge n": (generate, {"n": 10**9}, 400, "n", "from 1 to 4"),
    "n that is a text": (generate, {"n": "many"}, 400, "n", "from 1 to 4"),
    "wrong size": (generate, {"size": "1024x1024"}, 400, "size", "one of 16x16, 32x32"),
    "size that is none": (generate, {"size": "big"}, 400, "size", "must be auto or"),
    "format": (generate, {"output_format": "gif"}, 400, "output_format", "png, webp, jpeg"),
    "response format": (
        generate, {"response_format": "raw"}, 400, "response_format", "b64_json, url",
    ),
    "compression": (
        generate, {"output_compression": 101}, 400, "output_compression", "from 0 to 100",
    ),
    "quality": (generate, {"quality": "hd"}, 400, "quality", "means nothing here"),
    "style": (generate, {"style": "vivid"}, 400, "style", "means nothing here"),
    "background": (generate, {"background": "transparent"}, 400, "background", "means nothing"),
    "moderation": (generate, {"moderation": "low"}, 400, "moderation", "means nothing here"),
    "unknown field": (generate, {"extra": {"steps": 3}}, 400, "steps", "means nothing here"),
    "strength of a prompt": (generate, {"extra": {"strength": 0.5}}, 400, "strength", "nothing"),
    "no steps": (
        generate, {"extra": {"num_inference_steps": 0}}, 400, "num_inference_steps", "1 to 50",
    ),
    "many steps": (
        generate, {"extra": {"num_inference_steps": 51}}, 400, "num_inference_steps", "1 to 50",
    ),
    "seed": (generate, {"extra": {"seed": -1}}, 400, "seed", "from 0 to 4294967295"),
    "fraction as seed": (generate, {"extra": {"seed": 0.5}}, 400, "seed", "whole number"),
    "guidance": (generate, {"extra": {"guidance_scale": "no"}}, 400, "guidance_scale", "-100"),
    "sampler": (generate, {"extra": {"sampler": "euler"}}, 400, "sampler", "ddpm, ddim"),
    "preset": (generate, {"extra": {"preset": "best"}}, 400, "preset", "fast, balanced"),
    "previews without events": (
        generate, {"partial_images": 2}, 400, "partial_images", "needs stream",
    ),
    "four previews": (
        generate, {"partial_images": 4, "stream": True}, 400, "partial_images", "from 0 to 3",
    ),
    "mask of another size": (edit, {"mask": "small"}, 400, "mask", "10 x 10"),
    "mask without transparency": (edit, {"mask": "source"}, 400, "mask", "no transparency"),
    "mask that hides nothing": (edit, {"mask": "opaque"}, 400, "mask", "nothing"),
    "edit of another size": (edit, {"mask": "mask", "size": "32x32"}, 400, "size", "48x40"),
    "strength of nothing": (
        edit, {"mask": "mask", "extra": {"strength": 0}}, 400, "strength", "strength",
    ),
    "damaged picture": (edit, {"image": "cut"}, 400, "image", "damaged"),
    "no picture": (edit, {"image": "text"}, 400, "image", "not a picture"),
    "empty picture": (edit, {"image": "empty"}, 400, "image", "not a picture"),
    "large picture": (edit, {"image": "large"}, 400, "image", "at most 65536"),
    "fidelity": (edit, {"input_fidelity": "high"}, 400, "input_fidelity", "means nothing here"),
    "variation's prompt": (vary, {"extra": {"prompt": "x"}}, 400, "prompt", "means nothing"),
    "variation's strength": (vary, {"extra": {"strength": 2}}, 400, "strength", "strength"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_request_gives_one_sentence_and_the_field(client, name):
    call, fields, status, param, words = WRONG[name]
    with pytest.raises(openai.APIStatusError) as caught:
        call(client, **fields)
    error = caught.value
    assert error.status_code == status
    assert error.body["param"] == param
    assert words in error.body["message"]
    assert error.body["type"] == "invalid_request_error"
    assert "\n" not in error.body["message"]
    assert len(error.body["message"]) < 400


def test_a_seed_is_a_picture_and_its_png_carries_the_parameters(client, glide):
    answer = generate(client, n=2, extra={"seed": 5, "guidance_scale": 2.0, "sampler": "ddim"})
    assert answer.seed == 5
    drawn = glide(PROMPT, n=2, batch_size=1, seed=5, guidance_scale=2.0, sampler="ddim", steps=2)
    for picture, expected in zip(decoded(answer), drawn, strict=True):
        np.testing.assert_array_equal(np.asarray(picture), expected.array)
        # Tuples come back from JSON as lists.
        assert images.parameters_of(picture) == json.loads(json.dumps(expected.parameters))


def test_a_picture_may_leave_without_its_prompt(client):
    [picture] = decoded(generate(client, extra={"record_prompt": False, "seed": 1}))
    parameters = images.parameters_of(picture)
    assert "prompt" not in parameters
    assert parameters["seed"] == 1


def test_without_a_seed_every_request_has_its_own_which_is_named(client):
    first, second = generate(client), generate(client)
    assert first.seed != second.seed
    again = generate(client, extra={"seed": first.seed})
    assert again.data[0].b64_json == first.data[0].b64_json


def test_pixels_outside_the_mask_stay(client):
    for fields in ({"mask": "mask"}, {"image": "clear"}):
        [picture] = decoded(edit(client, **fields))
        same = (np.asarray(picture.convert("RGB")) == np.asarray(SOURCE)).all(-1)
        assert same[:10].all()
        assert same[30:].all()
        assert same[:, :10].all()
        assert same[:, 30:].all()
        assert not same[10:30, 10:30].all()


@pytest.mark.parametrize("partial", [None, 0, 1, 2, 3])
@pytest.mark.parametrize("call", [generate, edit])
def test_events_are_previews_then_the_picture(client, call, partial):
    fields = {} if partial is None else {"partial_images": partial}
    fields |= {"mask": "mask"} if call is edit else {}
    whole = call(client, **{k: v for k, v in fields.items() if k == "mask"}, extra={"seed": 9,
                 "num_inference_steps": 6})  # fmt: skip
    kind = "image_edit" if call is edit else "image_generation"
    extra = {"seed": 9, "num_inference_steps": 6}
    events = list(call(client, stream=True, extra=extra, **fields))
    assert [event.type for event in events] == [
        *[f"{kind}.partial_image"] * (partial or 0), f"{kind}.completed",
    ]  # fmt: skip
    assert [event.partial_image_index for event in events[:-1]] == list(range(partial or 0))
    assert events[-1].b64_json == whole.data[0].b64_json
    assert events[-1].usage.total_tokens == 1
    size = (48, 40) if call is edit else (16, 16)
    for event in events[:-1]:
        preview = Image.open(io.BytesIO(base64.b64decode(event.b64_json)))
        assert preview.size == size
        source = provenance.COMPOSITE if call is edit else provenance.TRAINED
        assert provenance.claims(preview.info["xmp"]).source == source


def test_events_of_several_pictures_name_theirs(client):
    events = list(generate(client, n=2, stream=True, partial_images=1, extra={"seed": 1}))
    assert sorted(event.index for event in events if event.type.endswith("completed")) == [0, 1]


def asked(server, method, path, body=b"", **headers):
    """Status, headers and body of a request by hand."""
    place = urllib.parse.urlsplit(server)
    connection = http.client.HTTPConnection(place.hostname, place.port, timeout=60)
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    return answer.status, answer.headers, answer.read()


def sentence(body: bytes) -> str:
    return json.loads(body)["error"]["message"]


def test_addresses_hold_the_picture(client, server):
    [item] = generate(client, response_format="url").data
    assert item.b64_json is None
    status, headers, body = asked(server, "GET", urllib.parse.urlsplit(item.url).path)
    assert status == 200
    assert headers["content-type"] == "image/png"
    assert Image.open(io.BytesIO(body)).size == (32, 32)
    status, _, body = asked(server, "GET", "/v1/files/other.png")
    assert (status, sentence(body)) == (404, "there is no such picture, or it was long ago.")


def test_models_health_and_metrics(client, server):
    generate(client)
    assert [model.id for model in client.models.list()] == ["plain"]
    assert client.models.retrieve("plain").owned_by == "glide_jax"
    with pytest.raises(openai.NotFoundError, match="there is no model 'x/y' here"):
        client.models.retrieve("x/y")
    status, _, body = asked(server, "GET", "/health")
    assert (status, json.loads(body)["status"]) == (200, "ok")
    status, headers, body = asked(server, "GET", "/metrics")
    assert headers["content-type"].startswith("text/plain")
    values = dict(line.rsplit(" ", 1) for line in body.decode().splitlines() if line[0] != "#")
    assert float(values["glide_pictures"]) > 0
    assert float(values["glide_slots"]) == 3
    assert float(values["glide_compiled_programs"]) > 0


def test_a_png_of_ours_gives_its_parameters(client, server):
    [item] = generate(client, extra={"seed": 11}).data
    form = lambda data: (
        b'--x\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\n'
        + data + b"\r\n--x--\r\n"
    )  # fmt: skip
    kind = {"Content-Type": "multipart/form-data; boundary=x"}
    ours = form(base64.b64decode(item.b64_json))
    status, _, body = asked(server, "POST", "/v1/repeat", ours, **kind)
    assert status == 200
    assert json.loads(body)["seed"] == 11
    status, _, body = asked(server, "POST", "/v1/repeat", form(FILES["source"]), **kind)
    assert (status, sentence(body)) == (
        400, "the image carries no parameters of this program.",
    )  # fmt: skip


BROKEN = {  # name: method, path, body, headers, status, words
    "no JSON": ("POST", "/v1/images/generations", b"{", {}, 400, "must be a JSON object"),
    "a list": ("POST", "/v1/images/generations", b"[]", {}, 400, "must be a JSON object"),
    "deep JSON": ("POST", "/v1/images/generations", b"[" * 100_000, {}, 400, "JSON object"),
    "nothing": ("POST", "/v1/images/generations", b"", {}, 400, "must be a JSON object"),
    "a form without a boundary": (
        "POST", "/v1/images/edits", b"x", {"Content-Type": "multipart/form-data"}, 400, "form",
    ),
    "a form that is cut": (
        "POST", "/v1/images/edits", b"--x\r\nContent-Dispo",
        {"Content-Type": "multipart/form-data; boundary=x"}, 400, "missing",
    ),
    "a large body": ("POST", "/v1/images/generations", b"x" * (2 << 20), {}, 413, "too large"),
    "another path": ("GET", "/v1/nothing", b"", {}, 404, "there is nothing at '/v1/nothing'"),
    "another method": ("GET", "/v1/images/edits", b"", {}, 405, "GET is not possible here"),
    "another Host": ("GET", "/health", b"", {"Host": "evil.example"}, 421, "under that name"),
    "another Origin": (
        "GET", "/health", b"", {"Origin": "http://evil.example"}, 403, "other sites",
    ),
    "an Origin of no place": ("GET", "/health", b"", {"Origin": "null"}, 403, "other sites"),
    "an Origin that is none": ("GET", "/health", b"", {"Origin": "http://["}, 403, "other sites"),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_no_request_gets_a_sentence_too(server, name):
    method, path, body, headers, status, words = BROKEN[name]
    try:
        answered, _, reply = asked(server, method, path, body, **headers)
    except (BrokenPipeError, ConnectionResetError):  # the server closed while we were sending
        assert status == 413
        return
    assert answered == status
    assert words in sentence(reply)


def test_a_body_without_a_length_is_cut_off_at_the_limit(server):
    place = urllib.parse.urlsplit(server)
    with socket.create_connection((place.hostname, place.port), timeout=60) as connection:
        connection.sendall(
            b"POST /v1/images/generations HTTP/1.1\r\nHost: localhost\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n"
        )
        chunk = b"10000\r\n" + b"x" * 65536 + b"\r\n"
        try:
            for _ in range(64):
                connection.sendall(chunk)
        except OSError:
            pass
        else:
            connection.sendall(b"0\r\n\r\n")
        assert b"413" in connection.recv(4096).split(b"\r\n")[0]


@pytest.mark.parametrize("origin", ["http://localhost:9", "http://127.0.0.1", "http://[::1]:80"])
def test_the_pages_of_this_machine_may_ask(server, origin):
    assert asked(server, "GET", "/health", Origin=origin)[0] == 200


def test_a_key_is_asked_for_where_there_is_one(glide):
    with running(glide, api_key="secret") as (url, _):
        wrong = openai.OpenAI(api_key="other", base_url=f"{url}/v1", max_retries=0)
        with pytest.raises(openai.AuthenticationError, match="the API key is missing or wrong"):
            wrong.models.list()
        right = openai.OpenAI(api_key="secret", base_url=f"{url}/v1", max_retries=0)
        assert [model.id for model in right.models.list()] == ["plain"]
        assert asked(url, "GET", "/health")[0] == 200


def test_an_answer_has_notes_about_a_prompt_that_means_something_else(glide):
    known = dataclasses.replace(glide.loaded, forms=procedural.Scenes(count=1).forms)
    with running(Glide(known)) as (url, _):
        body = json.dumps({"prompt": "a green heart", **FEW}).encode()
        status, _, raw = asked(url, "POST", "/v1/images/generations", body)
        answer = json.loads(raw)
        assert status == 200
        [note] = answer["notes"]
        assert "the nearest prompt of such a form is 'a large green heart on a" in note
        client = openai.OpenAI(api_key="any", base_url=f"{url}/v1", max_retries=0)
        *_, done = generate(client, prompt="a green heart", stream=True)
        assert done.notes == [note]
        body = json.dumps({"prompt": "two red rings on a white background", **FEW}).encode()
        [cut] = json.loads(asked(url, "POST", "/v1/images/generations", body)[2])["notes"]
        assert "its end is not seen" in cut  # 12 tokens are few
        body = json.dumps({"prompt": "", **FEW}).encode()
        assert "notes" not in json.loads(asked(url, "POST", "/v1/images/generations", body)[2])


def test_a_full_queue_says_when_to_come_again(glide):
    with running(glide, slots=1, room=0) as (url, engine):
        client = openai.OpenAI(api_key="x", base_url=f"{url}/v1", max_retries=0)
        with pytest.raises(openai.RateLimitError, match="the queue is full") as caught:
            generate(client, n=2)
        assert int(caught.value.response.headers["retry-after"]) >= 1
        assert engine.load == (0, 0)
        assert len(generate(client).data) == 1


def test_a_prompt_that_is_refused_says_why_and_all_have_scores(client):
    with pytest.raises(openai.BadRequestError) as caught:
        generate(client, prompt="a nude woman")
    error = caught.value.body
    assert error["code"] == "content_policy_violation"
    assert error["param"] == "prompt"
    assert "sexual (nude)" in error["message"]
    assert error["prompt_filter"]["scores"]["sexual"] == 1.0
    found = generate(client, prompt="a gun").model_extra["prompt_filter"]
    assert found["scores"] == {
        "people": 0.0, "hate": 0.0, "violence": 0.5, "sexual": 0.0, "children": 0.0,
    }  # fmt: skip
    assert found["reasons"]["violence"] == ["gun"]


def test_a_server_may_let_prompts_be(glide):
    limits = dataclasses.replace(LIMITS, prompts=PromptFilter.of("off"))
    with running(glide, limits=limits) as (url, _):
        client = openai.OpenAI(api_key="any", base_url=f"{url}/v1", max_retries=0)
        answer = generate(client, prompt="a nude woman")
    assert answer.model_extra["prompt_filter"]["reasons"]["sexual"] == ["nude"]


def test_pictures_have_scores_where_there_is_an_output_filter(glide, client):
    scorer = lambda image: image.size[0] / 128
    with running(glide, limits=dataclasses.replace(LIMITS, scorer=scorer)) as (url, _):
        other = openai.OpenAI(api_key="any", base_url=f"{url}/v1", max_retries=0)
        assert generate(other).data[0].model_extra["unfit_score"] == 0.25
        *_, last = generate(other, stream=True)
        assert last.model_extra["unfit_score"] == 0.25
    assert "unfit_score" not in generate(client).data[0].model_extra
