"""What a newcomer gets wrong: each is one sentence that has the way out, before any work."""

import json
import pathlib
import re

import pytest
from PIL import Image

from glide_jax import images

MISUSES = {  # words of a command, run in the folder below: a part of the sentence
    "inpaint photo.png": "Missing argument 'PROMPT'; `glide-jax inpaint --help` shows",
    "compare vote x": "No such command 'vote'; `glide-jax compare --help` shows",
    "doctor extra": "unexpected extra argument (extra); `glide-jax doctor --help` shows",
    "sample red --keep 3": "keep is 3, but n is 1; the best of n are kept, so give more",
    "sample red --seed rand": "from 0 to 4294967295, or random",
    "sample red --batch-size some": "from 1 to 4096, or auto",
    "sample red --mix blue": "mix has the entry 'blue'; it must be a weight and a prompt",
    "sample red --out text.txt": "a file is in the way; give a folder",
    "sample red --out text.txt/a": "a file is in the way; give a folder",
    "sample --prompts-file pictures": "is a folder; give a text file with a prompt a line",
    "sample red --model fresh": "'fresh/checkpoints' has no checkpoint yet; wait",
    "repeat photo.png": "give a PNG that it wrote, and that no other program has saved",
    "repeat elsewhere.png": "drew it, 'models/mine', is not here; give its path with --model",
    "finetune shapes --data nosuch --workdir t": "'nosuch' is no folder here, and not the name of",
    "finetune shapes --data emoji_64 --workdir t": "did you mean emoji?",
    "finetune shapes --data emojis+clipart --workdir t": "did you mean emoji?",
    "finetune shapes --data text.txt --workdir t": "'text.txt' is a file; give a folder",
    "finetune fresh --data pictures --workdir t": "the workdir of a run; the model that it leaves",
    "doctor --model fresh": "at its end is 'fresh/model'",
    "pack fresh --out p": "the workdir of a run",
    "pack fresh --out p --card nosuch.md": "--card 'nosuch.md': No such file",
    "pack fresh --out p --card photo.png": "--card 'photo.png' is not UTF-8 text (byte 0)",
    "compare fit empty.jsonl": "people give them on the page of `glide-jax compare serve`",
    "compare fit text.txt": "there are no votes in 'text.txt'",
    "compare serve pictures pictures": "give a folder that it has made in its --out, such as",
    "export-program shapes --out pictures": "--out 'pictures' is a folder; give the name of a",
    "train --config shapes_64:smoke --workdir t --config.seed=x": "it must be a whole number.",
    "train --config shapes_64:smoke --workdir t --config.optim.lr=x": "'x'; it must be a number.",
}


@pytest.fixture
def here(tmp_path, monkeypatch) -> pathlib.Path:
    """A folder of files that are not what they are given for."""
    picture = Image.new("RGB", (8, 8), "white")
    picture.save(tmp_path / "photo.png")
    (tmp_path / "pictures").mkdir()
    picture.save(tmp_path / "pictures" / "a.png")
    (tmp_path / "pictures" / "a.txt").write_text("white")
    (tmp_path / "empty.jsonl").write_text("")
    (tmp_path / "text.txt").write_text("hello\n")
    (tmp_path / "fresh" / "checkpoints").mkdir(parents=True)  # a run that has just begun
    (tmp_path / "fresh" / "tokenizer").mkdir()
    spec = {"kind": "glide_bpe"}
    (tmp_path / "fresh" / "tokenizer" / "spec.json").write_text(json.dumps(spec))
    parameters = {
        "model": "mine", "model_path": "models/mine", "dtype": "float32", "prompt": "red",
        "seed": 0, "index": 0, "batch_size": 1, "edit": None, "base": {},
    }  # fmt: skip
    images.write_png(tmp_path / "elsewhere.png", picture, parameters)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("words", MISUSES)
def test_a_misuse_is_one_sentence_with_the_way_out_and_leaves_nothing(words, here, cli):
    if "fresh" in words:
        from glide_jax.tokenizers import GlideBPE
        from glide_jax.training.config import keep_config, read_config

        keep_config(here / "fresh", read_config("shapes_64:smoke"))
        spec = GlideBPE().save(here / "fresh" / "tokenizer")
        (here / "fresh" / "tokenizer" / "spec.json").write_text(json.dumps(spec))
    before = sorted(here.rglob("*"))
    result = cli(*words.split())
    assert result.code == 2
    assert MISUSES[words] in result.complaint
    assert not re.search(r"Errno|Traceback|line 1 column", result.err)
    assert sorted(here.rglob("*")) == before


def test_what_went_into_a_picture_and_is_gone_is_asked_for(here, cli, tiny_model):
    drawn = cli(
        "edit", "photo.png", "red", "--model", tiny_model, "--steps", 1, "--no-upsample"
    ).out.strip()
    (here / "photo.png").unlink()
    result = cli("repeat", drawn, "--out", "again")
    assert result.code == 2
    assert "the image that went in, 'photo.png', is not here; give it as image" in result.complaint
