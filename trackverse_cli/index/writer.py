"""Tables of tracks -> `tracks-*.parquet`, cut where a video ends, and the table of videos."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from trackverse_cli.index.hundredths import is_halved, widened
from trackverse_cli.index.schema import NUMBER_COLUMNS, track_schema

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

DECODE_COST: Final = 0.08
"""Seconds of work for a second of source video that has to be decoded (720p, one core)."""

ENCODE_COST: Final = 0.2
"""Seconds of work to crop and encode a second of a clip."""

REQUEST_COST: Final = 3.0
"""Seconds of work to ask for a video and begin with it, whatever its length."""

MAX_CLIP_SECONDS: Final = 180.0
"""A clip is not expected to be longer than this, whatever its track says."""

ROW_GROUP_BOXES: Final = 250_000
"""A row group is cut at the first video's end past this many boxes: about 10 MB in memory."""

_LATEST_SECONDS = 1e6


@dataclass(slots=True)
class Totals:
    """What was written.

    Attributes:
        tracks: how many.
        videos: how many.
        classes: how many different best classes.
        seconds: from first to last box, over all tracks.
    """

    tracks: int = 0
    videos: int = 0
    classes: set[object] = field(default_factory=set)
    seconds: float = 0.0


class TrackWriter:
    """Writes tables of tracks as they come; the rows of a video must follow each other.

    Args:
        path: the Parquet file to write.
    """

    def __init__(self, path: Path) -> None:
        import pyarrow as pa

        self._pa = pa
        self._path = path
        self._file: Any = None
        self._row_number = pa.field("video_row", pa.int32())
        self._half: bool | None = None
        self._waiting: list[Any] = []
        self._waiting_boxes = 0
        self._row_groups = 0
        self._videos: list[Any] = []
        self.totals = Totals()

    def _open(self) -> Any:
        """Return a new Parquet file, with boxes as float32 or as doubles."""
        from pyarrow import parquet

        schema = track_schema(half=bool(self._half)).insert(0, self._row_number)
        numbers = {name: f"{name}.list.element" for name in NUMBER_COLUMNS}
        texts = ["label_name", "video_id", "label_ids.list.element", "label_names.list.element"]
        return parquet.ParquetWriter(
            self._path,
            schema,
            compression="zstd",  # lz4 was written a sixth quicker, and is a quarter larger
            use_dictionary=texts,
            use_byte_stream_split=list(numbers.values()),
            # Nobody looks for a track by the least x of a hundred tracks; it costs a tenth.
            write_statistics=[name for name in schema.names if name not in numbers],
            write_batch_size=1 << 16,
        )

    def _widen(self) -> None:
        """Have doubles from the first row on, since a number has more decimals than any before."""
        from pyarrow import parquet

        self._half = False
        self._waiting = [widened(table) for table in self._waiting]
        if not self._file:
            return
        # Not there until it is open anew: what fails in between must not be hidden by `close`.
        done, self._file = self._file, None
        done.close()
        halves = self._path.with_name(f"{self._path.name}-halves")
        self._path.rename(halves)
        self._file = self._open()
        with parquet.ParquetFile(halves) as file:
            for group in range(file.num_row_groups):
                table = widened(file.read_row_group(group, use_threads=False))
                self._file.write_table(table, row_group_size=table.num_rows)
        halves.unlink()

    def add(self, table: Any) -> None:
        """Take the next rows; they may be held until their video is complete."""
        if not table.num_rows:
            return
        if self._half is None:
            self._half = is_halved(table)
        elif self._half and not is_halved(table):
            self._widen()
        self._waiting.append(table if self._half else widened(table))
        self._waiting_boxes += sum(len(chunk.values) for chunk in table["x"].chunks)
        if self._waiting_boxes >= ROW_GROUP_BOXES:
            self._write_full()

    def _write_full(self) -> None:
        table = self._pa.concat_tables(self._waiting)
        ends = np.cumsum(_lengths(table))
        starts = _starts_of_videos(table)
        begin = 0
        for start in starts[1:].tolist():
            if ends[start - 1] - (ends[begin - 1] if begin else 0) >= ROW_GROUP_BOXES:
                self._write(table.slice(begin, start - begin))
                begin = start
        self._waiting = [table.slice(begin)]
        self._waiting_boxes = int(ends[-1] - (ends[begin - 1] if begin else 0))

    def _write(self, table: Any) -> None:
        pa = self._pa
        table = table.combine_chunks()
        starts = _starts_of_videos(table)
        counts = np.diff(np.append(starts, table.num_rows))
        videos = np.arange(len(starts), dtype=np.int32) + self.totals.videos
        rows = pa.array(np.repeat(videos, counts), pa.int32())
        self._file = self._file or self._open()
        self._file.write_table(
            table.add_column(0, self._row_number, rows), row_group_size=table.num_rows
        )
        first, last = table["first_ts"].to_numpy(), table["last_ts"].to_numpy()
        decoded, encoded = _seconds(first, last, starts, counts)
        self._videos.append(
            pa.table(
                {
                    "video_id": table["video_id"].take(pa.array(starts)),
                    "tracks": pa.array(counts, pa.int32()),
                    "row_group": pa.array(np.full(len(starts), self._row_groups), pa.int32()),
                    "first_row": pa.array(starts, pa.int32()),
                    "decoded_seconds": pa.array(decoded),
                    "encoded_seconds": pa.array(encoded),
                    "cost": pa.array(DECODE_COST * decoded + ENCODE_COST * encoded + REQUEST_COST),
                }
            )
        )
        self._row_groups += 1
        totals = self.totals
        totals.tracks += table.num_rows
        totals.videos += len(starts)
        totals.seconds += float(np.sum(last - first))
        names = table["label_name"].unique().to_pylist()
        totals.classes.update(names if names != [None] else table["label_id"].unique().to_pylist())
        totals.classes.discard(None)

    def close(self) -> None:
        """Write what is held and finish the file."""
        if self._waiting and self._waiting_boxes:
            self._write_full()
            if self._waiting[0].num_rows:
                self._write(self._waiting[0])
        self._waiting = []
        self._file = self._file or self._open()
        self._file.close()

    def videos(self) -> Any:
        """Return the table of the videos in the order written; after `close`."""
        return self._pa.concat_tables(self._videos).combine_chunks()


