"""The words of a text are those a reader sees, and stand where they are said to stand."""

from __future__ import annotations

from classtune.explain.words import Piece, words_of


def test_words_are_those_a_reader_sees() -> None:
    text = "Don't pay £1,000 at www.win.com!! Läuft… 🎉 東京に行く"
    words = words_of(text)
    assert [word.text for word in words] == [
        *("Don't", "pay", "£", "1,000", "at", "www.win.com", "!!", "Läuft", "…", "🎉"),
        *"東京に行く",
    ]
    assert [text[word.start : word.end] for word in words] == [word.text for word in words]


def test_a_text_without_words_is_one_word() -> None:
    assert words_of(" \t") == [Piece(" \t", 0, 2)]
