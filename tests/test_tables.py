"""Markdown tables: alignment, numbers and bars inside cells."""

from glide_jax import tables


def test_a_table_aligns_its_columns_rounds_floats_and_escapes_bars():
    text = tables.table([("a|b", 1.23456), (3, "")], ("name", "value"), "lr")
    assert text.split("\n") == [
        "| name | value |",
        "|---|---:|",
        "| a\\|b | 1.235 |",
        "| 3 |  |",
    ]
    assert tables.table([], ("a", "b")) == "| a | b |\n|---|---|"
