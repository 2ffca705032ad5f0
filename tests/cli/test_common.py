"""Names of files made from prompts."""

import unicodedata

import pytest

from glide_jax.cli import common


@pytest.mark.parametrize(
    ("prompt", "name"),
    [
        ("A red  circle!", "a-red-circle"),
        ("Катя", "катя"),
        ("犬", "犬"),
        ("हिन्दी में", "हिन्दी-में"),  # its vowels are marks, not letters
        ("🎈 and 🎈", "🎈-and-🎈"),
        ("a_b.c", "a-b-c"),
        ("", "empty"),
        ("?!/..", "empty"),
        ("\u202egnp.exe\x1b[31m", "gnp-exe-31m"),  # nothing that turns or colours a terminal
    ],
)
def test_letters_of_every_script_are_kept(prompt, name):
    assert common.slug(prompt) == name


def test_one_text_in_two_unicode_forms_is_one_name():
    assert common.slug(unicodedata.normalize("NFD", "Café Ångström")) == "café-ångström"


@pytest.mark.parametrize("letter", ["x", "é", "犬", "🎈", "e\u0301\u0302"])
def test_a_name_has_few_bytes_whatever_the_script(letter):
    name = common.slug(letter * 300)
    assert 20 <= len(name.encode()) <= 80
    assert "\ufffd" not in name


def test_a_file_system_without_a_letter_does_without_it(monkeypatch):
    monkeypatch.setattr("sys.getfilesystemencoding", lambda: "latin-1")
    assert common.slug("café 犬 x") == "café--x"
