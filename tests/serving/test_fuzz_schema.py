"""The description for programs against the server, by schemathesis: what it allows and forbids."""

import collections
import re

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis import GenerationMode, checks

from glide_jax.serving import openapi
from glide_jax.serving.protocol import Limits
from tests.serving.conftest import running
from tests.serving.test_fuzz_requests import faults  # noqa: F401  a fixture

KEY = "secret"
DRAWING = ("/v1/images/generations", "/v1/images/edits", "/v1/images/variations", "/v1/repeat")
NAMED = ("/v1/models/{name}", "/v1/files/{name}")
PLAIN = ("/v1/models", "/health", "/metrics")
METHODS = {path: "POST" if path in DRAWING else "GET" for path in (*DRAWING, *NAMED, *PLAIN)}
FEW, MANY = 12, 250
DRAWN = 3  # every kind of picture takes seconds to begin with
# What a form leaves open: whether bytes are a picture; and all that it holds is text.
OPEN = [checks.positive_data_acceptance, checks.negative_data_rejection]


@pytest.fixture(scope="module")
def served(glide):
    """A server that asks for a key, whose pictures are soon drawn, and its description."""
    limits = Limits(n=2, steps=2, prompt=100, body=1 << 20, pixels=1 << 14, seconds=9.0)
    with running(glide, limits=limits, api_key=KEY, slots=3, room=16) as (url, _):
        document = requests.get(f"{url}/openapi.json", timeout=9).json()
        schema = schemathesis.openapi.from_dict(document)
        schema.config.update(base_url=url, headers={"Authorization": f"Bearer {KEY}"})
        yield schema


def _allowed(path: str, mode: GenerationMode) -> bool:
    """Whether there is anything to send: nothing is forbidden where nothing is given."""
    return mode is GenerationMode.POSITIVE or path in DRAWING


EVERY = [
    (path, mode)
    for path in METHODS
    for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
    if _allowed(path, mode)
]


def try_all(schema, path, mode, count):
    """Sends requests of one mode to a route; returns how often each status came."""
    operation = schema[path][METHODS[path]]
    counts = collections.Counter()

    @seed(1)
    @settings(
        max_examples=count, deadline=None, database=None, phases=[Phase.generate],
        suppress_health_check=[*HealthCheck],  # pyright: ignore[reportArgumentType]
    )  # fmt: skip
    @given(case=operation.as_strategy(generation_mode=mode))
    def run(case):
        answer = case.call(timeout=10)
        case.validate_response(answer, excluded_checks=OPEN if path in DRAWING[1:] else [])
        assert answer.status_code < 500
        assert not re.search(r"Traceback|site-packages", answer.text)
        counts[answer.status_code] += 1

    run()
    return counts


@pytest.mark.parametrize(("path", "mode"), EVERY)
def test_requests_are_answered_as_described(served, faults, path, mode):  # noqa: F811
    drawn = path in DRAWING and mode is GenerationMode.POSITIVE
    counts = try_all(served, path, mode, DRAWN if drawn else FEW)
    if mode is GenerationMode.NEGATIVE:
        assert counts.total() > counts[200]


@pytest.mark.slow
@pytest.mark.parametrize(("path", "mode"), EVERY)
def test_thousands_of_requests_are(served, faults, path, mode, capsys):  # noqa: F811
    counts = try_all(served, path, mode, MANY)
    with capsys.disabled():
        print(f"\n{path}, {mode.value}: {dict(sorted(counts.items()))}")


def test_every_route_is_described(served):
    routes = {path for path, _ in served.raw_schema["paths"].items()}
    assert routes == METHODS.keys()


def test_a_key_is_described_where_there_is_one(glide, served):
    assert served.raw_schema["security"] == [{"key": []}]
    assert served.raw_schema["paths"]["/health"]["get"]["security"] == []
    assert openapi.described(glide, Limits(), key=False)["security"] == []
