"""The account of rejections."""

import pytest

from glide_jax.data.rejections import Rejection, Rejections
from glide_jax.errors import InputError


def rejected(*indices):
    return [Rejection(index, "corrupt image", f"{index}.png") for index in indices]


def test_a_record_counts_once_however_often_it_comes():
    account = Rejections(1000, 0.01)
    for _ in range(50):
        account.add([1, 2, 3], rejected(2))
    assert (account.tried, account.total) == (3, 1)
    assert account.summary() == ("1 of 3 records tried are not usable: corrupt image 1 (as 2.png)")


def test_nothing_is_judged_before_a_hundred_records_or_all():
    account = Rejections(1000, 0.01)
    account.add(range(99), rejected(*range(50)))
    with pytest.raises(InputError, match=r"50 of 100 .*50\.0% is more than max_rejected = 1\.0%"):
        account.add([99], [])
    small = Rejections(10, 0.01)
    small.add(range(9), rejected(1))
    with pytest.raises(InputError, match=r"1 of 10 .*10\.0%"):
        small.add([9], [])


def test_bad_luck_in_a_part_of_the_set_is_forgiven_until_the_whole_is_known():
    account = Rejections(400, 0.01)
    account.add(range(100), rejected(0, 1, 2))  # 3%, which a set of 1% shows often enough
    account.add(range(100, 399), rejected(3))
    account.add([399], [])
    assert account.total == 4  # exactly 1%
    with pytest.raises(InputError, match="5 of 400"):
        account.add([5], rejected(5))


def test_a_share_that_is_allowed_never_stops():
    account = Rejections(100, 1.0)
    account.add(range(100), rejected(*range(100)))
    assert account.total == 100
