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
_STRINGS: Final = frozenset((str,))
_NOT_PLAIN: Final = (ValueError, TypeError, AttributeError, LookupError, RuntimeError)
"""What comes of what is no JSON, of another type, or of a number beyond 64 bits."""


class PlainLine(NamedTuple):
    """What a plain line says.

    Attributes:
        number: the line's, from 1.
        text: the line.
        dialect: its release.
        video_id: checked.
        track_id: checked.
        clip_name: checked.
        video_size: (height, width) or None.
        label_ids: l class ids, best first, as the bytes of int64.
        labels: l.
        label_names: class names, best first.
        times: n times, as the bytes of float64.
        boxes: n times xywh, as the bytes of float64.
        boxes_of_line: n, at least one.
    """

    number: int
    text: bytes
    dialect: Dialect
    video_id: str
    track_id: str
    clip_name: str
    video_size: tuple[int, int] | None
    label_ids: Any
    labels: int
    label_names: Sequence[str]
    times: Any
    boxes: Any
    boxes_of_line: int


class Keys(NamedTuple):
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
def keys_of(names: tuple[str, ...]) -> Keys | None:
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
    return Keys(
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
    """Reads lines one after the other; a thread needs its own.

    Attributes:
        parse: simdjson's parser, None where there is none.
    """

    def __init__(self) -> None:
        try:
            from simdjson import Parser
        except ImportError:  # no wheel for this machine: every line goes the slow way
            self.parse: Any = None
        else:
            self.parse = Parser().parse

    def read(self, number: int, line: bytes) -> PlainLine | None:
        """Return what a line says, or None if it is not plain."""
        if self.parse is None or len(line) > MAX_LINE_BYTES:
            return None
        try:
            return _plain(self.parse(line), number, line)
        except _NOT_PLAIN:
            return None


def _plain(found: Any, number: int, line: bytes) -> PlainLine | None:
    keys = keys_of(tuple(found.keys())) if hasattr(found, "keys") else None
    if keys is None:
        return None
    video_id, clip_name, track_id = found["yid"], found[keys.clip_name], found[keys.track_id]
    if type(track_id) is int and abs(track_id) < 1 << 63:
        track_id = str(track_id)
    boxes, times = found[keys.boxes], found[keys.times]
    label_ids = found[keys.label_ids] if keys.label_ids else None
    size = _size(found[keys.video_size].as_list()) if keys.video_size else None
    label_names: Sequence[str] = ()
    if keys.descriptions:
        label_names = [plain_label(text) for text in found[keys.descriptions].as_list()]
    elif keys.label_names:
        label_names = found[keys.label_names].as_list()
    boxes_of_line, labels = len(boxes), 0 if label_ids is None else len(label_ids)
    bones = line.translate(None, _NUMBER_BYTES)
    if not (
        _VIDEO_ID.fullmatch(video_id)
        and len(clip_name) <= 255
        and _PLAIN_NAME.fullmatch(clip_name)
        and type(track_id) is str
        and text_is_fit(track_id)
        # No object within, or a key could be found that belongs to it.
        and bones.count(b"{") == 1
        and boxes_of_line
        and len(times) == boxes_of_line
        and _has(bones, keys.boxes, _shape_of_boxes(boxes_of_line))
        and _has(bones, keys.times, _shape_of_numbers(boxes_of_line))
        and (not labels or _has(bones, keys.label_ids or "", _shape_of_numbers(labels)))
        and _STRINGS.issuperset(map(type, label_names))
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
        b"" if label_ids is None else label_ids.as_buffer(of_type="i"),
        labels,
        label_names,
        times.as_buffer(of_type="d"),
        boxes.as_buffer(of_type="d"),
        boxes_of_line,
    )


@lru_cache(maxsize=4096)
def _shape_of_boxes(count: int) -> bytes:
    return b"[" + b"[,,,]," * (count - 1) + b"[,,,]]"


@lru_cache(maxsize=4096)
def _shape_of_numbers(count: int) -> bytes:
    return b"[" + b"," * (count - 1) + b"]"


def _has(bones: bytes, key: str, shape: bytes) -> bool:
    """Say whether the value of a key is of this shape, in a line without its numbers."""
    quoted = _bones_of(key)
    begin = bones.find(quoted)
    return begin >= 0 and bones.startswith(shape, begin + len(quoted))


@lru_cache(maxsize=32)
def _bones_of(key: str) -> bytes:
    return b'"%b":' % key.encode().translate(None, _NUMBER_BYTES)


def _size(values: list[Any]) -> tuple[int, int]:
    height, width = values
    if type(height) is not int or type(width) is not int or problem_of_size((height, width)):
        raise ValueError("not two whole numbers")
    return height, width
