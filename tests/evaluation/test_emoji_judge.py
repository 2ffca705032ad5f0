"""The judge of emoji: its fit, what is kept from it, and what it makes of true and false pairs."""

import dataclasses

import numpy as np
import pytest
from PIL import Image

from glide_jax.data.example import Example, Rejected
from glide_jax.errors import InputError
from glide_jax.evaluation import emoji_judge, run_report, setup
from glide_jax.evaluation.evaluate import Evaluator, scalars_of, write_sheet
from glide_jax.evaluation.features import known
from glide_jax.evaluation.protocols import Protocol
from tests.evaluation.oracle import Oracle, Picture

WORDS = [f"{colour} {k}" for k in range(12) for colour in ("red", "green", "blue")]


def picture(k: int, side: int = 64) -> np.ndarray:
    """The kth picture: a colour at a place that no other has."""
    image = np.full((side, side, 3), 255, np.uint8)
    row, column = divmod(k // 3 * side // 4, side)
    image[row * side // 4 :, column : column + side // 4, k % 3] = 0
    return image


class Drawer(Oracle):
    """A model that draws the picture of another prompt."""

    def pictures(self, prompts, **options):
        for p in self.parameters(prompts, **options):
            yield Picture(Image.fromarray(picture(WORDS.index(p["prompt"]) // 2)), p)


class Source(list):
    """Examples, one of which is no use."""

    def __getitem__(self, i):
        if i == 1:
            raise Rejected("blank")
        return super().__getitem__(i)


def examples():
    return [Example(picture(k), (word, f"a {word}"), f"noto/{k}") for k, word in enumerate(WORDS)]


def spelled(texts):
    """A vector for each text: of every word a random one."""
    of = lambda word: np.random.default_rng(sum(map(ord, word)) + len(word)).standard_normal(96)
    return np.stack([sum(of(word) for word in text.split() if word != "a") for text in texts])


@pytest.fixture(scope="module")
def judge():
    """One that has seen all the pictures, by their colours alone."""
    eyes = known.pixels()
    pools = np.concatenate([eyes(picture(k)[None]).pool for k in range(len(WORDS))])
    fitted = emoji_judge.fit(pools, spelled(WORDS))
    return emoji_judge.judge_of(eyes, spelled, fitted)


def test_pictures_that_were_fitted_are_known_again_and_between_them_it_goes_smoothly():
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((40, 60)) + 3, rng.standard_normal((40, 5)) - 1
    fitted = emoji_judge.fit(x, y)
    likeness = np.exp(emoji_judge.GAMMA * (fitted.known @ fitted.known.T - 1))
    wanted = (y - y.mean(0)) @ fitted.whiten
    # The equation whose root a kernel ridge is: what is left over is RIDGE times the coefficients.
    left = wanted - likeness @ fitted.coefficients
    np.testing.assert_allclose(left, emoji_judge.RIDGE * fitted.coefficients, atol=1e-4)
    np.testing.assert_allclose(np.linalg.norm(fitted.known, axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(fitted.feature, x.mean(0), rtol=1e-6)
    np.testing.assert_allclose(fitted.centre, y.mean(0), rtol=1e-5)


def test_captions_differ_alike_in_every_direction_but_for_the_small_ones():
    rng = np.random.default_rng(1)
    spread = np.array([10.0, 5.0, 4.0, 0.01])
    y = rng.standard_normal((4000, 4)) * spread
    fitted = emoji_judge.fit(rng.standard_normal((4000, 3))[:200], y[:200])
    values = np.linalg.eigvalsh(np.cov(((y[:200] - fitted.centre) @ fitted.whiten).T, bias=True))
    assert values[0] < 1e-3
    np.testing.assert_allclose(values[1:], 1, rtol=1e-4)


def test_the_pictures_of_the_prompts_are_not_fitted_on(monkeypatch):
    from glide_jax.evaluation.protocols import choose

    monkeypatch.setattr(emoji_judge, "WITHHELD", 5)
    source = Source(examples())
    fitted = {example.name for example in emoji_judge.fitting_examples(source)}
    prompted = {source[i].name for _, i in choose("emoji", source, 5)}
    assert len(prompted) == 5
    assert not fitted & prompted
    assert len(fitted) == len(source) - 6  # and the one of no use


def test_a_fit_is_kept_and_made_anew_of_other_pictures(monkeypatch, tmp_path):
    source, looked = Source(examples()), []
    monkeypatch.setattr(emoji_judge.catalogue, "open_source", lambda *a, **k: source)
    eyes = dataclasses.replace(known.pixels(), apply=lambda p, x: known.pixels().apply(p, x))
    monkeypatch.setattr(emoji_judge.mobilenet, "load_mobilenet", lambda folder, side: eyes)
    monkeypatch.setattr(emoji_judge.minilm, "load_minilm", lambda folder: spelled)
    once = lambda: emoji_judge.open_judge(tmp_path, lambda done, total: looked.append(total))
    first, second = once(), once()
    assert looked == [len(emoji_judge.fitting_examples(source))] * looked[0]
    assert first.images.sha256 == second.images.sha256
    np.testing.assert_array_equal(first.texts(WORDS), second.texts(WORDS))
    np.testing.assert_array_equal(first.look([picture(3)]), second.look([picture(3)]))
    del source[-20:]  # more than are withheld
    assert once().images.sha256 != first.images.sha256
    assert len(list((tmp_path / "judges").iterdir())) == 2


def test_true_pictures_are_found_and_shuffled_ones_are_not(judge, tmp_path):
    groups = ("train",) * 18 + ("held_out_pairs",) * 18
    reference = lambda side: (picture(k, side) for k in range(len(WORDS)))
    protocol = Protocol("emoji/2", tuple(WORDS), groups, reference)
    result = Evaluator(protocol, alignment=judge).run(Drawer(), tmp_path / "w", {}, batch_size=9)
    found = result["alignment"]
    assert found["real"]["r_precision"] > 0.9
    assert found["shuffled"]["r_precision"] < 0.2
    assert found["r_precision"] < 0.2
    assert found["real"]["by_group"]["train"]["own_caption_first"]["n"] == 18
    assert "clip_score" not in str(found)
    assert scalars_of(result)["alignment_r_precision"] == found["r_precision"]
    write_sheet(tmp_path / "w", protocol.prompts)
    text = run_report.write_run_report(tmp_path, "t", {"w": result})[0].read_text("utf-8")
    assert "| real pictures, shuffled |" in text


def test_larger_pictures_are_read_at_the_judges_own_size(judge):
    small, large = (judge.look([picture(7, side)])[0] for side in (64, 256))
    np.testing.assert_allclose(small, large, atol=1e-3)


def test_prompts_that_it_cannot_judge_fairly_are_refused(tmp_path):
    nothing = lambda name, n: Protocol(name, ("a",) * n, ("train",) * n, lambda side: iter(()))
    names, folders = setup.JudgeNames(alignment=True), setup.Folders(tmp_path, tmp_path)
    for protocol, sentence in (
        (nothing("shapes/1", 1), "--protocol emoji"),
        (nothing("emoji/2", emoji_judge.WITHHELD + 1), "n is 501"),
    ):
        with pytest.raises(InputError, match=sentence):
            setup.Setup(protocol, names, "shapes", tmp_path / "out", {}, 1, folders)
    assert not (tmp_path / "out").exists()
