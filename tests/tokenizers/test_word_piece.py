"""WordPiece against words cut by hand."""

import pytest

from glide_jax.tokenizers.word_piece import LONGEST_WORD, WordPiece

PIECES = (
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "un",
    "una",
    "##ffa",
    "##ble",
    "cafe",
    ",",
    "##e",
    "_",
)


@pytest.fixture
def pieces():
    return WordPiece(PIECES)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("unaffable", ("una", "##ffa", "##ble")),  # BERT's own example of a longest piece
        ("Café,cafe", ("cafe", ",", "cafe")),
        ("CAFEE", ("cafe", "##e")),
        ("unx cafe", ("[UNK]", "cafe")),
        ("un_un", ("un", "_", "un")),
        ("caf\u00ade", ("cafe",)),
        ("cafe\tun", ("cafe", "un")),
        ("cafe" + "e" * LONGEST_WORD, ("[UNK]",)),
        ("", ()),
    ],
)
def test_words_are_cut_into_the_longest_pieces_from_the_left(pieces, text, found):
    expected = ("[CLS]", *found, "[SEP]")
    assert [PIECES[i] for i in pieces.encode(text)] == list(expected)


def test_rows_are_padded_or_lose_their_end_but_keep_both_markers(pieces):
    tokens, mask = pieces(["un", "un un un un"], 4)
    assert [[PIECES[i] for i in row] for row in tokens.tolist()] == [
        ["[CLS]", "un", "[SEP]", "[PAD]"],
        ["[CLS]", "un", "un", "[SEP]"],
    ]
    assert mask.tolist() == [[True, True, True, False], [True] * 4]
