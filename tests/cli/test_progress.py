"""Progress bars: one a stage, on the error stream."""

from glide_jax.cli import progress


def test_a_bar_follows_bytes_also_where_they_start_anew(capsys):
    with progress.progress_bars("B") as report:
        report("base.pt", 1 << 20, None)
        report("base.pt", 0, 4 << 20)
        report("base.pt", 4 << 20, 4 << 20)
    captured = capsys.readouterr()
    assert "base.pt: 100%" in captured.err
    assert "4.00M/4.00M" in captured.err
    assert not captured.out


def test_each_stage_has_a_bar_under_its_name(capsys):
    with progress.progress_bars("steps", prefix="w3 ", width=9) as report:
        for done in (1, 2):
            report("base", done, 2)
            report("upsample", done, 4)
    err = capsys.readouterr().err
    assert "w3 base     : 100%" in err
    assert "w3 upsample :  50%" in err
    assert "2/4" in err


def test_a_stage_named_from_outside_cannot_steer_the_terminal(capsys):
    with progress.progress_bars("B") as report:
        report("a\x1b[2J\x9b\u202eb.pt", 1, 2)
    assert r"a\x1b[2J\x9b\u202eb.pt" in capsys.readouterr().err
