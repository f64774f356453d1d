"""How the lines of one make are spelled: an expression that all of them match.

The lines of a file differ in their values alone: one of them says which keys come, in which order,
and what kind of value each has.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from trackverse_cli.index.lines import keys_of

if TYPE_CHECKING:
    from trackverse_cli.metadata import Dialect

_TEXT: Final = r"[ !#-\[\]-~]"
_WHOLE: Final = r"(?:0|[1-9][0-9]{0,8})"
_PLAIN_NAME: Final = r"[A-Za-z0-9_-][A-Za-z0-9._-]*(?:/[A-Za-z0-9_-][A-Za-z0-9._-]*)*"
_PATTERNS: Final = {
    "video_id": '"([A-Za-z0-9_-]{11})"',
    "clip_name": f'"({_PLAIN_NAME})"',
    "track_id": f'"({_TEXT}{{1,255}})"',
    "track_number": "(0|-?[1-9][0-9]{0,17})",
    "times": r"\[([^\]]*)\]",
    # To the end of the line and back to where the next key fits: what is in between is looked at
    # when it is read, and boxes are most of a line. With the bracket in the group, since only a
    # literal behind the star makes the way back quick.
    "boxes": r"\[\[(.*\])\]",
    "label_ids": r"\[([^\]]*)\]",
    "label_names": r'\["([^\]]*)"\]',
    "descriptions": r'\["([^\]]*)"\]',
    "video_size": rf"\[({_WHOLE}, ?{_WHOLE})\]",
    "numbers": r"\[([^\]]*)\]",
    "texts": rf'\["{_TEXT}*"(?:, ?"{_TEXT}*")*\]',
    "text": f'"{_TEXT}*"',
    "number": rf"-?{_WHOLE}(?:\.[0-9]{{1,20}})?",
    "null": "null",
}
_NO_GROUP: Final = frozenset({"texts", "text", "number", "null"})


@dataclass(frozen=True, slots=True)
class Make:
    """How the lines of one make are spelled.

    Attributes:
        dialect: their release.
        roles: what each group of the expression holds, in its order.
        expression: matches one line without its newline; what it takes for boxes and for names
            may be anything.
    """

    dialect: Dialect
    roles: tuple[str, ...]
    expression: re.Pattern[bytes]


def make_of(line: bytes) -> Make | None:
    """Return the make of a line, None if it has none that could be read in this way."""
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if type(fields) is not dict:
        return None
    kinds = tuple((key, _kind(value)) for key, value in fields.items())
    return _make(kinds)


def _kind(value: object) -> str:
    """Return the role of a value under a key that nobody asks for, or "" for none."""
    if isinstance(value, list):
        items = {type(item) for item in value}
        if items and items <= {int, float}:
            return "numbers"
        return "texts" if items == {str} else "boxes" if items == {list} else ""
    names = {str: "text", int: "number", float: "number", type(None): "null"}
    return names.get(type(value), "")


@lru_cache(maxsize=64)
def _make(kinds: tuple[tuple[str, str], ...]) -> Make | None:
    keys = keys_of(tuple(key for key, _ in kinds))
    if keys is None or not all(re.fullmatch("[a-z0-9_]+", key) for key, _ in kinds):
        return None
    wanted = {
        "yid": ("video_id", {"text"}),
        keys.clip_name: ("clip_name", {"text"}),
        keys.track_id: ("track_id", {"text", "number"}),
        keys.times: ("times", {"numbers"}),
        keys.boxes: ("boxes", {"boxes"}),
        keys.label_ids: ("label_ids", {"numbers"}),
        keys.label_names: ("label_names", {"texts"}),
        keys.video_size: ("video_size", {"numbers"}),
    }
    if keys.descriptions:
        wanted[keys.descriptions] = ("descriptions", {"texts"})
    roles, parts = [], []
    for key, kind in kinds:
        role, fit = wanted.get(key, (kind, {kind} - {"", "boxes"}))
        if kind not in fit:
            return None
        if role == "track_id" and kind == "number":
            role = "track_number"
        parts.append(rf'"{key}": ?{_PATTERNS[role]}')
        if role not in _NO_GROUP:
            roles.append(role)
    expression = r"\{" + ", ?".join(parts) + r"\}\r?\Z"
    return Make(keys.dialect, tuple(roles), re.compile(expression.encode(), re.DOTALL))
