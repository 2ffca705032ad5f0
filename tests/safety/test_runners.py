"""Beam and Ray write the table that processes of this machine write, byte for byte."""

import pytest

from glide_jax.safety import on_beam, on_ray, score_table, scoring
from tests.safety.test_score_table import contents, fill

RUNNERS = {"apache_beam": on_beam.write_all, "ray": on_ray.write_all}


@pytest.mark.slow
@pytest.mark.parametrize("module", RUNNERS)
def test_the_table_is_the_same(module, tmp_path):
    pytest.importorskip(module, reason="pip install apache-beam 'ray[data]'")
    what, tables = fill(tmp_path / "set", 50, side=16), []
    for name in ("here", module):
        job = score_table.prepare(what, scoring.Columns("pixels"), tmp_path / name, rows=9)
        if name == "here":
            score_table.write_all(job, 2)
        else:
            job.write(3)  # it goes on with what is there
            RUNNERS[module](job)
            RUNNERS[module](job)  # nothing is left to do
        tables.append(contents(tmp_path / name))
    assert len(tables[0]) == 7
    assert tables[0] == tables[1]
