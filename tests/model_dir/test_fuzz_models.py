"""Seeded damage to model directories and configs: a model or one sentence, never worse."""

import json
import random
import shutil

import pytest

from glide_jax.errors import InputError
from glide_jax.model_dir import reading
from glide_jax.sampling.settings import from_config
from glide_jax.training.config import read_config
from glide_jax.training.overrides import flat
from tests import fuzz

ABSURD = (
    None, True, -1, 0, 1, 7, 2**31, 2**63, 10**400, -(10**400), 1e308, 1e-320, float("nan"),
    float("inf"), "", "x" * 100_000, "\x1b[31m\u202e", "\ud800", [], [[]], [[[[1]]]], [0] * 50_000,
    [10**400], ["a"], {}, {"a": {"a": {}}}, {"x" * 100_000: 1},
)  # fmt: skip


def fields(value: object, path: tuple = ()) -> list[tuple]:
    """The paths of all values of nested dicts and lists."""
    inner = value.items() if isinstance(value, dict) else enumerate(value)
    found = []
    for key, one in inner:
        found.append((*path, key))
        if isinstance(one, dict | list):
            found += fields(one, (*path, key))
    return found


def put(value: dict, path: tuple, new: object) -> dict:
    """A copy with another value at a path."""
    whole = section = json.loads(json.dumps(value))
    for key in path[:-1]:
        section = section[key]
    section[path[-1]] = new
    return whole


def read(directory) -> None:
    model = reading.read_model(directory)
    for name, (config, _) in model.stages.items():
        from_config(config.sampling, f"{name}.sampling")


def tries(directory, count: int, seed: int, step: int) -> int:
    """Reads models with damaged files, and with absurd values in every field."""
    rng, tried, before = random.Random(seed), 0, fuzz.peak_bytes()
    for name in ("config.json", "tokenizer.model", "base.safetensors"):
        good = (directory / name).read_bytes()
        for bad in fuzz.mutations(good, count=count, seed=seed):
            (directory / name).write_bytes(bad)
            fuzz.answers(lambda: read(directory), allowed=(InputError,), longest=900)
            tried += 1
        (directory / name).write_bytes(good)
    config = json.loads((directory / "config.json").read_text())
    cases = [(path, value) for path in fields(config) for value in ABSURD]
    for path, value in rng.sample(cases, len(cases) // step):
        (directory / "config.json").write_text(json.dumps(put(config, path, value)))
        fuzz.answers(lambda: read(directory), allowed=(InputError,), longest=900)
        tried += 1
    assert fuzz.peak_bytes() - before < 1 << 30
    return tried


def override_tries(step: int) -> int:
    """Reads a run's config with absurd values for every field."""
    texts = [value if isinstance(value, str) else str(value)[:5000] for value in ABSURD]
    texts += [
        "1e400",
        "[" * 3000,
        "0x10",
        "1_000",
        "\u0661",
        "--",
        "~nosuch/x",
        "/dev/zero",
        "1,,2",
    ]
    known = flat(read_config("shapes_64:smoke").kept)
    cases = [(name, text) for name in known for text in texts]
    for name, text in random.Random(0).sample(cases, len(cases) // step):
        change = f"{name}={text}"
        fuzz.answers(
            lambda change=change: read_config("shapes_64:smoke", [change]),
            allowed=(InputError,), longest=900,
        )  # fmt: skip
    return len(cases) // step


def test_damaged_models_are_refused_or_read(tiny_full, tmp_path):
    shutil.copytree(tiny_full, tmp_path / "m")
    assert tries(tmp_path / "m", 25, 1, 200) > 75


def test_absurd_fields_of_a_run_s_config_are_refused_or_read():
    assert override_tries(20) > 100


@pytest.mark.slow
@pytest.mark.timeout(2500)
def test_many_damaged_models_and_configs(tiny_full, tmp_path):
    shutil.copytree(tiny_full, tmp_path / "m")
    tried = tries(tmp_path / "m", 400, 2, 1) + override_tries(1)
    assert tried > 3000
