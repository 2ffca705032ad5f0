from collections import Counter

import numpy as np
import pytest

from glide_jax.data import survey
from glide_jax.data.example import Example, Rejected
from glide_jax.errors import InputError


def test_a_survey_reads_evenly_and_counts_what_it_cannot_use():
    class Source:
        def __len__(self):
            return 1000

        def __getitem__(self, index):
            if index % 4 == 0:
                raise Rejected("no caption", f"record {index}")
            return Example(np.zeros((2, 3, 3), np.uint8), ("a b", "c"), str(index))

    found = survey.survey(Source(), most=1000, keep=10)
    assert (found.records, found.usable) == (1000, 750)
    assert found.rejected == {"no caption": 250}
    assert found.first_rejected == {"no caption": "no caption (record 0)"}
    assert found.sizes == {(2, 3): 750}
    assert Counter(found.words) == {2: 750, 1: 750}
    assert len(found.examples) <= 10
    few = survey.survey(Source(), most=10, keep=3)
    assert few.records == 10


def test_a_survey_of_nothing_is_refused():
    with pytest.raises(InputError, match="holds no records"):
        survey.survey([])


def test_a_histogram_counts_everything_once():
    text = survey.histogram([1, 1, 2, 5, 5, 5, 60])
    assert sum(int(line.replace(" and more", "").split()[1]) for line in text.splitlines()) == 7
    assert survey.histogram([3]).split() == ["3", "1", "#" * 40]
    assert survey.histogram([]) == "none"
