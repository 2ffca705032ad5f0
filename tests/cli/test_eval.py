"""`glide-jax eval`, `sweep` and `compare` as a user meets them."""

import json

import pytest

from glide_jax.evaluation import votes

FEW = ("--steps", "2", "--no-upsample", "--n", "1", "--batch-size", "8", "--dtype", "float32")


def test_one_command_judges_a_model_and_goes_on_where_it_stopped(cli, tiny_model, tmp_path):
    argv = ("eval", "--model", tiny_model, "--out", tmp_path, *FEW, "--guidance-scale", "1.5",
            "--guidance-scale", "2")  # fmt: skip
    # Another machine draws half; what it drew is kept.
    assert cli(*argv, "--part", "0/1").code == 0
    stamps = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("samples/*/*.png")}
    assert len(stamps) == 16
    result = cli(*argv)
    assert result.code == 0, result.err
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("samples/*/*.png")} == stamps
    found = json.loads((tmp_path / "w1p5-steps2" / "result.json").read_text())
    assert found["sampling"]["base"]["guidance_scale"] == 1.5
    assert found["protocol"] == "shapes/1"
    assert len(found["model_sha256"]) == 64
    assert found["shapes"]["*"]["background"]["n"] == 8
    assert (tmp_path / "report.html").exists()
    assert str(tmp_path / "report.md") in result.out
    assert cli(*argv, "--no-samples").code == 0
    assert not list(tmp_path.rglob("samples"))


@pytest.mark.slow
def test_probes_are_one_command_and_grow(cli, tiny_full, tmp_path):
    argv = ("probe", "--model", tiny_full, "--out", tmp_path, "--steps", "2", "--no-upsample",
            "--batch-size", "8")  # fmt: skip
    assert cli(*argv, "--n", "1").code == 0
    result = cli(*argv, "--n", "2", "--family", "shapes", "--family", "toys", "--clip", tiny_full)
    assert result.code == 0, result.err
    found = json.loads((tmp_path / "toys/steps2/result.json").read_text())
    assert found["probe"]["reader"]["name"] == "noised-clip-of-full"
    assert found["probe"]["answers"]["colour"]["girls"]["blue"]["n"] == 2
    assert len(list((tmp_path / "shapes").rglob("samples/*/*.png"))) == 16
    assert str(tmp_path / "report.md") in result.out


def test_a_sweep_is_one_command(cli, tiny_model, tmp_path):
    result = cli("sweep", "--model", tiny_model, "--out", tmp_path, *FEW[2:],
                 "--guidance-scales", "1.5,2", "--steps", "2",
                 "--vary", "guidance-rescale=0.5")  # fmt: skip
    assert result.code == 0, result.err
    rows = json.loads((tmp_path / "sweep.json").read_text())
    assert [row["name"] for row in rows] == [
        f"w{scale}-steps2-guidance-rescale-0p5" for scale in ("1p5", "2")
    ]
    assert (tmp_path / "over-scale-all_right.png").exists()


def test_scores_of_a_file_of_votes_are_printed(cli, tmp_path):
    for answer in ("left", "left", "tie"):
        votes.append_vote(tmp_path / "votes.jsonl", votes.Vote("caption", "a", "b", 1, answer))
    result = cli("compare", "fit", tmp_path / "votes.jsonl")
    assert result.code == 0
    lines = result.out.splitlines()
    assert lines[0] == "caption: 3 votes"
    assert lines[1].split()[0] == "a"


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        (("eval", "--protocol", "imagenet"), "shapes, folder, emoji, emoji_flat, coco30k"),
        (("eval", "--protocol", "folder"), "--path"),
        (("eval", "--features", "vgg"), "efficientnet-lite0"),
        (("eval", "--alignment"), "--protocol emoji"),
        (("eval", "--part", "3/2"), "0 to 1"),
        (("eval", "--part", "x"), "I/K"),
        (("eval", "--n", "0"), "n is"),
        (("eval", "--clip", "TINY"), "no CLIP"),
        (("eval", "--features", "inception"), "--inception"),
        (("eval", "--features", "clip-vit-b16"), "--clip-file"),
        (("eval", "--clip", "shapes", "--clip-file", "x"), "one of them"),
        (("eval", "--filtered", "people"), "coco30k"),
        (("probe", "--family", "toys"), "--clip MODEL"),
        (("probe", "--family", "cats"), "shapes"),
        (("sweep", "--guidance-scales", "1,1"), "once"),
        (("sweep", "--guidance-scales", ""), "1,2,3"),
        (("compare", "serve", "nowhere", "there"), "no finished run"),
        (("compare", "fit", "nowhere"), "cannot be read"),
        (("neighbours", "nowhere", "--data", "emoji_64"), "no finished run"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(cli, tmp_path, argv, sentence, tiny_model):
    model = ("--model", tiny_model) if argv[0] in ("eval", "sweep", "probe") else ()
    out = ("--out", tmp_path / "out") if model else ()
    result = cli(*(tiny_model if word == "TINY" else word for word in argv), *model, *out)
    assert result.code == 2
    assert sentence in result.complaint
