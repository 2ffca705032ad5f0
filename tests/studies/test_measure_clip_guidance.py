"""The table of guidance by the CLIP."""

from glide_jax.evaluation.metrics.intervals import share_of
from launch.studies import measure_clip_guidance


def test_a_row_has_the_largest_change_of_its_scales_against_none():
    cells = {
        ("ddim", 25, 0.0): share_of(40, 50), ("ddim", 25, 1.0): share_of(42, 50),
        ("ddim", 25, 3.0): share_of(35, 50), ("unipc", 25, 0.0): share_of(30, 50),
        ("unipc", 25, 1.0): share_of(31, 50), ("unipc", 25, 3.0): share_of(45, 50),
    }  # fmt: skip
    rows = measure_clip_guidance.rows_of(cells, [1.0, 3.0])
    assert [(row[0], row[1], row[-1]) for row in rows] == [("ddim", 25, "-10"), ("unipc", 25, "+2")]
    assert rows[0][2].startswith("80 (")
