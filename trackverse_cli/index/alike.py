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
_NEWLINE, _SPACE, _QUOTE, _BACKSLASH = b'\n "\\'
_NAME_BYTES: Final = 255
_LONGEST_FIRST_LINE: Final = 1 << 20
"""Bytes; a longer line is no example for others."""


@dataclass(frozen=True, slots=True)
class Columns:
    """What m lines say.

    Attributes:
        dialects: m, their releases.
        numbers: m lines' numbers, ascending.
        video_ids, track_ids, clip_names: m, checked; strings or an Arrow array of them.
        sizes: m (height, width) or None.
        counts: (m,) boxes of each line, at least one.
        times: (n,) of all boxes, one line after the other.
        boxes: (n, 4) xywh.
        label_counts: (m,) how many class ids each line has.
        label_ids: all of them, one line after the other.
        label_names: m sequences of class names, best first, or an Arrow array of lists.
        line: gives the text of the line of a row.
    """

    dialects: Sequence[Dialect]
    numbers: Sequence[int]
    video_ids: Any
    track_ids: Any
    clip_names: Any
    sizes: Sequence[tuple[int, int] | None]
    counts: NDArray[np.int64]
    times: NDArray[np.float64]
    boxes: NDArray[np.float64]
    label_counts: NDArray[np.int64]
    label_ids: NDArray[np.int64]
    label_names: Any
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
    end = text.find(b"\n") if len(text) <= MAX_LINE_BYTES else 0
    example = text[:end] if end >= 0 else text
    make = make_of(example) if len(example) <= _LONGEST_FIRST_LINE else None
    if make is None or parse is None:
        return None, _numbered(first_line, text)
    found, numbers, places, others = [], [], [], []
    match, place, number = make.expression.match, 0, first_line
    while place < len(text):
        end = text.find(b"\n", place)
        if end < 0:
            end = len(text)
        hit = match(text, place, end)
        if hit is not None:
            found.append(hit.groups())
            numbers.append(number)
            places.append((place, end))
        else:
            line = text[place:end]
            if line and not line.isspace():
                others.append((number, line))
        place, number = end + 1, number + 1
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
            _parsed(parse, column)
        else:
            columns[role] = column
    if max(map(len, columns["clip_name"])) > _NAME_BYTES:
        raise ValueError("a clip name is too long")
    counts, times = _parsed(parse, columns["times"])
    ids = columns.get("label_ids")
    nothing = np.zeros(len(found), np.int64), np.zeros(0, np.int64)
    label_counts, label_ids = _parsed(parse, ids, "i") if ids else nothing
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
        times,
        _parsed_boxes(parse, columns["boxes"], counts),
        label_counts,
        label_ids,
        _names(columns, len(found)),
        line,
    )


def _parsed(
    parse: Callable[[bytes], Any], column: Sequence[bytes], kind: Literal["d", "i"] = "d"
) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """Return how many numbers each list holds, and all, one after the other, float64 or int64."""
    text = b",\n".join(column)
    commas = text.translate(None, _OF_NUMBERS)
    ends = np.flatnonzero(np.frombuffer(commas + b"\n", np.uint8) == _NEWLINE)
    if len(ends) != len(column) or commas.count(b",") + len(ends) - 1 != len(commas):
        raise ValueError("not lists of numbers")
    counts = np.diff(ends, prepend=-1)
    # The comma between two lists stands before its newline and counts for neither.
    counts[-1] += 1
    return counts - 1, _numbers(parse(b"[" + text + b"]"), kind, int(counts.sum()) - len(counts))


def _parsed_boxes(
    parse: Callable[[bytes], Any], column: Sequence[bytes], counts: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return the boxes of all lists, from behind their `[[` to the first `]`, as (n, 4)."""
    text = b",\n[".join(column)
    pattern = b",,,],[" * int(counts.max())
    expected = b",\n[".join([pattern[: 6 * count - 2] for count in counts.tolist()])
    if text.translate(None, _OF_NUMBERS) != expected:
        raise ValueError("not lists of boxes, one for each time")
    values = _numbers(parse(b"[[" + text + b"]"), "d", 4 * int(counts.sum()))
    return values.reshape(-1, 4)


def _numbers(found: Any, kind: Literal["d", "i"], count: int) -> NDArray[Any]:
    values: NDArray[Any] = np.frombuffer(
        found.as_buffer(of_type=kind), np.float64 if kind == "d" else np.int64
    )
    if len(values) != count:
        raise ValueError("a list is empty")
    return values


def _texts(column: Sequence[bytes]) -> Any:
    import pyarrow as pa

    return pa.array(column, pa.string())


@lru_cache(maxsize=4096)
def _size(text: bytes) -> tuple[int, int]:
    height, width = map(int, text.split(b","))
    if problem_of_size((height, width)):
        raise ValueError("no size")
    return height, width


def _names(columns: dict[str, tuple[bytes, ...]], lines: int) -> Any:
    """Return a list of class names for each line, as an Arrow array.

    Raises:
        ValueError: a name holds a quotation mark, a backslash or a control character, or is not
            UTF-8.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    described = columns.get("descriptions")
    column = described or columns.get("label_names")
    if column is None:
        return pa.array([()] * lines, pa.list_(pa.string()))
    texts = pa.array(column, pa.string())
    content = np.frombuffer(texts.buffers()[2] or b"", np.uint8)
    if np.any((content < _SPACE) | (content == _BACKSLASH)):
        raise ValueError("a class name is not plain")
    quotes = int(np.count_nonzero(content == _QUOTE))
    names = pc.split_pattern(texts, '", "')
    if quotes != 2 * (len(names.values) - lines):
        names = pc.split_pattern(pc.replace_substring(texts, '","', '", "'), '", "')
    flat = names.values
    if quotes != 2 * (len(flat) - lines):
        raise ValueError("a class name holds a quotation mark")
    if described:
        coded = flat.dictionary_encode()
        plain = [plain_label(text) for text in coded.dictionary.to_pylist()]
        flat = pa.array(plain, pa.string()).take(coded.indices)
    return pa.ListArray.from_arrays(names.offsets, flat)
