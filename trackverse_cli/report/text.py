"""Text from anywhere as HTML that shows what it is, and numbers as a person reads them."""

from __future__ import annotations

import html
import unicodedata
from datetime import UTC, datetime

LONGEST = 160
"""Characters of a name; what is longer is cut."""

LONGEST_SENTENCE = 600
"""Characters of a sentence."""

_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Categories of what has no shape of its own: control, format, surrogate, line separators."""

_JOINERS = "\u200c\u200d"
"""Format characters that words and emoji are made with."""

_MARKS = 3
"""Combining marks on one letter; more would only climb over the lines above."""


def plain(text: str, longest: int = LONGEST) -> str:
    r"""Return `text` on one line, not too long, with what cannot be seen written out (`\u202e`)."""
    shown: list[str] = []
    marks = 0
    for character in text[:longest]:
        category = unicodedata.category(character)
        marks = marks + 1 if category in ("Mn", "Me") else 0
        if marks > _MARKS:
            continue
        if category in _HIDDEN and character not in _JOINERS:
            number = ord(character)
            shown.append(f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}")
        else:
            shown.append(character)
    return "".join(shown) + ("…" if len(text) > longest else "")


def escaped(text: str, longest: int = LONGEST) -> str:
    """Return `text` as HTML, in an element as well as in a quoted attribute."""
    return html.escape(plain(text, longest), quote=True)


def name(text: str) -> str:
    """Return a name that comes from outside as HTML that cannot turn the text around it."""
    return f"<bdi>{escaped(text)}</bdi>"


def number(value: int) -> str:
    """Return `1,234,567`."""
    return f"{value:,}"


def counted(value: int, unit: str) -> str:
    """Return `1 clip`, `2 clips`, `1 class`."""
    plural = f"{unit}es" if unit.endswith("s") else f"{unit}s"
    return f"{value:,} {unit if value == 1 else plural}"


def share(part: int, whole: int) -> str:
    """Return a percentage that says 100 only of everything and 0 only of nothing."""
    if not whole or part in (0, whole):
        return "100 %" if whole and part else "0 %"
    percent = 100 * part / whole
    if percent >= 99.95:
        return "over 99.9 %"
    if percent < 0.05:
        return "under 0.1 %"
    return f"{percent:.1f} %"


def day_text(seconds: float) -> str:
    """Return a wall-clock time as `22 November 2026, 15:30 UTC`."""
    when = datetime.fromtimestamp(seconds, UTC)
    return f"{when.day} {when:%B %Y, %H:%M} UTC"


def tick_text(seconds: float, span: float) -> str:
    """Return a time for an axis that spans so many seconds."""
    when = datetime.fromtimestamp(seconds, UTC)
    if span > 300 * 86_400:
        return f"{when.day} {when:%b %Y}"
    if span > 4 * 86_400:
        return f"{when.day} {when:%b}"
    if span > 1800:
        return f"{when.day} {when:%b %H:%M}"
    return f"{when:%H:%M:%S}"
