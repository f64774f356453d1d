"""Lines of one make, read many at a time: one expression a line, one parse a block.

What does not match the make of the first line is left to `lines`, which looks at one line at a
time, and so is a whole block in which a number or a list is not as expected.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from trackverse_cli.index.makes import make_of
from trackverse_cli.metadata import MAX_LINE_BYTES, plain_label
from trackverse_cli.metadata_fields import problem_of_size

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from trackverse_cli.index.makes import Make
    from trackverse_cli.metadata import Dialect

_OF_NUMBERS: Final = b"0123456789.-+eE \t\r"
_NAME_BYTES: Final = 255
_LONGEST_FIRST_LINE: Final = 1 << 20
"""Bytes; a longer line is no example for others."""


@dataclass(frozen=True, slots=True)
class Columns:
    """What m lines say.

    Attributes:
        dialects: m, their releases.
        numbers: m lines' numbers, ascending.
        video_ids, track_ids, clip_names: m, checked.
        sizes: m (height, width) or None.
        counts: (m,) boxes of each line, at least one.
        times: (n,) of all boxes, one line after the other.
        boxes: (n, 4) xywh.
        label_counts: (m,) how many class ids each line has.
        label_ids: all of them, one line after the other.
        label_names: m sequences of class names, best first.
        line: gives the text of the line of a row.
    """

    dialects: Sequence[Dialect]
    numbers: Sequence[int]
    video_ids: Sequence[str]
    track_ids: Sequence[str]
    clip_names: Sequence[str]
    sizes: Sequence[tuple[int, int] | None]
    counts: NDArray[np.int64]
    times: NDArray[np.float64]
    boxes: NDArray[np.float64]
    label_counts: NDArray[np.int64]
    label_ids: NDArray[np.int64]
    label_names: Sequence[Sequence[str]]
    line: Callable[[int], bytes]


def read_alike(
    first_line: int, text: bytes, parse: Callable[[bytes], Any] | None
) -> tuple[Columns | None, list[tuple[int, bytes]]]:
    """Read the lines of a block that are of the make of its first one.

    Args:
        first_line: the number of the first line.
        text: whole lines, without the last newline.
        parse: simdjson's parser; None reads nothing.

    Returns:
        What they say, None for none, and every other line that is not blank with its number.
    """
    example = text.partition(b"\n")[0] if len(text) <= MAX_LINE_BYTES else b""
    make = make_of(example) if len(example) <= _LONGEST_FIRST_LINE else None
    if make is None or parse is None:
        return None, _numbered(first_line, text)
    found, numbers, places, others = [], [], [], []
    match, place, number = make.expression.match, 0, first_line
    while place < len(text):
        hit = match(text, place)
        if hit is not None:
            end = hit.end()
            found.append(hit.groups())
            numbers.append(number)
            places.append((place, end))
        else:
            end = text.find(b"\n", place) + 1 or len(text) + 1
            line = text[place : end - 1]
            if line and not line.isspace():
                others.append((number, line))
        place, number = end, number + 1
    try:
        return _columns(make, found, numbers, parse, lambda row: text[slice(*places[row])]), others
    except (ValueError, TypeError, RuntimeError, AttributeError):
        return None, _numbered(first_line, text)


def _numbered(first_line: int, text: bytes) -> list[tuple[int, bytes]]:
    lines = enumerate(text.split(b"\n"), first_line)
    return [(number, line) for number, line in lines if line and not line.isspace()]


def _columns(
    make: Make,
    found: list[tuple[bytes, ...]],
    numbers: list[int],
    parse: Callable[[bytes], Any],
    line: Callable[[int], bytes],
) -> Columns | None:
    """Return what the groups of all lines say.

    Raises:
        ValueError, TypeError, RuntimeError or AttributeError: one of them is not as it looked.
    """
    if not found:
        return None
    columns: dict[str, tuple[bytes, ...]] = {}
    for role, column in zip(make.roles, zip(*found, strict=True), strict=True):
        if role == "numbers":
            _parsed(parse, column, _commas(column))
        else:
            columns[role] = column
    counts = _commas(columns["times"])
    boxes = columns["boxes"]
    if max(len(name) for name in columns["clip_name"]) > _NAME_BYTES or any(
        text.count(b"[") + 1 != count for text, count in zip(boxes, counts.tolist(), strict=True)
    ):
        raise ValueError("a line is not of its make")
    ids = columns.get("label_ids")
    label_counts = _commas(ids) if ids else np.zeros(len(found), np.int64)
    sizes = columns.get("video_size")
    track_ids = columns.get("track_id") or columns["track_number"]
    return Columns(
        [make.dialect] * len(found),
        numbers,
        _texts(columns["video_id"]),
        _texts(track_ids),
        _texts(columns["clip_name"]),
        [_size(text) for text in sizes] if sizes else [None] * len(found),
        counts,
        _parsed(parse, columns["times"], counts),
        _parsed_boxes(parse, boxes, counts),
        label_counts,
        _parsed(parse, ids, label_counts, "i") if ids else np.zeros(0, np.int64),
        _names(columns, len(found)),
        line,
    )


def _commas(column: Sequence[bytes]) -> NDArray[np.int64]:
    """Return how many values each list holds; an empty one does not parse later."""
    return np.fromiter((text.count(b",") + 1 for text in column), np.int64, len(column))


def _parsed(
    parse: Callable[[bytes], Any],
    column: Sequence[bytes],
    counts: NDArray[np.int64],
    kind: Literal["d", "i"] = "d",
) -> NDArray[Any]:
    """Return the numbers of all lists, one after the other, as float64 or int64."""
    text, total = b",".join(column), int(counts.sum())
    if text.translate(None, _OF_NUMBERS) != b"," * (total - 1):
        raise ValueError("not lists of numbers")
    return _numbers(parse(b"[" + text + b"]"), kind, total)


def _parsed_boxes(
    parse: Callable[[bytes], Any], column: Sequence[bytes], counts: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return the boxes of all lists, one after the other, (n, 4)."""
    text, total = b"],[".join(column), int(counts.sum())
    if text.translate(None, _OF_NUMBERS) != b",,,],[" * (total - 1) + b",,,":
        raise ValueError("not lists of boxes")
    return _numbers(parse(b"[[" + text + b"]]"), "d", 4 * total).reshape(-1, 4)


def _numbers(found: Any, kind: Literal["d", "i"], count: int) -> NDArray[Any]:
    values: NDArray[Any] = np.frombuffer(
        found.as_buffer(of_type=kind), np.float64 if kind == "d" else np.int64
    )
    if len(values) != count:
        raise ValueError("a list is empty")
    return values


def _texts(column: Sequence[bytes]) -> list[str]:
    return b"\n".join(column).decode("ascii").split("\n")


@lru_cache(maxsize=4096)
def _size(text: bytes) -> tuple[int, int]:
    height, width = map(int, text.split(b","))
    if problem_of_size((height, width)):
        raise ValueError("no size")
    return height, width


def _names(columns: dict[str, tuple[bytes, ...]], lines: int) -> Sequence[Sequence[str]]:
    described = columns.get("descriptions")
    column = described or columns.get("label_names")
    if column is None:
        return [()] * lines
    names = []
    for text in column:
        parts = text.decode().replace('","', '", "').split('", "')
        if text.count(b'"') != 2 * (len(parts) - 1):
            raise ValueError("a class name holds a quotation mark")
        names.append([plain_label(part) for part in parts] if described else parts)
    return names
