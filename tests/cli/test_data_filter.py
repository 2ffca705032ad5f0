"""`glide-jax data score`, `fit` and `filter` from a set to a set."""

import csv
import json

import pytest
from PIL import Image

from glide_jax.data import catalogue
from tests.data.fakes import red_and_green


@pytest.fixture
def table(cli, tmp_path):
    """Red and green squares, of which every twelfth has no caption."""
    said = (f"a {'red' if k % 2 else 'green'} thing, number {k}" for k in range(120))
    red_and_green(tmp_path / "set", [text if k % 12 else "" for k, text in enumerate(said)])
    done = cli("data", "score", tmp_path / "set", tmp_path / "t", "--features", "pixels",
               "--workers", 0)  # fmt: skip
    assert done.code == 0, done.err
    assert done.out.split() == [str(tmp_path / "t")]
    assert "120 records, 10 of them not usable; the columns are index, name" in done.err
    return tmp_path / "t"


def test_a_query_makes_a_set_with_an_account_and_a_sheet_for_a_person(cli, table, tmp_path):
    pytest.importorskip("duckdb", reason="pip install 'glide-jax[filter]'")
    red = "list_contains(string_split(captions[1], ' '), 'red')"
    done = cli("data", "filter", table, tmp_path / "new", "--where", red, "--audit", 40)
    assert done.code == 0, done.err
    new, sheet, words = done.out.split()
    assert "60 of 120 records are kept; left out: 10 not usable, 50 by the query" in done.err
    source = catalogue.open_source("parquet", path=new)
    assert len(source) == 60
    assert all("red" in source[k].captions[0] for k in range(60))
    notes = json.loads((tmp_path / "new/filter.json").read_text())
    assert (notes["kept"], notes["left_out"]["by the query"]) == (60, 50)
    with Image.open(sheet) as image:
        assert image.size == (32 * 72 + 8, 2 * 100 + 8)
    with open(words, newline="") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 40
    assert lines[33]["row,column"] == "2,2"
    assert {int(line["index"]) % 2 for line in lines} == {1}
    assert cli("data", "filter", table, tmp_path / "new").complaint.endswith(
        "is there already; give a new folder."
    )


def test_a_classifier_learns_from_a_query_and_filters(cli, table, tmp_path):
    pytest.importorskip("duckdb", reason="pip install 'glide-jax[filter]'")
    pytest.importorskip("sklearn", reason="pip install 'glide-jax[filter]'")
    file = tmp_path / "red.safetensors"
    fit = ("data", "fit", table, file, "--name", "red", "--positive")
    assert "3 labelled pictures are positives" in cli(*fit, "index IN (1, 3, 5)").complaint
    done = cli(*fit, "captions[1] LIKE '%red%'")
    assert done.code == 0, done.err
    assert "of held-out records it misses 0.0 (0.0 to " in done.err
    assert "exists; give a new file" in cli(*fit, "true").complaint
    how = ("--where", "score_red < 0", "--classifier", file, "--audit", 0)
    done = cli("data", "filter", table, tmp_path / "new", *how)
    assert done.code == 0, done.err
    source = catalogue.open_source("parquet", path=tmp_path / "new")
    assert 45 <= len(source) <= 50
    assert all("green" in source[k].captions[0] for k in range(len(source)))
    done = cli("data", "score", tmp_path / "set", tmp_path / "t2", "--features", "pixels",
               "--workers", 0, "--classifier", file)  # fmt: skip
    assert "hash, score_red" in done.err
    assert (
        "has a column score_red already"
        in cli("data", "filter", tmp_path / "t2", tmp_path / "n", *how).complaint
    )


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--runner", "spark"], "runner is 'spark'; it must be one of local, beam, ray."),
        (["--workers", "-1"], "workers is '-1'; it must be a whole number from 0 to 1024."),
        (["--features", "inception"], "features is 'inception'; it must be one of none,"),
        (["--featrues", "pixels"], "'--featrues' is left over; only --runner beam takes flags."),
        (["--classifier", "nothing"], "'nothing' cannot be read: "),
    ],
)
def test_mistakes_are_named_before_any_work(cli, tmp_path, words, complaint):
    (tmp_path / "set").mkdir()
    Image.new("RGB", (16, 16)).save(tmp_path / "set/1.png")
    done = cli("data", "score", tmp_path / "set", tmp_path / "t", *words)
    assert done.code == 2
    assert complaint in done.complaint
    assert not (tmp_path / "t").exists()


@pytest.mark.slow
def test_a_runner_that_stops_is_a_sentence(cli, tmp_path):
    pytest.importorskip("apache_beam", reason="pip install apache-beam")
    (tmp_path / "set").mkdir()
    Image.new("RGB", (16, 16)).save(tmp_path / "set/1.png")
    (tmp_path / "set/1.txt").write_text("black")
    words = ("data", "score", tmp_path / "set", tmp_path / "t", "--runner", "beam")
    done = cli(*words, "--", "--runner=Nonesuch")
    assert done.code == 2
    assert done.complaint.startswith("beam stopped: ")
    assert "Nonesuch" in done.complaint
    assert cli(*words).code == 0