def _lengths(table: Any) -> NDArray[np.int64]:
    chunks = [np.diff(chunk.offsets.to_numpy()) for chunk in table["x"].chunks]
    return np.concatenate(chunks).astype(np.int64)


def _starts_of_videos(table: Any) -> NDArray[np.int64]:
    """Return the rows at which another video begins, 0 first."""
    import pyarrow as pa
    import pyarrow.compute as pc

    ids = table["video_id"]
    changes = pc.not_equal(ids.slice(1), ids.slice(0, len(ids) - 1))
    changed = pc.cast(changes, pa.int8()).to_numpy()
    return np.concatenate((np.zeros(1, np.int64), np.flatnonzero(changed) + 1))


def _seconds(
    first: NDArray[np.float64],
    last: NDArray[np.float64],
    starts: NDArray[np.int64],
    counts: NDArray[np.int64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return (v,) seconds of source that tracks cover together, and (v,) of their clips.

    Args:
        first: (m,) the beginnings of the tracks, those of a video together.
        last: (m,) their ends.
        starts: (v,) the first row of each video.
        counts: (v,) the rows of each video.
    """
    first, last = np.clip(first, 0.0, _LATEST_SECONDS), np.clip(last, 0.0, _LATEST_SECONDS)
    last = np.minimum(last, first + MAX_CLIP_SECONDS)
    encoded = np.add.reduceat(last - first, starts)
    # Videos laid end to end on one axis, so that one running maximum serves them all.
    shift = np.repeat(np.arange(len(starts)) * (2 * _LATEST_SECONDS), counts)
    order = np.lexsort((first, shift))
    begin, end = (first + shift)[order], (last + shift)[order]
    reached = np.maximum.accumulate(end)
    before = np.concatenate((begin[:1], reached[:-1]))
    decoded = np.add.reduceat(np.maximum(end - np.maximum(begin, before), 0.0), starts)
    return decoded, encoded
