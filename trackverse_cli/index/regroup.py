"""Second look at an index whose file repeats tracks or scatters them.

Nothing here runs for a file whose tracks stand together and are all different: what the first
pass wrote is then the index already.
"""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from trackverse_cli.index.schema import duplicate_schema
from trackverse_cli.index.writer import TrackWriter

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

BUCKET_ROWS: Final = 16_384
MAX_BUCKETS: Final = 256


class RowKeys:
    """What the first pass keeps of each track, in the order written: 20 bytes a track."""

    def __init__(self) -> None:
        self._videos: dict[str, int] = {}
        self._video = array("i")
        self._track = array("q")
        self._clip = array("q")

    def add(self, video_ids: list[str], track_ids: list[str], clip_names: list[str]) -> None:
        """Take the next rows."""
        known = self._videos
        self._video.extend([known.setdefault(video_id, len(known)) for video_id in video_ids])
        self._track.extend(map(hash, zip(video_ids, track_ids, strict=True)))
        self._clip.extend(map(hash, clip_names))

    def videos(self) -> NDArray[np.int64]:
        """Return (n,) a number for each row's video, 0 for the first that came."""
        return np.frombuffer(self._video, dtype=np.intc).astype(np.int64)

    def suspects(self) -> NDArray[np.int64]:
        """Return the rows that may repeat a track or a clip, with those that they may repeat."""
        hit = np.zeros(len(self._video), dtype=np.bool_)
        for keys in (self._track, self._clip):
            values = np.frombuffer(keys, dtype=np.int64)
            ordered = np.sort(values)
            twice = ordered[1:][ordered[1:] == ordered[:-1]]
            if len(twice):
                hit |= np.isin(values, twice)
        return np.flatnonzero(hit)


def find_duplicates(path: Path, suspects: NDArray[np.int64]) -> tuple[NDArray[np.int64], Any]:
    """Read the suspects' names and decide: of equal ones the first line stays.

    Args:
        path: the tracks as the first pass wrote them.
        suspects: row numbers, ascending.

    Returns:
        The rows to drop, ascending, and the table of duplicates.
    """
    import pyarrow as pa
    import pyarrow.compute as pc
    from pyarrow import parquet

    columns = ["line", "video_id", "track_id", "clip_name"]
    parts = []
    with parquet.ParquetFile(path) as file:
        begin = 0
        for group in range(file.num_row_groups):
            end = begin + file.metadata.row_group(group).num_rows
            rows = suspects[np.searchsorted(suspects, begin) : np.searchsorted(suspects, end)]
            if len(rows):
                table = file.read_row_group(group, columns=columns)
                parts.append(table.take(pa.array(rows - begin)))
            begin = end
    table = pa.concat_tables(parts).combine_chunks()
    keys = pc.binary_join_element_wise(table["video_id"], table["track_id"], "\n")
    kinds = _kinds(_codes(keys), _codes(table["clip_name"]))
    rows = np.array([row for row, _ in kinds], dtype=np.int64)
    found = table.take(pa.array(rows)).append_column("kind", pa.array([kind for _, kind in kinds]))
    return suspects[rows], found.select(duplicate_schema().names).cast(duplicate_schema())


def _codes(values: Any) -> list[int]:
    codes: list[int] = values.combine_chunks().dictionary_encode().indices.to_pylist()
    return codes


def _kinds(tracks: list[int], clips: list[int]) -> list[tuple[int, str]]:
    seen_tracks = bytearray(len(tracks))
    seen_clips = bytearray(len(clips))
    kinds = []
    for row, (track, clip) in enumerate(zip(tracks, clips, strict=True)):
        if seen_tracks[track]:
            kinds.append((row, "track"))
        elif seen_clips[clip]:
            kinds.append((row, "clip"))
        else:
            seen_tracks[track] = seen_clips[clip] = 1
    return kinds


def is_grouped(videos: NDArray[np.int64]) -> bool:
    """Say whether equal numbers stand together."""
    runs = 1 + int(np.count_nonzero(videos[1:] != videos[:-1]))
    return not len(videos) or runs == len(np.unique(videos))


def regroup(
    source: Path, target: Path, videos: NDArray[np.int64], dropped: NDArray[np.int64], folder: Path
) -> TrackWriter:
    """Write the tracks again without some rows, and with every video's tracks together.

    Args:
        source: the tracks as the first pass wrote them.
        target: the Parquet file to write.
        videos: (n,) the number of each row's video.
        dropped: rows to leave out.
        folder: where temporary files may be; they are removed.

    Returns:
        The closed writer with its totals.
    """
    keep = np.ones(len(videos), dtype=np.bool_)
    keep[dropped] = False
    writer = TrackWriter(target)
    try:
        if is_grouped(videos[keep]):
            for table, _ in _kept(source, keep, videos):
                writer.add(table)
        else:
            _through_buckets(source, keep, videos, folder, writer)
    finally:
        writer.close()
    return writer


def _kept(
    source: Path, keep: NDArray[np.bool_], videos: NDArray[np.int64]
) -> Iterator[tuple[Any, NDArray[np.int64]]]:
    import pyarrow as pa
    from pyarrow import parquet

    with parquet.ParquetFile(source) as file:
        begin = 0
        for group in range(file.num_row_groups):
            table = file.read_row_group(group).drop_columns(["video_row"])
            rows = slice(begin, begin + table.num_rows)
            begin = rows.stop
            if not keep[rows].all():
                table = table.filter(pa.array(keep[rows]))
            if table.num_rows:
                yield table, videos[rows][keep[rows]]


def _through_buckets(
    source: Path,
    keep: NDArray[np.bool_],
    videos: NDArray[np.int64],
    folder: Path,
    writer: TrackWriter,
) -> None:
    """Partition by video into files that each fit into memory, then sort each."""
    import pyarrow as pa

    sizes = np.bincount(videos[keep])
    rows_before = np.cumsum(sizes) - sizes
    bucket_rows = max(BUCKET_ROWS, -(-int(keep.sum()) // MAX_BUCKETS))
    bucket_of_video = rows_before // bucket_rows
    buckets = int(bucket_of_video[-1]) + 1
    files: dict[int, Any] = {}
    numbers: dict[int, list[NDArray[np.int64]]] = {}
    try:
        for table, rows in _kept(source, keep, videos):
            bucket = bucket_of_video[rows]
            order = np.argsort(bucket, kind="stable")
            table = table.take(pa.array(order)).combine_chunks()
            rows, bucket = rows[order], bucket[order]
            for number in np.unique(bucket).tolist():
                part = slice(*np.searchsorted(bucket, [number, number + 1]).tolist())
                if number not in files:
                    files[number] = pa.ipc.new_file(folder / f"bucket-{number}", table.schema)
                files[number].write_table(table.slice(part.start, part.stop - part.start))
                numbers.setdefault(number, []).append(rows[part])
    finally:
        for file in files.values():
            file.close()
    for number in range(buckets):
        if number in files:
            _sort_bucket(folder / f"bucket-{number}", numbers[number], writer)


def _sort_bucket(path: Path, numbers: Sequence[NDArray[np.int64]], writer: TrackWriter) -> None:
    import pyarrow as pa

    order = np.argsort(np.concatenate(numbers), kind="stable")
    with pa.OSFile(str(path)) as file:
        table = pa.ipc.open_file(file).read_all()
    path.unlink()
    for begin in range(0, len(order), 4096):
        writer.add(table.take(pa.array(order[begin : begin + 4096])))
