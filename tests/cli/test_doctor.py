"""`glide-jax doctor`: what is here and what is missing."""

import os
import re

import pytest

from glide_jax import compiling
from glide_jax.cli import doctor_
from glide_jax.extras import EXTRAS
from glide_jax.sampling import memory
from glide_jax.sampling.glide import load
from tests import tiny


def rows(text: str) -> dict[str, str]:
    return dict(re.split(r"  +", line, maxsplit=1) for line in text.splitlines() if line.strip())


def test_it_lists_packages_devices_cache_and_models(cli, tmp_path, monkeypatch, cache):
    monkeypatch.setattr(doctor_.common, "cache_folder", lambda: tmp_path)
    tiny.save(tmp_path / "models", "mine")
    result = cli("doctor")
    assert result.code == 0
    told = rows(result.out)
    for name in doctor_.PACKAGES:
        assert re.match(r"\d+\.", told[name]), name
    assert "(cpu)" in told["devices"]
    assert "GiB" in told["memory"]
    assert str(tmp_path) in told["cache"]
    assert told["models"].split(", ")[-1] == "mine"


def test_a_missing_package_is_told(cli, monkeypatch):
    version = doctor_._version
    monkeypatch.setattr(doctor_, "_version", lambda n: None if n == "optax" else version(n))
    result = cli("doctor")
    assert result.code == 0
    assert rows(result.out)["optax"] == "missing"


def test_every_extra_is_there_or_named_as_missing(cli, monkeypatch):
    version = doctor_._version
    monkeypatch.setattr(
        doctor_, "_version", lambda n: None if n == "libtpu" else version(n) or "9999"
    )
    told = rows(cli("doctor").out)
    assert told["not installed"] == "tpu"
    assert [*told["extras"].split(", "), "tpu"] == sorted(EXTRAS, key=lambda name: name == "tpu")


@pytest.mark.parametrize("extra", EXTRAS)
@pytest.mark.parametrize("state", ["whole", "lacking", "old"])
def test_an_extra_is_listed_exactly_when_all_of_it_is_there_and_new_enough(
    extra, state, cli, monkeypatch
):
    there = EXTRAS[extra] | {"jax": "1"}
    last = next(reversed(EXTRAS[extra]))
    if state == "lacking":
        del there[last]
    elif state == "old":
        there = there | {last: "0.0.1rc3"}
    monkeypatch.setattr(doctor_, "_version", lambda name: there.get(name))
    monkeypatch.setattr(doctor_.common, "choose_device", lambda device: "1 x cpu (cpu)")
    monkeypatch.setattr(doctor_, "_compiler", lambda: "whatever")
    told = rows(cli("doctor").out)
    bounded = bool(EXTRAS[extra][last])
    assert (extra in told["extras"].split(", ")) == (
        state == "whole" or (state == "old" and not bounded)
    )
    assert (extra in told["not installed"].split(", ")) != (extra in told["extras"].split(", "))
    if state == "old" and bounded:
        assert re.fullmatch(
            f"{last} 0.0.1rc3, of which (eval|{extra}) needs {EXTRAS[extra][last]}", told["too old"]
        )
    else:
        assert "too old" not in told


@pytest.mark.parametrize(
    ("version", "lowest", "new"),
    [("6.31", "6.31", True), ("6.31.0", "6.31", True), ("6.9", "6.31", False), ("17", "17.0", True),
     ("0.12.0rc1", "0.12", True), ("2025.1+cpu", "2024.3.25", True), ("7", "", True)],
)  # fmt: skip
def test_versions_are_compared_by_their_numbers(version, lowest, new):
    assert (doctor_._release(version) >= doctor_._release(lowest)) == new


def test_a_compiler_option_that_jaxlib_lacks_is_named(cli, monkeypatch):
    assert rows(cli("doctor").out)["compiler"] == "has every option that glide_jax uses"
    monkeypatch.setattr(compiling, "_CPU", compiling._CPU | {"xla_cpu_abacus": "1"})
    compiling.unknown_options.cache_clear()
    compiling.options.cache_clear()
    try:
        assert "lacks xla_cpu_abacus," in rows(cli("doctor").out)["compiler"]
        assert "xla_cpu_abacus" not in (compiling.options() or {})
    finally:
        compiling.unknown_options.cache_clear()
        compiling.options.cache_clear()


def test_an_accelerator_that_lies_idle_is_told(cli, monkeypatch):
    monkeypatch.setattr(doctor_.common, "unused_accelerator", lambda: "install [cuda].")
    assert cli("doctor").out.endswith("\ninstall [cuda].\n")


def test_a_jax_that_does_not_start_is_told(shell):
    result = shell("doctor", env=os.environ | {"JAX_PLATFORMS": "abacus"})
    assert result.code == 1
    assert "JAX does not start" in rows(result.out)["devices"]
    assert "abacus" in rows(result.out)["devices"]
    assert "Traceback" not in result.err


def test_a_cache_that_is_no_folder_is_told(cli, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("here")
    monkeypatch.setenv("GLIDE_JAX_CACHE", str(tmp_path / "file"))
    result = cli("doctor")
    assert result.code == 0
    assert "not a folder" in rows(result.out)["cache"]


def test_it_says_what_a_model_takes_and_how_many_pictures_fit(cli, monkeypatch, tiny_model):
    monkeypatch.setattr(memory, "free", lambda: (2**30, "for the test"))
    result = cli("doctor", "--model", tiny_model)
    assert result.code == 0
    assert "plain in float32, guided; 1.0 GiB for the test" in result.out
    for stage in ("base", "upsample"):
        [line] = [line for line in result.out.splitlines() if line.startswith(f"  {stage}:")]
        assert int(re.search(r"--batch-size up to (\d+) fits", line)[1]) > 100
    monkeypatch.setattr(memory, "free", lambda: (2**10, "for the test"))
    assert cli("doctor", "--model", tiny_model).out.count("does not fit") == 2


def test_a_batch_fits_as_long_as_all_of_it_does():
    needs = memory.Needs(parameters=100, first=30, more=20)
    assert [needs.fits(budget) for budget in (129, 130, 149, 150, 189, 190)] == [0, 1, 1, 2, 3, 4]


def test_a_model_that_is_not_there_is_said(cli):
    result = cli("doctor", "--model", "none-such")
    assert result.code == 2
    assert "model 'none-such' is neither a directory nor a known name" in result.err


def test_a_batch_is_as_large_as_memory_allows(monkeypatch, glide, cache):
    needs = {
        name: memory.of_network(config, glide.loaded.stages[name], glide.loaded.params[name])
        for name, config in glide.loaded.configs.items()
    }
    by_config = {config: needs[name] for name, config in glide.loaded.configs.items()}
    monkeypatch.setattr(memory, "of_network", lambda config, *_: by_config[config])  # asked once
    each = max(n.first + 12 * n.more for n in needs.values())  # thirteen pictures of the larger one
    for free, wanted in ((1, 1), (each / 0.79, 8), (2**50, 64)):
        monkeypatch.setattr(memory, "free", lambda _, free=free: (int(free), "for the test"))
        assert glide.largest_batch() == wanted
    off = load(glide._path, offload=True, cache=cache)
    parameters = max(n.parameters for n in needs.values())
    monkeypatch.setattr(memory, "free", lambda _: (int((each + parameters) / 0.79), "for the test"))
    assert off.largest_batch() == 8
    monkeypatch.setattr(memory, "free", lambda _: (1, "for the test"))
    [picture] = off("a red circle", n=1, steps=1, batch_size="auto", upsample=False)
    assert picture.parameters["batch_size"] == 1
