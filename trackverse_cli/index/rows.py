"""Lines of metadata -> Arrow tables, many lines at a time.

Plain lines keep their numbers as bytes until a block is full, which then become columns without
one Python object a number. A line that is not plain goes through `metadata.parse_line`, which
gives the track or the reason.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np

from trackverse_cli.index.alike import Columns, read_alike
from trackverse_cli.index.hundredths import of_one_type
from trackverse_cli.index.lines import LineReader, PlainLine
from trackverse_cli.index.schema import make_table, table_of_tracks, track_schema
from trackverse_cli.metadata import Dialect, LineError, Track, dialect_of, parse_line


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


@dataclass(frozen=True, slots=True)
class Found:
    """What a block of lines holds beside its good rows.

    Attributes:
        lines: lines that are not blank.
        refused: lines that give no track, in order.
        dialects: good lines of each dialect.
    """

    lines: int
    refused: list[RefusedLine]
    dialects: dict[Dialect, int]


def read_text(first_line: int, text: bytes) -> tuple[Found, Any]:
    """Read a block of lines; pure, so that it can be done anywhere and in any order.

    Args:
        first_line: the number of the first line.
        text: whole lines, without the last newline.

    Returns:
        What was found, and the Arrow table of the good rows in the order of the lines.
    """
    rows = Rows()
    lines = rows.read(first_line, text)
    table = rows.table()
    refused = sorted(rows.refused, key=lambda line: line.line)
    return Found(lines, refused, rows.dialects), table


@dataclass(slots=True)
class Rows:
    """Lines that were looked at.

    Attributes:
        refused: lines that give no track.
        odd: (line, track) that were read one by one.
        plain: lines that were read as they are expected to be.
        alike: what was read many lines at a time.
        dialects: how many lines of each dialect.
    """

    refused: list[RefusedLine] = field(default_factory=list)
    odd: list[tuple[int, Track]] = field(default_factory=list)
    plain: list[PlainLine] = field(default_factory=list)
    alike: list[Columns] = field(default_factory=list)
    dialects: dict[Dialect, int] = field(default_factory=dict)
    _reader: LineReader = field(default_factory=LineReader)

    def read(self, first_line: int, text: bytes) -> int:
        """Look at a block of lines; return how many are not blank."""
        alike, others = read_alike(first_line, text, self._reader.parse)
        for number, line in others:
            self.add(number, line)
        if alike is None:
            return len(others)
        self.alike.append(alike)
        for dialect in set(alike.dialects):
            count = alike.dialects.count(dialect)
            self.dialects[dialect] = self.dialects.get(dialect, 0) + count
        return len(others) + len(alike.numbers)

    def add(self, number: int, line: bytes) -> None:
        """Look at one line."""
        plain = self._reader.read(number, line)
        if plain is None:
            self._add_odd(number, line)
        else:
            self.plain.append(plain)
            self.dialects[plain.dialect] = self.dialects.get(plain.dialect, 0) + 1

    def _add_odd(self, number: int, line: bytes) -> None:
        try:
            track = parse_line(line)
        except LineError as error:
            self.refused.append(RefusedLine(number, error.reason, error.message, error.clip_name))
            return
        self.odd.append((number, track))
        try:
            dialect = dialect_of(msgspec.json.decode(line, type=dict[str, msgspec.Raw]))
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            dialect = "current"
        self.dialects[dialect] = self.dialects.get(dialect, 0) + 1

    def table(self) -> Any:
        """Return the good rows as an Arrow table in the order of their lines.

        Rows whose numbers turn out to be unusable move to `refused`; ask once.
        """
        import pyarrow as pa

        blocks = [*self.alike, *([_joined(self.plain)] if self.plain else [])]
        tables = [table for columns in blocks if (table := self._table_of(columns)).num_rows]
        if self.odd:
            tables.append(table_of_tracks(self.odd))
        if not tables:
            return track_schema().empty_table()
        table = pa.concat_tables(of_one_type(tables))
        return table.sort_by("line") if len(tables) > 1 else table

    def _table_of(self, columns: Columns) -> Any:
        import pyarrow as pa

        boxes = [np.ascontiguousarray(columns.boxes[:, side]) for side in range(4)]
        label_ids = columns.label_ids.astype(np.int32)
        table = make_table(
            columns.counts,
            [columns.times, *boxes],
            (columns.numbers, columns.video_ids, columns.track_ids, columns.clip_names),
            columns.sizes,
            (columns.label_counts, label_ids, columns.label_names),
        )
        usable = np.logical_and.reduceat(
            (boxes[2] > 0) & (boxes[3] > 0), np.cumsum(columns.counts) - columns.counts
        )
        too_long = np.flatnonzero(columns.label_ids != label_ids)
        usable[np.searchsorted(np.cumsum(columns.label_counts), too_long, side="right")] = False
        if usable.all():
            return table
        for row in np.flatnonzero(~usable).tolist():
            self.dialects[columns.dialects[row]] -= 1
            self._add_odd(columns.numbers[row], columns.line(row))
        return table.filter(pa.array(usable))


def _joined(lines: list[PlainLine]) -> Columns:
    """Return what lines that were read one by one say, in one."""
    columns = dict(zip(PlainLine._fields, zip(*lines, strict=True), strict=True))
    return Columns(
        columns["dialect"],
        columns["number"],
        columns["video_id"],
        columns["track_id"],
        columns["clip_name"],
        columns["video_size"],
        np.array(columns["boxes_of_line"], dtype=np.int64),
        np.frombuffer(b"".join(columns["times"])),
        np.frombuffer(b"".join(columns["boxes"])).reshape(-1, 4),
        np.array(columns["labels"], dtype=np.int64),
        np.frombuffer(b"".join(columns["label_ids"]), dtype=np.int64),
        columns["label_names"],
        lambda row: lines[row].text,
    )
