"""What happened to a text on its way: wrong decoding, HTML left over, characters nobody sees. Finds it and mends it.

Knows single texts. A text is damaged in a way exactly where mending that way changes it, so whatever is mended audits
clean. Wrong decoding (UTF-8 read as Latin-1 or Windows-1252, "Ã©" for "é") is found and undone by ftfy (Speer 2019).
"""

from __future__ import annotations

import html
import re
from html.entities import html5

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"  # stands where a character was lost for good

_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
# Layout that web pages leave in texts. Other "<…>" may be meant: <3, <#>, <name@example.org>.
_TAGS = (
    "a|abbr|b|blockquote|br|center|code|dd|div|dl|dt|em|font|h[1-6]|hr|i|img|li|ol|p|pre|s|small|span|strong|sub|sup"
    "|table|tbody|td|th|thead|tr|u|ul"
)
_TAG = re.compile(rf"</?(?:{_TAGS})(?:\s+[a-z-]+\s*=\s*(?:\"[^\"<>]*\"|'[^'<>]*'|[^\s<>\"']+))*\s*/?>", re.IGNORECASE)
# Not among them: joiners, marks and variation selectors, which spell Persian, Hindi and emoji.
_UNSEEN = "\u00ad\u200b\u200e\u200f\u2060\ufeff" + "".join(map(chr, [*range(0x202A, 0x202F), *range(0x2066, 0x206A)]))
_CONTROL = re.compile(rf"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f{_UNSEEN}]")


def damages(text: str) -> list[str]:
    """The kinds of damage that ``repair`` would mend, of ``mojibake``, ``html-entities``, ``html-tags`` and
    ``control-characters``."""
    return repair(text)[1] if _suspect(text) else []


def repair(text: str) -> tuple[str, list[str]]:
    """The text as it was meant, and the kinds of damage mended, each once, in the order they were met.

    Tags of layout become spaces, unseen characters go; nothing else of the text changes. Mending twice changes nothing.
    """
    kinds: dict[str, None] = {}
    before = None
    while text != before:  # damage lies upon damage: "&amp;lt;br&gt;"
        before = text
        for kind, mend in _MENDERS.items():
            mended = mend(text)
            if mended != text:
                text = mended
                kinds[kind] = None
    return text, list(kinds)


def _suspect(text: str) -> bool:
    """A quick look that leaves most texts alone."""
    return not text.isascii() or "&" in text or "<" in text or _CONTROL.search(text) is not None


def _decode(text: str) -> str:
    if text.isascii():
        return text
    import ftfy

    return ftfy.fix_encoding(text)


def _unescape(text: str) -> str:
    return _ENTITY.sub(_character, text) if "&" in text else text


def _character(entity: re.Match[str]) -> str:
    """What an entity stands for. Names that no browser knows, and numbers of no character, stay as they are."""
    if entity[0][1] != "#" and entity[0][1:] not in html5:
        return entity[0]
    meant = html.unescape(entity[0])
    return entity[0] if meant in {"", REPLACEMENT} else meant


def _strip_tags(text: str) -> str:
    return _TAG.sub(" ", text) if "<" in text else text


def _strip_unseen(text: str) -> str:
    return _CONTROL.sub("", text)


_MENDERS = {
    "html-entities": _unescape,
    "html-tags": _strip_tags,
    "mojibake": _decode,
    "control-characters": _strip_unseen,
}
