"""The three dialects of a metadata line, read into one `Track`."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final, Literal

import msgspec
import numpy as np

from trackverse_cli.errors import RefusedNameError
from trackverse_cli.layout import check_clip_name, check_video_id
from trackverse_cli.metadata_fields import (
    FieldError,
    Fields,
    problem_of_lengths,
    problem_of_numbers,
    problem_of_size,
    problem_of_text,
    shown,
)

if TYPE_CHECKING:
    from collections.abc import Container, Sequence

    from numpy.typing import NDArray

Dialect = Literal["current", "early", "raw"]

MAX_LINE_BYTES: Final = 64 << 20
_PHOTO = re.compile(r"(?:an? )?photo of (?:an? )?(.+?)(?: \(also known as .*)?\.?", re.DOTALL)


@dataclass(frozen=True, slots=True, eq=False)
class Track:
    """One object followed through one video.

    Attributes:
        track_id: unique within its video.
        video_id: 11 checked characters.
        clip_name: the checked name of its clip below `tracks_mp4/`.
        frame_ts: (n,) float64 seconds, the times of the boxes, finite, n >= 1, in the file's
            order.
        frame_bboxes: (n, 4) float64 xywh pixels, finite, width and height > 0.
        video_size: (height, width) of the video that the boxes were made on, where it is said.
        label_ids: class ids, best first; may be empty.
        label_names: class names, best first; may be empty.
    """

    track_id: str
    video_id: str
    clip_name: str
    frame_ts: NDArray[np.float64]
    frame_bboxes: NDArray[np.float64]
    video_size: tuple[int, int] | None
    label_ids: tuple[int, ...]
    label_names: tuple[str, ...]


class LineError(Exception):
    """A metadata line that gives no track; the reading of the file goes on.

    Args:
        reason: `refused-name` or `invalid-track`.
        message: one sentence without the line's number.
        clip_name: the clip that the line names, escaped and shortened for printing, or "".
    """

    def __init__(self, reason: str, message: str, clip_name: str = "") -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.clip_name = clip_name


class Line(msgspec.Struct, frozen=True, gc=False):
    """The fields of all dialects as the file spells them; numbers stay text until needed."""

    yid: str | None = None
    track_id: str | int | None = None
    tid: str | int | None = None
    track_mp4_filename: str | None = None
    mp4_filename: str | None = None
    fn: str | None = None
    frame_ts: msgspec.Raw = msgspec.Raw()
    track_ts: msgspec.Raw = msgspec.Raw()
    frame_bboxes: msgspec.Raw = msgspec.Raw()
    track_bbox: msgspec.Raw = msgspec.Raw()
    video_size: tuple[int, int] | None = None
    top10_label_ids: list[int] | None = None
    top10_label_names: list[str] | None = None
    top10_lbl: list[int] | None = None
    top10_desc: list[str] | None = None


decode_line = msgspec.json.Decoder(Line).decode
_decode_times = msgspec.json.Decoder(list[float]).decode
_decode_boxes = msgspec.json.Decoder(list[tuple[float, float, float, float]]).decode
_FAST_FAILURES = (msgspec.DecodeError, UnicodeError, RecursionError, OverflowError)


def dialect_of(fields: Container[str]) -> Dialect:
    """Return which release a line belongs to, by the names of its fields."""
    if "track_mp4_filename" in fields:
        return "current"
    if "mp4_filename" in fields:
        return "early"
    return "raw" if "fn" in fields or "tid" in fields or "track_bbox" in fields else "current"


@lru_cache(maxsize=1 << 16)
def plain_label(text: str) -> str:
    """Return the class in `photo of a X (also known as ...)`, or the text as it is."""
    match = _PHOTO.fullmatch(text)
    return match[1] if match else text


def parse_line(line: bytes) -> Track:
    """Read one line of any dialect.

    Args:
        line: one JSON object, with or without its newline.

    Raises:
        LineError: it gives no track, and says why.
    """
    if len(line) > MAX_LINE_BYTES:
        raise LineError("invalid-track", f"the line is over {MAX_LINE_BYTES >> 20} MiB long")
    try:
        fields = decode_line(line)
        times = _decode_times(fields.frame_ts) if fields.frame_ts else None
        span = _decode_times(fields.track_ts) if fields.track_ts and times is None else None
        boxes = _decode_boxes(fields.frame_bboxes or fields.track_bbox)
    except _FAST_FAILURES:
        # The standard library takes NaN and tells more about what is wrong; it is rarely asked.
        return _parse_slowly(line)
    if times is None and span is None:
        return _parse_slowly(line)
    video_id = fields.yid
    clip_name = fields.track_mp4_filename
    if clip_name is None:
        clip_name = fields.mp4_filename if fields.mp4_filename is not None else fields.fn
    track_id = fields.track_id if fields.track_id is not None else fields.tid
    if video_id is None or clip_name is None or track_id is None:
        return _parse_slowly(line)
    if isinstance(track_id, int) and abs(track_id) >= 1 << 63:
        return _parse_slowly(line)
    ids = fields.top10_label_ids if fields.top10_label_ids is not None else fields.top10_lbl
    names = fields.top10_label_names
    if names is None:
        names = [plain_label(text) for text in fields.top10_desc or ()]
    return _checked(
        video_id, str(track_id), clip_name, times, span, boxes, fields.video_size, ids or (), names
    )


def _checked(
    video_id: str,
    track_id: str,
    clip_name: str,
    times: Sequence[float] | None,
    span: Sequence[float] | None,
    boxes: Sequence[Sequence[float]],
    video_size: tuple[int, int] | None,
    label_ids: Sequence[int],
    label_names: Sequence[str],
) -> Track:
    name = shown(clip_name)
    try:
        check_video_id(video_id)
        check_clip_name(clip_name)
    except RefusedNameError as error:
        raise LineError("refused-name", str(error), name) from error
    problem = (
        problem_of_lengths(times, span, boxes)
        or problem_of_text(track_id, label_names)
        or problem_of_size(video_size)
    )
    if not problem and any(not -(1 << 31) <= label < 1 << 31 for label in label_ids):
        problem = "a class id needs more than 32 bits"
    if problem:
        raise LineError("invalid-track", problem, name)
    frame_ts = np.array(times if times is not None else span, dtype=np.float64)
    frame_bboxes = np.array(boxes, dtype=np.float64)
    problem = problem_of_numbers(frame_ts, frame_bboxes)
    if problem:
        raise LineError("invalid-track", problem, name)
    return Track(
        track_id,
        video_id,
        clip_name,
        frame_ts,
        frame_bboxes,
        video_size,
        tuple(label_ids),
        tuple(label_names),
    )


def _parse_slowly(line: bytes) -> Track:
    """Read a line that the typed reader refused: either gives the track or the precise reason."""
    try:
        fields = json.loads(line.decode().lstrip("\ufeff"))
    except UnicodeDecodeError as error:
        raise LineError("invalid-track", "the line is not valid UTF-8") from error
    except RecursionError as error:
        raise LineError("invalid-track", "the line's JSON is nested too deep") from error
    except ValueError as error:
        raise LineError("invalid-track", f"the line is not valid JSON: {error}") from error
    if not isinstance(fields, dict):
        raise LineError("invalid-track", "the line is no JSON object")
    reader = Fields(fields)
    clip_name = ""
    try:
        clip_name = reader.text("track_mp4_filename", "mp4_filename", "fn")
        return _from_fields(reader, clip_name)
    except FieldError as error:
        raise LineError("invalid-track", str(error), shown(clip_name)) from error


def _from_fields(reader: Fields, clip_name: str) -> Track:
    video_id = reader.text("yid")
    track_id = reader.text("track_id", "tid", number=True)
    boxes = reader.boxes("frame_bboxes", "track_bbox")
    times = reader.numbers("frame_ts")
    span = reader.numbers("track_ts") if times is None else None
    names = reader.texts("top10_label_names")
    if names is None:
        names = [plain_label(text) for text in reader.texts("top10_desc") or ()]
    return _checked(
        video_id,
        track_id,
        clip_name,
        times,
        span,
        boxes,
        reader.size("video_size"),
        reader.integers("top10_label_ids", "top10_lbl") or (),
        names,
    )
