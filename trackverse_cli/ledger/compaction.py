"""The files of ended runs as one file that holds the newest record of every item.

A kill at any moment loses nothing: the new file appears whole and on the disk before the first of
the old ones goes, and what stands in both counts once, since the newest record of an item wins.
"""

from __future__ import annotations

import os
import secrets
import socket
import zlib
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from trackverse_cli import __version__
from trackverse_cli.clock import Clock, SystemClock
from trackverse_cli.files import atomic_write, fsync_path
from trackverse_cli.ledger.entries import (
    ClipsEntry,
    EndEntry,
    RunEntry,
    VideoEntry,
    encode_line,
)
from trackverse_cli.ledger.reader import PackedEntry, read_file, take
from trackverse_cli.ledger.runs import RunFile, run_files
from trackverse_cli.ledger.state import LedgerState, area
from trackverse_cli.ledger.writer import new_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from io import BufferedWriter
    from pathlib import Path

    from trackverse_cli.layout import Layout

STAGE = "compact"

PART_BYTES = 256 << 20
"""Ledger that is taken into memory at once; a larger one is gone through several times."""


@dataclass(frozen=True, slots=True)
class Compaction:
    """What a compaction did, or would do.

    Attributes:
        files: files of ended runs that went into the new one.
        bytes: their size.
        running: files of runs that may still go on, which stay.
        path: the new file, None if there was nothing to do or it was only tried.
        new_bytes: its size.
        refused: (file, the system's reason) of old files that could not be removed.
    """

    files: int = 0
    bytes: int = 0
    running: int = 0
    path: Path | None = None
    new_bytes: int = 0
    refused: tuple[tuple[Path, str], ...] = ()


def compact(
    layout: Layout,
    *,
    dry_run: bool = False,
    clock: Clock | None = None,
    part_bytes: int = PART_BYTES,
) -> Compaction:
    """Put the files of ended runs together into one new file, then remove them.

    The lines that say who wrote the old files go; every item keeps its newest record with the
    time that it had.

    Args:
        layout: the dataset folder.
        dry_run: only say what there is to do.
        clock: what to take the time from.
        part_bytes: how much of the ledger to have in memory at once.

    Raises:
        OSError: the disk refused; the old files are all there.
    """
    clock = clock or SystemClock()
    found = run_files(layout, clock)
    ended = [one for one in found if one.over]
    running = len(found) - len(ended)
    if not ended or (len(ended) == 1 and ended[0].run.stage == STAGE):
        return Compaction(running=running)
    size = sum(one.bytes for one in ended)
    if dry_run:
        return Compaction(len(ended), size, running)
    token = secrets.token_hex(6)
    target = new_file(layout, clock.time(), STAGE, token)
    with atomic_write(target) as temporary, temporary.open("xb") as file:
        file.write(encode_line(_who(token, clock.time())))
        read = _write_newest(file, ended, max(1, -(-size // part_bytes)))
        file.write(encode_line(EndEntry(time=clock.time())))
    refused = _remove(layout, read)
    return Compaction(
        len(read), sum(one.bytes for one in read), running, target, target.stat().st_size, refused
    )


def _who(token: str, now: float) -> RunEntry:
    return RunEntry(
        time=now, run=token, stage=STAGE, rank=0, world_size=1, host=socket.gethostname(),
        pid=os.getpid(), version=__version__, metadata="",
    )  # fmt: skip


def _write_newest(file: BufferedWriter, ended: Sequence[RunFile], parts: int) -> list[RunFile]:
    """Write the newest records of some files; return the files that could be read."""
    read = list(ended)
    for part in range(parts):
        newest = _Newest()
        for one in tuple(read):
            try:
                read_file(one.path, _of_part(part, parts), newest.add, one.bytes)
            except FileNotFoundError:
                # Another `clean` has put it into a file of its own, whole.
                read.remove(one)
        newest.write(file)
    return read


def _of_part(part: int, parts: int) -> Callable[[str], bool] | None:
    if parts == 1:
        return None
    return lambda video_id: zlib.crc32(video_id.encode()) % parts == part


def _remove(layout: Layout, read: Sequence[RunFile]) -> tuple[tuple[Path, str], ...]:
    refused = []
    for one in read:
        if one.unchanged:
            try:
                one.path.unlink(missing_ok=True)
            except OSError as error:
                refused.append((one.path, error.strerror or str(error)))
    with suppress(OSError):
        fsync_path(layout.ledger)
    return tuple(refused)


@dataclass(slots=True)
class _Newest:
    state: LedgerState = field(default_factory=LedgerState)
    videos: dict[str, dict[str, VideoEntry]] = field(default_factory=dict)
    largest: dict[str, VideoEntry] = field(default_factory=dict)

    def add(self, entry: PackedEntry) -> None:
        if isinstance(entry, VideoEntry):
            self._add_video(entry)
        else:
            take(self.state, entry)

    def _add_video(self, entry: VideoEntry) -> None:
        by_state = self.videos.setdefault(entry.video_id, {})
        known = by_state.get(entry.state)
        if known is None or entry.time >= known.time:
            # Taken out first, so that the order is that of the newest lines.
            by_state.pop(entry.state, None)
            by_state[entry.state] = entry
        if entry.source_size:
            best = self.largest.get(entry.video_id)
            if best is None or area(entry.source_size) > area(best.source_size or (0, 0)):
                self.largest[entry.video_id] = entry

    def write(self, file: BufferedWriter) -> None:
        failures = self.state.failures
        by_video: dict[str, list[str]] = {}
        for video_id, track_id in failures:
            by_video.setdefault(video_id, []).append(track_id)
        ids = dict.fromkeys(self.videos) | dict.fromkeys(self.state.clips.videos())
        for video_id in sorted(ids | dict.fromkeys(by_video)):
            for video in self._videos_of(video_id):
                file.write(encode_line(video))
            for clips in self._clips_of(video_id):
                file.write(encode_line(clips))
            # After the clips: at equal times the later line wins, and these have won already.
            for track_id in by_video.get(video_id, ()):
                file.write(encode_line(failures[video_id, track_id]))

    def _videos_of(self, video_id: str) -> list[VideoEntry]:
        kept = list(self.videos.get(video_id, {}).values())
        largest = self.largest.get(video_id)
        if largest is not None and largest not in kept:
            kept.insert(0, largest)
        return sorted(kept, key=lambda entry: entry.time)

    def _clips_of(self, video_id: str) -> Iterator[ClipsEntry]:
        lines: dict[tuple[float, str], list[tuple[str, int, int, str]]] = {}
        for track_id, (when, clip) in self.state.clips.of_video(video_id).items():
            one = (track_id, clip.frames, clip.bytes, clip.checksum)
            lines.setdefault((when, clip.recipe), []).append(one)
        for (when, recipe), done in sorted(lines.items(), key=lambda line: line[0][0]):
            yield ClipsEntry(time=when, video_id=video_id, recipe=recipe, done=done)
