"""Lines of metadata -> Arrow tables, many lines at a time.

Plain lines keep their numbers as bytes until a block is full, which then become columns without
one Python object a number. A line that is not plain goes through `metadata.parse_line`, which
gives the track or the reason.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from trackverse_cli.index.lines import LineReader, PlainLine
from trackverse_cli.index.schema import make_table, table_of_tracks, track_schema
from trackverse_cli.metadata import Dialect, LineError, Track, dialect_of, parse_line

if TYPE_CHECKING:
    from collections.abc import Iterable


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
    lines = 0
    for number, line in enumerate(text.split(b"\n"), first_line):
        if line and not line.isspace():
            lines += 1
            rows.add(number, line)
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
        dialects: how many lines of each dialect.
    """

    refused: list[RefusedLine] = field(default_factory=list)
    odd: list[tuple[int, Track]] = field(default_factory=list)
    plain: list[PlainLine] = field(default_factory=list)
    dialects: dict[Dialect, int] = field(default_factory=dict)
    _reader: LineReader = field(default_factory=LineReader)

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
        except (msgspec.DecodeError, UnicodeError):
            dialect = "current"
        self.dialects[dialect] = self.dialects.get(dialect, 0) + 1

    def table(self) -> Any:
        """Return the good rows as an Arrow table in the order of their lines.

        Rows whose numbers turn out to be unusable move to `refused`; ask once.
        """
        import pyarrow as pa

        tables = []
        plain = self._plain_table() if self.plain else None
        if plain is not None:
            tables.append(plain)
        if self.odd:
            tables.append(table_of_tracks(self.odd))
        if not tables:
            return track_schema().empty_table()
        table = pa.concat_tables(tables)
        return table.sort_by("line") if len(tables) > 1 else table

    def _plain_table(self) -> Any:
        import pyarrow as pa

        columns = dict(zip(PlainLine._fields, zip(*self.plain, strict=True), strict=True))
        counts = np.array(columns["boxes_of_line"], dtype=np.int64)
        boxes = np.frombuffer(b"".join(columns["boxes"])).reshape(-1, 4)
        values = [
            np.frombuffer(b"".join(columns["times"])),
            *(np.ascontiguousarray(boxes[:, column]) for column in range(4)),
        ]
        label_ids = np.frombuffer(b"".join(columns["label_ids"]), dtype=np.int64)
        label_counts = np.array(columns["labels"], dtype=np.int64)
        table = make_table(
            counts,
            values,
            (columns["number"], columns["video_id"], columns["track_id"], columns["clip_name"]),
            columns["video_size"],
            (label_counts, label_ids.astype(np.int32), columns["label_names"]),
        )
        usable = np.logical_and.reduceat(
            (values[3] > 0) & (values[4] > 0), np.cumsum(counts) - counts
        )
        too_long = np.flatnonzero(label_ids != label_ids.astype(np.int32))
        usable[np.searchsorted(np.cumsum(label_counts), too_long, side="right")] = False
        if usable.all():
            return table
        self._look_again(self.plain[row] for row in np.flatnonzero(~usable))
        return table.filter(pa.array(usable))

    def _look_again(self, lines: Iterable[PlainLine]) -> None:
        for line in lines:
            self.dialects[line.dialect] -= 1
            self._add_odd(line.number, line.text)
