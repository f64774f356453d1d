"""A metadata file into `metadata/`: brought, checked whole, indexed, and only then in its place."""

from __future__ import annotations

import errno
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trackverse_cli.clock import Clock, SystemClock
from trackverse_cli.errors import (
    DamagedFileError,
    IndexUnusableError,
    TrackverseError,
    TryLaterError,
    UsageError,
)
from trackverse_cli.files import checksum, make_folder, publish, require_writable
from trackverse_cli.index.names import GZIP_SUFFIXES, index_name_of
from trackverse_cli.subsets import Subset, fetchable, find_subset, nearest

if TYPE_CHECKING:
    from collections.abc import Callable

    from trackverse_cli.index import Index
    from trackverse_cli.index.rows import RefusedLine
    from trackverse_cli.layout import Layout

    Progress = Callable[[int, int], None]

_INCOMING = ".incoming"


@dataclass(frozen=True, slots=True)
class FetchResult:
    """A metadata file that is in its place.

    Attributes:
        name: what `--meta` calls it from now on.
        path: the file in `metadata/`.
        unchanged: the same content was there before, and nothing was rebuilt.
        index: its index, whose manifest has all counts; None without `make_index`.
        lines: lines that are not blank.
        tracks: tracks of the index, or without one the lines that give a track.
        dialect: `current`, `early`, `raw` or `mixed`.
        refused: lines that give no track.
    """

    name: str
    path: Path
    unchanged: bool
    index: Index | None
    lines: int
    tracks: int
    dialect: str
    refused: list[RefusedLine]


def fetch_metadata(
    wanted: str,
    layout: Layout,
    *,
    make_index: bool = True,
    progress: Progress | None = None,
    clock: Clock | None = None,
) -> FetchResult:
    """Bring a metadata file, check it to its end, and build its index.

    Whatever fails, the file and the index that were there before stay as they were.

    Args:
        wanted: a subset's name, an http or https URL, a path, or a file in `metadata/`.
        layout: the dataset folder.
        make_index: whether to build the index, or only to check the file's lines.
        progress: gets bytes done and bytes in all, first of the transfer, then of the check.
        clock: what pauses between tries.

    Raises:
        UsageError: there is nothing under that name.
        LacksError: the network, or the permission to read, is missing.
        DamagedFileError: what came is damaged.
        TryLaterError: the disk is full, or the server is busy.
    """
    require_writable(layout.metadata, "the metadata folder")
    incoming = layout.metadata / _INCOMING
    layout.check_own(incoming)
    try:
        subset = find_subset(wanted)
        if subset or "://" in wanted:
            return _from_network(
                subset, wanted, layout, make_index, progress, clock or SystemClock()
            )
        path = _local(wanted, layout)
        name = index_name_of(path.name)
        if path.parent.resolve() == layout.metadata.resolve():
            return _settle(path, path, layout, name, make_index, progress)
        target = layout.metadata / stored_name(path.name)
        if _same(path, target):
            return _settle(target, target, layout, name, make_index, progress)
        copy = make_incoming(layout, target.name)
        _copy(path, copy)
        return _settle(copy, target, layout, name, make_index, progress)
    except OSError as error:
        raise _disk_error(error, layout) from error
    finally:
        with suppress(OSError):
            incoming.rmdir()


def _from_network(
    subset: Subset | None,
    url: str,
    layout: Layout,
    make_index: bool,
    progress: Progress | None,
    clock: Clock,
) -> FetchResult:
    from trackverse_cli import hub, transfer

    file_name = subset.file if subset else transfer.file_name_of(url)
    name = index_name_of(file_name)
    target = layout.metadata / stored_name(file_name)
    if subset:
        if hub.hub_has_same(subset, target):
            return _settle(target, target, layout, name, make_index, progress)
        folder = make_incoming(layout, "hub")
        came = hub.from_hub(subset, folder, progress)
    else:
        folder = make_incoming(layout, transfer.short_digest(url))
        came = transfer.from_url(url, folder, progress, clock)
    try:
        return _settle(came, target, layout, name, make_index, progress)
    finally:
        # What was interrupted stays for the next try; what arrived has no more use for its folder.
        shutil.rmtree(folder, ignore_errors=True)


