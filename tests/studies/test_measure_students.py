"""Which rows the table of students has, and what a cascade of two models draws."""

import numpy as np
import pytest

from glide_jax.benchmarks import bench, networks
from glide_jax.sampling.glide import load
from launch.studies import measure_students
from launch.studies.measure_students import Model
from tests.sampling.test_distilled import save


@pytest.fixture(scope="module")
def models(tmp_path_factory, tiny_model):
    """A teacher, a student of guidance alone, and students of 2 + 1 and of 3 + 2 steps."""
    folder = tmp_path_factory.mktemp("students")
    steps = {"guided": (0, 0), "few": (2, 1), "more": (3, 2)}
    directories = {name: save(folder / name, steps=of) for name, of in steps.items()}
    directories |= {"teacher": tiny_model}
    return {name: Model(load(path), f"{name:-<64}") for name, path in directories.items()}


def test_a_row_counts_the_evaluations_that_its_model_makes(models):
    students = [models["guided"], models["few"]]
    rows = measure_students.bases(models["teacher"], students)
    assert [(row.name, row.evaluations) for row in rows] == [
        ("teacher, 50 steps", {"base": 100}),
        ("teacher, 2 steps", {"base": 4}),
        ("student of guidance, 50 steps", {"base": 50}),
        ("student of guidance, 4 steps", {"base": 4}),
        ("student of 2 steps", {"base": 2}),
    ]
    rows = measure_students.cascades(models["teacher"], students, [models["few"], models["more"]])
    assert [(row.name, tuple(row.evaluations.values())) for row in rows] == [
        ("teacher, 50 + 27", (100, 27)), ("student, 2 + 1", (2, 1)), ("student, 2 + 2", (2, 2)),
    ]  # fmt: skip


def test_a_cascade_of_two_models_has_the_base_of_one_and_the_upsampler_of_the_other(models):
    both = models["few"].with_upsampler(models["more"])
    assert (both.steps("base"), both.steps("upsample")) == (2, 2)
    draw = lambda model, **options: np.asarray(model.glide("a red circle", **options)[0].image)
    same = dict(upsample=False)
    assert (draw(both, **same) == draw(models["few"], **same)).all()
    assert draw(both).shape == draw(models["more"]).shape


def test_the_arithmetic_is_that_of_an_evaluation_in_the_benchmark(tiny_model):
    found = measure_students.teraflop(str(tiny_model), tiny_model)
    assert set(found) == {"base", "upsample"}
    for name, load_stage in bench.loads(str(tiny_model), tiny_model, list(found)).items():
        part = networks.part(name, *load_stage(), "float32", "direct")
        _, flops = networks.evaluate(part, networks.inputs(part.config.model, 1))
        assert found[name] == pytest.approx(flops / 1e12)
