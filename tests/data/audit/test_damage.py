from __future__ import annotations

import html

import pytest
from hypothesis import given
from hypothesis import strategies as st

from classtune.data.audit.damage import damages, repair
from classtune.data.audit.languages import script

DAMAGED = [
    ("humanitÃ©", "humanité", ["mojibake"]),
    ("â€œquotedâ€\x9d and donâ€™t", "“quoted” and don’t", ["mojibake"]),
    ("Ð¿Ñ€Ð¸Ð²ÐµÑ‚", "привет", ["mojibake"]),
    ("that\x92s fine", "that’s fine", ["mojibake"]),
    ("Tom &amp; Jerry &lt;#&gt; &#39;s &#x2764;", "Tom & Jerry <#> 's ❤", ["html-entities"]),
    ("&amp;amp;amp;amp;amp;amp;lt;3", "<3", ["html-entities"]),
    ('one<br /><br>two <a href="http://x.org">here</a>', "one  two  here ", ["html-tags"]),
    ("&lt;b&gt;bold&lt;/b&gt;", " bold ", ["html-entities", "html-tags"]),
    ("se\u00adcr\u200bet\x00", "secret", ["control-characters"]),
    ("&amp; cafÃ©\ufeff", "& café", ["html-entities", "mojibake", "control-characters"]),
]
SOUND = [
    "plain text",
    "I <3 you, 3 < 4 > 2, R&D; AT&T, <name@example.org>, <#>",
    "&nosuchname; &#0; &#1114112;",
    "Größe, São Paulo, Ελλάδα, ВОЙНА И МИР",
    "tabs\tand\nlines",
    "👩‍👩‍👧 می‌خواهم ❤️",  # spelt with joiners and variation selectors
]


@pytest.mark.parametrize(("text", "meant", "kinds"), DAMAGED)
def test_damage_is_named_and_mended(text: str, meant: str, kinds: list[str]) -> None:
    assert repair(text) == (meant, kinds)
    assert damages(text) == kinds
    assert damages(meant) == []


@pytest.mark.parametrize("text", SOUND)
def test_sound_texts_stay_as_they_are(text: str) -> None:
    assert repair(text) == (text, [])


pieces = st.sampled_from(
    ["&", "amp;", "lt;", "#38;", "<", "br>", "Ã", "©", "â€™", "\x85", "\x92", "\xa0", "\ufeff", "x "]
)


@given(st.one_of(st.text(), st.lists(pieces, max_size=12).map("".join)))
def test_mending_twice_changes_nothing(text: str) -> None:
    mended, kinds = repair(text)
    assert repair(mended) == (mended, [])
    assert damages(text) == kinds
    assert bool(kinds) == (mended != text)


@given(st.text(alphabet=st.characters(codec="latin-1", categories=["L", "N", "Zs", "P"])))
def test_escaped_texts_come_back(text: str) -> None:
    assert repair(html.escape(text))[0] == repair(text)[0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hello", "Latin"),
        ("Привет, world", "Cyrillic"),
        ("こんにちは世界", "Chinese or Japanese"),
        ("안녕하세요", "Hangul"),
        ("𝓼𝓽𝔂𝓵𝓮𝓭 ｗｉｄｅ", "Latin"),
        ("12:30 👍 ok", None),
        ("", None),
    ],
)
def test_scripts(text: str, expected: str | None) -> None:
    assert script(text) == expected