def make_incoming(layout: Layout, name: str) -> Path:
    """Return a path for something on its way, in a folder that hides it."""
    make_folder(layout.metadata / _INCOMING, "the folder of incoming metadata")
    return layout.metadata / _INCOMING / name


def stored_name(file_name: str) -> str:
    """Return the name in `metadata/`: one that lacks gzip's suffix gets it."""
    return file_name if file_name.endswith(GZIP_SUFFIXES) else f"{file_name}.jsonl.gzip"


def _local(wanted: str, layout: Layout) -> Path:
    given = Path(wanted).expanduser()
    inside = layout.metadata / wanted
    for path in (given, inside, *(layout.metadata / f"{wanted}{end}" for end in GZIP_SUFFIXES)):
        if path.is_file():
            return path
    if given.is_dir():
        raise UsageError(f"{wanted} is a folder; give the metadata file in it")
    if "/" in wanted or wanted.endswith(GZIP_SUFFIXES):
        raise UsageError(
            f"there is no file {wanted}; give a path, a URL, or a subset ({', '.join(fetchable())})"
        )
    raise UsageError(f"no subset or file is called {wanted}; {nearest(wanted, fetchable())}")


def _same(path: Path, target: Path) -> bool:
    return (
        target.is_file()
        and path.stat().st_size == target.stat().st_size
        and checksum(path) == checksum(target)
    )


def _copy(path: Path, copy: Path) -> None:
    try:
        shutil.copyfile(path, copy)
    except BaseException:
        copy.unlink(missing_ok=True)
        raise


def _settle(
    came: Path,
    target: Path,
    layout: Layout,
    name: str,
    make_index: bool,
    progress: Progress | None,
) -> FetchResult:
    """Check and index a file, then let it take its name; a damaged one goes if it is ours."""
    try:
        if came != target and _same(came, target):
            came.unlink()
            came = target
        if not make_index:
            return _check_only(came, target, name, progress)
        index = _index_of(came, layout, name) if came == target else None
        unchanged = index is not None
        if index is None:
            from trackverse_cli.index.build import build_index

            index = build_index(came, layout, name, progress=progress, metadata_file=target)
        if came != target:
            publish(came, target)
    except DamagedFileError:
        if came != target:
            came.unlink(missing_ok=True)
        raise
    manifest = index.manifest
    return FetchResult(
        name,
        target,
        unchanged,
        index,
        manifest.lines,
        manifest.tracks,
        manifest.dialect,
        index.refused,
    )


def _check_only(came: Path, target: Path, name: str, progress: Progress | None) -> FetchResult:
    from trackverse_cli.index.scan import scan_file

    tracks = 0

    def count(_: object, table: Any) -> None:
        nonlocal tracks
        tracks += table.num_rows

    scan = scan_file(came, count, progress=progress, shown=target)
    unchanged = came == target
    if not unchanged:
        publish(came, target)
    return FetchResult(
        name, target, unchanged, None, scan.lines, tracks, scan.dialect, scan.refused
    )


def _index_of(path: Path, layout: Layout, name: str) -> Index | None:
    """Return the index of exactly this file if it stands."""
    from trackverse_cli.index import open_index

    try:
        index = open_index(layout, name)
        index.check_bytes()
    except IndexUnusableError:
        return None
    manifest = index.manifest
    # Equal sizes and times prove nothing to someone who fetches again on purpose.
    same = path.stat().st_size == manifest.size_bytes and checksum(path) == manifest.checksum
    return index if same else None


def _disk_error(error: OSError, layout: Layout) -> TrackverseError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return TryLaterError(
            f"the disk that holds {layout.metadata} is full; make room and try again"
        )
    where = error.filename or layout.metadata
    return UsageError(f"cannot read or write {where}: {error.strerror or error}; check the path")
