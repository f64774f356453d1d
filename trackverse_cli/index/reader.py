"""The index of a metadata file: its videos with their tracks, read only as far as needed."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from trackverse_cli.errors import IndexUnusableError
from trackverse_cli.files import checksum
from trackverse_cli.index.hundredths import whole
from trackverse_cli.index.rows import RefusedLine
from trackverse_cli.index.schema import CLIP_COLUMNS, NUMBER_COLUMNS
from trackverse_cli.means import lacking
from trackverse_cli.metadata import Track

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from trackverse_cli.index.manifest import Manifest


@dataclass(frozen=True, slots=True)
class VideoTracks:
    """One video with all its tracks, in the order of the metadata file."""

    video_id: str
    tracks: tuple[Track, ...]


class Index:
    """An index that was found fit for use; see `index.opening`.

    The data files are opened at once, so that a later rebuild does not pull them away.

    Attributes:
        name: what `--meta` calls it.
        path: its folder.
        manifest: where it comes from and what it holds.
        source: the metadata file that it was made from, None where that is gone.
    """

    def __init__(self, name: str, path: Path, manifest: Manifest) -> None:
        import pyarrow as pa

        self.name = name
        self.path = path
        self.manifest = manifest
        self.source: Path | None = None
        self._files = {table: pa.OSFile(str(path / file)) for table, file in manifest.files.items()}

    @contextmanager
    def _damage_is_named(self) -> Iterator[None]:
        """Say of whatever a damaged table leads to that the index is damaged."""
        import pyarrow as pa

        try:
            yield
        except (OSError, ValueError, TypeError, LookupError, pa.ArrowException) as e:
            if (lacks := lacking(e)) is not None:
                raise lacks from e
            said = ascii(" ".join(str(e).split()))[1:-1][:200] or type(e).__name__
            raise IndexUnusableError(
                f"the index {self.path} is damaged ({said}); "
                f"run trackverse fetch-meta {self.name} again"
            ) from e

    def _read(self, table: str) -> Any:
        from pyarrow import parquet

        with self._damage_is_named():
            return parquet.ParquetFile(self._files[table]).read(use_threads=False)

    @cached_property
    def _videos(self) -> Any:
        return self._read("videos").combine_chunks()

    @cached_property
    def _tracks(self) -> Any:
        from pyarrow import parquet

        with self._damage_is_named():
            return parquet.ParquetFile(self._files["tracks"])

    @cached_property
    def video_ids(self) -> list[str]:
        """The id of each video, by row."""
        with self._damage_is_named():
            ids: list[str] = self._videos["video_id"].to_pylist()
        return ids

    @cached_property
    def costs(self) -> NDArray[np.float64]:
        """(v,) estimated seconds of work; `index.writer` has the formula."""
        return self._column("cost").astype(np.float64)

    @cached_property
    def track_counts(self) -> NDArray[np.int64]:
        """(v,) how many tracks each video has."""
        return self._column("tracks").astype(np.int64)

    @property
    def refused(self) -> list[RefusedLine]:
        """The lines that gave no track, in the order of the file."""
        with self._damage_is_named():
            return [RefusedLine(**row) for row in self._read("refused").to_pylist()]

    def duplicates(self) -> Any:
        """Return the lines that repeat an earlier one as an Arrow table (see `index_schema`)."""
        return self._read("duplicates")

    def check_bytes(self) -> None:
        """Hold every table against the checksum that it was written with.

        Raises:
            IndexUnusableError: one is not what it was, or cannot be read.
        """
        for table, expected in self.manifest.checksums.items():
            path = self.path / self.manifest.files[table]
            try:
                same = checksum(path) == expected
            except OSError as error:
                raise self._not_itself(path) from error
            if not same:
                raise self._not_itself(path)
        if self.source is not None and checksum(self.source) != self.manifest.checksum:
            raise IndexUnusableError(
                f"the metadata file {self.source} has another checksum than when it was indexed; "
                f"fetch it from where it came: trackverse fetch-meta SUBSET, URL or path"
            )

    def _not_itself(self, path: Path) -> IndexUnusableError:
        return IndexUnusableError(
            f"the index {self.path} is damaged ({path.name} has another checksum than when it "
            f"was built); run trackverse fetch-meta {self.name} again"
        )

    def _column(self, name: str) -> NDArray[Any]:
        with self._damage_is_named():
            values: NDArray[Any] = self._videos[name].to_numpy()
        return values

    def _groups(self, rows: NDArray[np.int64] | None) -> Iterator[tuple[int, NDArray[np.int64]]]:
        """Yield each row group that holds wanted videos, with their rows."""
        count = len(self._videos)
        wanted = np.arange(count) if rows is None else np.unique(np.asarray(rows, dtype=np.int64))
        if len(wanted) and not (wanted[0] >= 0 and wanted[-1] < count):
            raise IndexError(f"video rows go from 0 to {count - 1}")
        groups = self._column("row_group")[wanted]
        for group in np.unique(groups).tolist():
            begin, end = np.searchsorted(groups, [group, group + 1])
            yield group, wanted[begin:end]

    def videos(self, rows: NDArray[np.int64] | None = None) -> Iterator[VideoTracks]:
        """Yield videos with their tracks in the order of the index.

        One row group at a time is in memory, and only those that hold a wanted video are read.

        Args:
            rows: which videos, all if None; order and repeats do not matter.

        Raises:
            IndexError: a row is out of range.
            IndexUnusableError: the index's file is damaged.
        """
        first, counts = self._column("first_row"), self.track_counts
        for group, wanted in self._groups(rows):
            table = self._read_group(group, None)
            for row in wanted.tolist():
                with self._damage_is_named():
                    part = table.slice(int(first[row]), int(counts[row]))
                    found = VideoTracks(self._videos["video_id"][row].as_py(), _tracks_of(part))
                yield found

    def _read_group(self, group: int, columns: list[str] | None) -> Any:
        with self._damage_is_named():
            table = self._tracks.read_row_group(group, columns=columns, use_threads=False)
            return table.combine_chunks()

    def clips(self, rows: NDArray[np.int64] | None = None) -> Any:
        """Return the clips of some videos, or all, without their boxes.

        Returns:
            An Arrow table with `index_schema.CLIP_COLUMNS`, in the order of the index.
        """
        import pyarrow as pa

        columns = list(CLIP_COLUMNS)
        if rows is None:
            with self._damage_is_named():
                return self._tracks.read(columns=columns)
        parts = []
        for group, wanted in self._groups(rows):
            table = self._read_group(group, columns)
            keep = np.isin(table["video_row"].to_numpy(), wanted)
            parts.append(table if keep.all() else table.filter(pa.array(keep)))
        if parts:
            return pa.concat_tables(parts)
        return self._tracks.schema_arrow.empty_table().select(columns)


def _tracks_of(table: Any) -> tuple[Track, ...]:
    arrays = {name: table[name].combine_chunks() for name in NUMBER_COLUMNS}
    offsets = arrays["frame_ts"].offsets.to_numpy()
    times = arrays.pop("frame_ts").values.to_numpy()
    boxes = np.column_stack(
        [whole(array.values.to_numpy()[offsets[0] : offsets[-1]]) for array in arrays.values()]
    )
    names = ("track_id", "video_id", "clip_name", "video_height", "video_width", "label_ids")
    columns = [table[name].to_pylist() for name in (*names, "label_names")]
    tracks = []
    for row, (track_id, video_id, clip, height, width, ids, labels) in enumerate(
        zip(*columns, strict=True)
    ):
        begin, end = offsets[row], offsets[row + 1]
        tracks.append(
            Track(
                track_id,
                video_id,
                clip,
                # A copy, or one track that is kept would keep its whole row group.
                times[begin:end].copy(),
                boxes[begin - offsets[0] : end - offsets[0]],
                None if height is None else (height, width),
                tuple(ids),
                tuple(labels),
            )
        )
    return tuple(tracks)
