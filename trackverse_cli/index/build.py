"""Metadata file -> index, in one streaming pass; a build that is killed changes nothing.

All files of a build are written into a hidden folder of their own beside the index. They move
into place under names that no index uses yet, and `index.json`, renamed over the old one at the
end, makes them the index.
"""

from __future__ import annotations

import errno
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np

from trackverse_cli.errors import DamagedFileError, TrackverseError, TryLaterError, UsageError
from trackverse_cli.files import atomic_write_bytes, checksum, fsync_path, make_folder
from trackverse_cli.index.manifest import MANIFEST_NAME, Manifest, encode_manifest, sample_of
from trackverse_cli.index.names import check_index_name
from trackverse_cli.index.reader import Index
from trackverse_cli.index.regroup import RowKeys, find_duplicates, is_grouped, regroup
from trackverse_cli.index.scan import Scan, scan_file
from trackverse_cli.index.schema import duplicate_schema, refused_schema
from trackverse_cli.index.work import TABLES, WORK_PREFIX, sweep, work_folder
from trackverse_cli.index.writer import Totals, TrackWriter

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from trackverse_cli.index.rows import Found
    from trackverse_cli.layout import Layout

    Progress = Callable[[int, int], None]

_AHEAD = 3


def build_index(
    source: Path,
    layout: Layout,
    name: str,
    *,
    progress: Progress | None = None,
    metadata_file: Path | None = None,
) -> Index:
    """Read a metadata file once and make it the index called `name`.

    Args:
        source: the gzip file to read.
        layout: the dataset folder.
        name: the index's name.
        progress: gets compressed bytes read, and their total.
        metadata_file: where `source` will be when all is done, if it is elsewhere now.

    Raises:
        DamagedFileError: the file is damaged, or no line of it gives a track; nothing is left.
        TryLaterError: the disk is full; nothing is left.
        UsageError: the file cannot be read or the index folder cannot be written.
    """
    check_index_name(name)
    shown = metadata_file or source
    folder = layout.index(name)
    layout.check_own(folder)
    make_folder(folder, "the index folder")
    sweep(folder)
    try:
        with work_folder(folder) as work:
            manifest = _build(source, work, shown, progress)
            manifest.source = _relative(layout, shown)
            _publish(work, folder, manifest)
    except OSError as error:
        raise _disk_error(error, folder) from error
    sweep(folder)
    # Not opened by its file, which may be about to take the place of an older one.
    return Index(name, folder, manifest)


def _build(source: Path, work: Path, shown: Path, progress: Progress | None) -> Manifest:
    keys = RowKeys()
    first_pass = work / "first-pass"
    before = _stat_of(source)
    with ThreadPoolExecutor(1) as summing, ThreadPoolExecutor(1) as writing:
        digest = summing.submit(checksum, source) if source.is_file() else None
        writer = TrackWriter(first_pass)
        written: deque[Future[None]] = deque()

        def take(_: Found, table: Any) -> None:
            keys.add(*(table[name].to_pylist() for name in ("video_id", "track_id", "clip_name")))
            written.append(writing.submit(writer.add, table))
            while len(written) > _AHEAD:
                written.popleft().result()

        try:
            scan = scan_file(source, take, progress=progress, shown=shown)
            for future in written:
                future.result()
        finally:
            writing.shutdown()
            writer.close()
        token = digest.result() if digest else ""
        sample = sample_of(source) if digest else ""
    if _stat_of(source) != before:
        raise DamagedFileError(f"the metadata file {shown} changed while it was read; try again")
    duplicates, writer = _settle(keys, writer, first_pass, work)
    return _write_tables(work, scan, writer, duplicates, before, (token, sample))


def _settle(
    keys: RowKeys, writer: TrackWriter, first_pass: Path, work: Path
) -> tuple[Any, TrackWriter]:
    """Turn what the first pass wrote into the tracks of the index."""
    target = work / "tracks"
    duplicates = duplicate_schema().empty_table()
    dropped = np.zeros(0, dtype=np.int64)
    suspects = keys.suspects()
    if len(suspects):
        dropped, duplicates = find_duplicates(first_pass, suspects)
    videos = keys.videos()
    if not len(dropped) and is_grouped(videos):
        first_pass.rename(target)
        return duplicates, writer
    writer = regroup(first_pass, target, videos, dropped, work)
    first_pass.unlink()
    return duplicates, writer


def _write_tables(
    work: Path,
    scan: Scan,
    writer: TrackWriter,
    duplicates: Any,
    stat: tuple[int, int],
    checksums: tuple[str, str],
) -> Manifest:
    import pyarrow as pa
    from pyarrow import parquet

    refused = pa.table(
        {
            column: [getattr(line, column) for line in scan.refused]
            for column in refused_schema().names
        },
        schema=refused_schema(),
    )
    for table, file in (
        (writer.videos(), "videos"),
        (refused, "refused"),
        (duplicates, "duplicates"),
    ):
        parquet.write_table(table, work / file, compression="zstd")
    totals: Totals = writer.totals
    repeated = duplicates["kind"].to_pylist()
    return Manifest(
        source="",
        size_bytes=stat[0],
        mtime_ns=stat[1],
        checksum=checksums[0],
        sample=checksums[1],
        dialect=scan.dialect,
        lines=scan.lines,
        tracks=totals.tracks,
        clips=totals.tracks,
        videos=totals.videos,
        classes=len(totals.classes),
        hours=totals.seconds / 3600,
        refused=len(scan.refused),
        duplicate_tracks=repeated.count("track"),
        duplicate_clips=repeated.count("clip"),
        files={},
    )


def _publish(work: Path, folder: Path, manifest: Manifest) -> None:
    token = work.name.removeprefix(WORK_PREFIX)
    for table in TABLES:
        target = folder / f"{table}-{token}.parquet"
        fsync_path(work / table)
        (work / table).rename(target)
        manifest.files[table] = target.name
        manifest.checksums[table] = checksum(target)
    atomic_write_bytes(folder / MANIFEST_NAME, encode_manifest(manifest))


def _relative(layout: Layout, path: Path) -> str:
    """Return the path below the root, or only the name of a file that is elsewhere."""
    return layout.relative(path) if path.is_relative_to(layout.root) else path.name


def _stat_of(path: Path) -> tuple[int, int]:
    try:
        stat = path.stat()
    except OSError as error:
        raise UsageError(
            f"cannot read the metadata file {path}: {error.strerror}; check the path"
        ) from error
    return stat.st_size, stat.st_mtime_ns


def _disk_error(error: OSError, folder: Path) -> TrackverseError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return TryLaterError(f"the disk that holds {folder} is full; make room and try again")
    return UsageError(f"cannot write the index {folder}: {error.strerror or error}; check the disk")
