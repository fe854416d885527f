"""Which column is meant where no name is a known one: by words within names, in a few languages, and by its cells.

A guess is made only where one column fits, and it is said.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

# Of each language: English, German, French, Spanish and Portuguese, Italian, Dutch, Polish.
_WORDS = {
    "text": """text texts message messages sentence review tweet content body question comment utterance document post
        query headline description feedback
        nachricht kommentar beschreibung inhalt anfrage frage bewertung satz texte commentaire avis contenu phrase
        texto mensaje mensagem comentario comentário reseña contenido frase pregunta testo messaggio commento recensione
        tekst bericht opmerking wiadomość treść opinia""",
    "label": """label labels class category target intent sentiment tag topic emotion
        kategorie klasse etikett thema stimmung absicht catégorie categorie classe étiquette etiquette sujet
        categoría categoria clase etiqueta tema sentimiento rótulo rotulo etichetta argomento
        onderwerp kategoria etykieta temat""",
}
_KNOWN = {role: frozenset(words.split()) for role, words in _WORDS.items()}
# Names with these are about a text or a label, and hold none.
_ABOUT = frozenset(("id", "ids", "len", "length", "count", "date", "time", "url", "score", "number", "num"))
_ABOUT |= {"language", "lang", "source", "author", "user"}
# A day, with or without a time, as 2026-11-28 10:00, 28.11.2026 or 11/28/26.
_DATE = re.compile(r"\s*\d{1,4}([./-])\d{1,2}\1\d{1,4}([T ]+[\d:.]+.*)?\s*$")
_SAMPLE = 500
_MOST_READ = 50  # columns whose cells are looked at
_ENOUGH_ROWS = 10


def words_of(name: str) -> set[str]:
    """``customerComment_text`` → customer, comment, text."""
    return set(re.sub(r"([a-zß-ÿ])([A-Z])", r"\1 \2", name).replace("_", " ").casefold().split()) | set(
        re.findall(r"[^\W_]+", name.casefold())
    )


def by_words(role: str, names: Sequence[str], columns: Sequence[int]) -> list[int]:
    """Those of these columns whose names have a word of a text, or of a label."""
    words = {column: words_of(names[column]) for column in columns}
    return [column for column in columns if words[column] & _KNOWN[role] and not words[column] & _ABOUT]


def by_cells(
    role: str, names: Sequence[str], cells: Callable[[int], Sequence[Any]], columns: Sequence[int]
) -> list[int]:
    """Those of these columns that hold sentences, or few values that come again and again; none of many columns."""
    if len(columns) > _MOST_READ:
        return []
    fits = {"text": _are_texts, "label": _are_labels}[role]
    held = {column: [str(cell) for cell in cells(column)[:_SAMPLE] if cell is not None] for column in columns}
    return [column for column in columns if not words_of(names[column]) & _ABOUT and fits(held[column])]


def _are_texts(cells: Sequence[str]) -> bool:
    filled = [cell for cell in cells if cell.strip()]
    if len(filled) < _ENOUGH_ROWS:
        return False
    words = sum(len(cell.split()) for cell in filled) / len(filled)
    return words >= 3 and len(set(filled)) > len(filled) / 2


def _are_labels(cells: Sequence[str]) -> bool:
    filled = [cell for cell in cells if cell.strip()]
    different = set(filled)
    if len(filled) < _ENOUGH_ROWS or len(filled) < len(cells) / 2 or all(map(_DATE.match, different)):
        return False
    return 2 <= len(different) <= min(100, len(filled) / 4) and max(len(cell.split()) for cell in different) <= 4
