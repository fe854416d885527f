from __future__ import annotations

import pytest

from classtune.data.audit.audit import audit_rows
from classtune.data.audit.cleaning import clean_rows
from classtune.errors import DataError

ROWS = [
    ("Win &amp; cash", "spam"),
    ("win & CASH", "spam"),  # line 2: a copy once line 1 is mended
    ("hello", "ham"),
    ("Hello", "Ham "),  # line 4: a copy, spelt otherwise
    ("yes", "ham"),
    ("yes", "ham"),
    ("YES", "spam"),  # line 7: two to one
    ("maybe", "ham"),
    ("maybe", "spam"),  # line 9: one to one
    ("", "ham"),
    ("\ufeff", "ham"),  # line 11: empty once it is mended
    ("text", " "),
    ("voilÃ\u00a0 le<br>travail", "ham"),
    ("fine", "ham"),
]
FIXED = {
    "exact-duplicates",
    "conflicting-labels",
    "label-spelling",
    "empty-text",
    "empty-label",
    "mojibake",
    "html-entities",
    "html-tags",
    "control-characters",
}


def test_every_change_is_listed_and_nothing_else_changes() -> None:
    cleaned = clean_rows([text for text, _ in ROWS], [label for _, label in ROWS])
    assert list(zip(cleaned.lines, cleaned.texts, cleaned.labels or [], strict=True)) == [
        (1, "Win & cash", "spam"),
        (3, "hello", "ham"),
        (5, "yes", "ham"),
        (13, "voilà le travail", "ham"),
        (14, "fine", "ham"),
    ]
    assert [(act["line"], act["action"], act["before"], act["after"]) for act in cleaned.actions] == [
        (1, "mend html-entities", "Win &amp; cash", "Win & cash"),
        (2, "drop copy", "win & CASH", None),
        (4, "spell label", "Ham ", "ham"),
        (4, "drop copy", "Hello", None),
        (6, "drop copy", "yes", None),
        (7, "drop label of the few", "spam", None),
        (8, "drop contradiction", "ham", None),
        (9, "drop contradiction", "spam", None),
        (10, "drop empty text", "", None),
        (11, "mend control-characters", "\ufeff", ""),
        (11, "drop empty text", "", None),
        (12, "drop empty label", " ", None),
        (13, "mend html-tags, mojibake", "voilÃ\u00a0 le<br>travail", "voilà le travail"),
    ]


def test_what_was_cleaned_audits_clean_and_cleaning_again_does_nothing() -> None:
    texts, labels = [text for text, _ in ROWS], [label for _, label in ROWS]
    assert {finding.kind for finding in audit_rows(texts, labels).findings} >= FIXED
    cleaned = clean_rows(texts, labels)
    assert not {finding.kind for finding in audit_rows(cleaned.texts, cleaned.labels).findings} & FIXED
    again = clean_rows(cleaned.texts, cleaned.labels, cleaned.lines)
    assert again.actions == []
    assert (again.texts, again.labels, again.lines) == (cleaned.texts, cleaned.labels, cleaned.lines)


def test_near_copies_stay_and_unlabelled_tables_are_cleaned_too() -> None:
    texts = ["Please call 0871 now, it is urgent", "Please call 0872 now, it is urgent", "a", "A"]
    cleaned = clean_rows(texts, None, [5, 6, 7, 8])
    assert (cleaned.texts, cleaned.labels, cleaned.lines) == (texts[:3], None, [5, 6, 7])


def test_unequal_columns_are_refused() -> None:
    with pytest.raises(DataError, match="2 texts, and labels or lines that are not as many"):
        clean_rows(["a", "b"], ["x"])
