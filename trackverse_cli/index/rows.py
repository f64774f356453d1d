"""Lines of metadata -> Arrow tables, many lines at a time.

The boxes are most of a file. Their text is checked for shape and then read column by column
outside the interpreter's lock, without one Python object a number. A line that does not look
exactly as expected goes through `metadata.parse_line`, which gives the track or the reason.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from trackverse_cli.index.schema import make_table, table_of_tracks, track_schema
from trackverse_cli.metadata import (
    MAX_LINE_BYTES,
    LineError,
    Track,
    decode_line,
    dialect_of,
    parse_line,
    plain_label,
)
from trackverse_cli.metadata_fields import problem_of_size, text_is_fit

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from trackverse_cli.metadata import Dialect

_VIDEO_ID = re.compile(r"[A-Za-z0-9_-]{11}", re.ASCII)
# Names that need no closer look: parts that begin with a letter, a digit, _ or -.
_PLAIN_NAME = re.compile(
    r"[A-Za-z0-9_-][A-Za-z0-9._-]*(?:/[A-Za-z0-9_-][A-Za-z0-9._-]*)*", re.ASCII
)
_NUMBER_BYTES = b"0123456789.-+eE \t\r\n"
_BOXES_TO_ROWS = bytes.maketrans(b"]", b"\n")
_TIMES_TO_ROWS = bytes.maketrans(b",", b"\n")
_LABEL_LIMIT = 1 << 31


@dataclass(frozen=True, slots=True)
class RefusedLine:
    """A line that gave no track.

    Attributes:
        line: its number, from 1.
        reason: `refused-name` or `invalid-track`.
        message: one sentence.
        clip_name: the clip that it names, escaped and shortened, or "".
    """

    line: int
    reason: str
    message: str
    clip_name: str


@dataclass(slots=True)
class Rows:
    """Lines that were looked at but whose numbers are still text.

    Attributes:
        refused: lines that give no track.
        odd: (line, track) that were read one by one.
        dialects: how many lines of each dialect.
    """

    refused: list[RefusedLine] = field(default_factory=list)
    odd: list[tuple[int, Track]] = field(default_factory=list)
    dialects: dict[Dialect, int] = field(default_factory=dict)
    lines: list[int] = field(default_factory=list)
    video_ids: list[str] = field(default_factory=list)
    track_ids: list[str] = field(default_factory=list)
    clip_names: list[str] = field(default_factory=list)
    sizes: list[tuple[int, int] | None] = field(default_factory=list)
    label_ids: list[Sequence[int]] = field(default_factory=list)
    label_names: list[Sequence[str]] = field(default_factory=list)
    boxes: list[bytes] = field(default_factory=list)
    times: list[bytes] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)
    source: list[bytes] = field(default_factory=list)
    _dialects_of_rows: list[Dialect] = field(default_factory=list)

    def add(self, number: int, line: bytes) -> None:
        """Look at one line."""
        try:
            if len(line) <= MAX_LINE_BYTES and self._add_plain(number, line):
                return
        except (msgspec.DecodeError, UnicodeError, RecursionError, OverflowError):
            pass
        self._add_odd(number, line)

    def _add_plain(self, number: int, line: bytes) -> bool:
        fields = decode_line(line)
        clip_name, track_id = fields.track_mp4_filename, fields.track_id
        boxes, label_ids = bytes(fields.frame_bboxes or fields.track_bbox), fields.top10_label_ids
        label_names: Sequence[str] | None = fields.top10_label_names
        dialect: Dialect = "current"
        if clip_name is None:
            clip_name, dialect = fields.mp4_filename, "early"
            if clip_name is None:
                clip_name, dialect = fields.fn, "raw"
        if track_id is None:
            track_id = fields.tid
        if isinstance(track_id, int) and abs(track_id) < 1 << 63:
            track_id = str(track_id)
        times = bytes(fields.frame_ts or fields.track_ts)
        count = boxes.count(b"[") - 1
        if (
            clip_name is None
            or len(clip_name) > 255
            or not _PLAIN_NAME.fullmatch(clip_name)
            or fields.yid is None
            or not _VIDEO_ID.fullmatch(fields.yid)
            or not isinstance(track_id, str)
            or not text_is_fit(track_id)
            or count < 1
            or boxes.translate(None, _NUMBER_BYTES) != b"[" + b"[,,,]," * (count - 1) + b"[,,,]]"
            or times.translate(None, _NUMBER_BYTES) != b"[" + b"," * (count - 1) + b"]"
            or (count == 1 and not times.strip(b"[] \t\r\n"))
            or problem_of_size(fields.video_size)
        ):
            return False
        if label_ids is None:
            label_ids = fields.top10_lbl or []
        if label_names is None:
            label_names = [plain_label(text) for text in fields.top10_desc or ()]
        if label_ids and not (min(label_ids) >= -_LABEL_LIMIT and max(label_ids) < _LABEL_LIMIT):
            return False
        self.source.append(line)
        self.lines.append(number)
        self.video_ids.append(fields.yid)
        self.track_ids.append(track_id)
        self.clip_names.append(clip_name)
        self.sizes.append(fields.video_size)
        self.label_ids.append(label_ids)
        self.label_names.append(label_names)
        self.boxes.append(boxes)
        self.times.append(times)
        self.counts.append(count)
        self._dialects_of_rows.append(dialect)
        self.dialects[dialect] = self.dialects.get(dialect, 0) + 1
        return True

    def _add_odd(self, number: int, line: bytes) -> None:
        try:
            track = parse_line(line)
        except LineError as error:
            self.refused.append(RefusedLine(number, error.reason, error.message, error.clip_name))
            return
        self.odd.append((number, track))
        try:
            dialect = dialect_of(msgspec.json.decode(line, type=dict[str, msgspec.Raw]))
        except (msgspec.DecodeError, UnicodeError):
            dialect = "current"
        self.dialects[dialect] = self.dialects.get(dialect, 0) + 1

    def table(self) -> Any:
        """Return the good rows as an Arrow table in the order of their lines.

        Rows whose numbers turn out to be unusable move to `refused`; ask once.
        """
        import pyarrow as pa

        tables = []
        plain = self._plain_table() if self.lines else None
        if plain is not None:
            tables.append(plain)
        if self.odd:
            tables.append(table_of_tracks(self.odd))
        if not tables:
            return track_schema().empty_table()
        table = pa.concat_tables(tables)
        return table.sort_by("line") if len(tables) > 1 else table

    def names(self, table: Any) -> tuple[list[str], list[str], list[str]]:
        """Return the video ids, track ids and clip names of the rows of `table`."""
        if not self.odd and table.num_rows == len(self.lines):
            return self.video_ids, self.track_ids, self.clip_names
        return (
            table["video_id"].to_pylist(),
            table["track_id"].to_pylist(),
            table["clip_name"].to_pylist(),
        )

    def _plain_table(self) -> Any:
        import pyarrow as pa

        counts = np.array(self.counts, dtype=np.int64)
        try:
            values = [_read_times(self.times), *_read_boxes(self.boxes)]
        except pa.ArrowInvalid:  # a number beyond float64 somewhere: rare enough to go line by line
            self._look_again(range(len(self.lines)))
            return None
        table = make_table(
            counts,
            values,
            (self.lines, self.video_ids, self.track_ids, self.clip_names),
            self.sizes,
            (self.label_ids, self.label_names),
        )
        good = (values[3] > 0) & (values[4] > 0)
        for column in values:
            good &= np.isfinite(column)
        if good.all():
            return table
        starts = np.concatenate(([0], np.cumsum(counts)[:-1]))
        usable = np.logical_and.reduceat(good, starts)
        self._look_again(np.flatnonzero(~usable).tolist())
        return table.filter(pa.array(usable))

    def _look_again(self, rows: Iterable[int]) -> None:
        for row in rows:
            self.dialects[self._dialects_of_rows[row]] -= 1
            self._add_odd(self.lines[row], self.source[row])


def _read_times(texts: list[bytes]) -> NDArray[np.float64]:
    # [1,2],[3,4] -> one number a line
    rows = b",".join(texts).translate(_TIMES_TO_ROWS, b"[] \t\r\n")
    return _read_columns(rows, ["t"])[0]


def _read_boxes(texts: list[bytes]) -> list[NDArray[np.float64]]:
    # [[1,2,3,4],[5,6,7,8]] -> ",1,2,3,4" and ",5,6,7,8" a line; the first column is empty.
    rows = b"," + b",".join(texts).translate(_BOXES_TO_ROWS, b"[ \t\r\n")
    return _read_columns(rows, ["", "x", "y", "w", "h"])


def _read_columns(rows: bytes, names: list[str]) -> list[NDArray[np.float64]]:
    import pyarrow as pa
    from pyarrow import csv

    wanted = [name for name in names if name]
    table = csv.read_csv(
        pa.BufferReader(rows),
        read_options=csv.ReadOptions(
            column_names=names, use_threads=False, block_size=min(len(rows) + 1, (1 << 31) - 1)
        ),
        convert_options=csv.ConvertOptions(
            include_columns=wanted,
            column_types=dict.fromkeys(wanted, pa.float64()),
            null_values=[],
        ),
    )
    return [table.column(name).to_numpy() for name in wanted]
