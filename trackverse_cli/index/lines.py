"""One line of metadata, read at the speed of simdjson if it is as plain as nearly all are.

What is read here is what `metadata.parse_line` would have read, to the last bit. A line that is
not plain (another JSON type, a name that needs a closer look, a number beyond 64 bits, a key that
stands there twice) is no error: it is left to `parse_line`, which gives the track or the reason.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from trackverse_cli.metadata import MAX_LINE_BYTES, dialect_of, plain_label
from trackverse_cli.metadata_fields import problem_of_size, text_is_fit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trackverse_cli.metadata import Dialect

_VIDEO_ID = re.compile(r"[A-Za-z0-9_-]{11}", re.ASCII)
# Names that need no closer look: parts that begin with a letter, a digit, _ or -.
_PLAIN_NAME = re.compile(
    r"[A-Za-z0-9_-][A-Za-z0-9._-]*(?:/[A-Za-z0-9_-][A-Za-z0-9._-]*)*", re.ASCII
)
_NUMBER_BYTES: Final = b"0123456789.-+eE \t\r\n"
_LABEL_LIMIT: Final = 1 << 31
_NOT_PLAIN: Final = (ValueError, TypeError, LookupError, RuntimeError, OverflowError)
"""What simdjson raises for what is no JSON, another type, or a number beyond 64 bits."""


class PlainLine(NamedTuple):
    """What a plain line says; numbers as the bytes of float64.

    Attributes:
        number: the line's, from 1.
        text: the line.
        dialect: its release.
        video_id: checked.
        track_id: checked.
        clip_name: checked.
        video_size: (height, width) or None.
        label_ids: class ids, best first, each within 32 bits.
        label_names: class names, best first.
        count: n boxes, at least one.
        times: n numbers.
        boxes: 4 n numbers, xywh by xywh.
    """

    number: int
    text: bytes
    dialect: Dialect
    video_id: str
    track_id: str
    clip_name: str
    video_size: tuple[int, int] | None
    label_ids: Sequence[int]
    label_names: Sequence[str]
    count: int
    times: Any
    boxes: Any


class _Keys(NamedTuple):
    """Under which keys the lines of one make have their values."""

    dialect: Dialect
    clip_name: str
    track_id: str
    times: str
    boxes: str
    label_ids: str | None
    label_names: str | None
    descriptions: str | None
    video_size: str | None


@lru_cache(maxsize=256)
def _keys_of(names: tuple[str, ...]) -> _Keys | None:
    """Return where to look in lines with these keys, or None if such lines are not plain."""
    known = set(names)

    def first(*wanted: str) -> str | None:
        return next((name for name in wanted if name in known), None)

    clip_name = first("track_mp4_filename", "mp4_filename", "fn")
    track_id = first("track_id", "tid")
    times, boxes = first("frame_ts", "track_ts"), first("frame_bboxes", "track_bbox")
    if len(known) < len(names) or not (clip_name and track_id and times and boxes):
        return None
    label_names = first("top10_label_names")
    return _Keys(
        dialect_of(known),
        clip_name,
        track_id,
        times,
        boxes,
        first("top10_label_ids", "top10_lbl"),
        label_names,
        None if label_names else first("top10_desc"),
        first("video_size"),
    )


class LineReader:
    """Reads lines one after the other; a thread needs its own."""

    def __init__(self) -> None:
        try:
            from simdjson import Parser
        except ImportError:  # no wheel for this machine: every line goes the slow way
            self._parse: Any = None
        else:
            self._parse = Parser().parse

    def read(self, number: int, line: bytes) -> PlainLine | None:
        """Return what a line says, or None if it is not plain."""
        if self._parse is None or len(line) > MAX_LINE_BYTES:
            return None
        try:
            return _plain(self._parse(line), number, line)
        except _NOT_PLAIN:
            return None


def _plain(found: Any, number: int, line: bytes) -> PlainLine | None:
    keys = _keys_of(tuple(found.keys())) if hasattr(found, "keys") else None
    if keys is None:
        return None
    video_id, clip_name, track_id = found["yid"], found[keys.clip_name], found[keys.track_id]
    if type(track_id) is int and abs(track_id) < 1 << 63:
        track_id = str(track_id)
    boxes, times = found[keys.boxes], found[keys.times]
    count = len(boxes)
    size = _size(found[keys.video_size].as_list()) if keys.video_size else None
    label_ids = found[keys.label_ids].as_list() if keys.label_ids else ()
    if keys.descriptions:
        label_names = [plain_label(text) for text in found[keys.descriptions].as_list()]
    else:
        label_names = found[keys.label_names].as_list() if keys.label_names else ()
    if not (
        _VIDEO_ID.fullmatch(video_id)
        and len(clip_name) <= 255
        and _PLAIN_NAME.fullmatch(clip_name)
        and type(track_id) is str
        and text_is_fit(track_id)
        and count
        and _has_shape(line, keys.boxes, b"]]", b":[" + b"[,,,]," * (count - 1) + b"[,,,]]")
        and _has_shape(line, keys.times, b"]", b":[" + b"," * (count - 1) + b"]")
        and len(times) == count
        and {str}.issuperset(map(type, label_names))
        and {int}.issuperset(map(type, label_ids))
        and -_LABEL_LIMIT <= min(label_ids, default=0)
        and max(label_ids, default=0) < _LABEL_LIMIT
    ):
        return None
    return PlainLine(
        number,
        line,
        keys.dialect,
        video_id,
        track_id,
        clip_name,
        size,
        label_ids,
        label_names,
        count,
        times.as_buffer(of_type="d"),
        boxes.as_buffer(of_type="d"),
    )


def _has_shape(line: bytes, key: str, end: bytes, shape: bytes) -> bool:
    """Say whether a key's value, up to `end`, is `shape` once its numbers are left out."""
    quoted = b'"%b"' % key.encode()
    begin = line.find(quoted)
    # A second place could be the key of something inside, and this would be the wrong one.
    if begin < 0 or line.count(quoted) > 1:
        return False
    begin += len(quoted)
    value = line[begin : line.find(end, begin) + len(end)]
    return value.translate(None, _NUMBER_BYTES) == shape


def _size(values: list[Any]) -> tuple[int, int]:
    height, width = values
    if type(height) is not int or type(width) is not int or problem_of_size((height, width)):
        raise ValueError("not two whole numbers")
    return height, width
