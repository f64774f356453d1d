"""What a job's runs have done so far, read from their ledger files as these grow."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trackverse_cli.ledger.entries import (
    ClipsEntry,
    EndEntry,
    RunEntry,
    TrackEntry,
    VideoEntry,
    decode_line,
)
from trackverse_cli.ledger.reader import BLOCK_BYTES, ledger_names

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from trackverse_cli.layout import Layout
    from trackverse_cli.ledger.entries import AnyEntry

_FIRST_LINE_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class Followed:
    """What has been done so far.

    Attributes:
        clips: clips that were cut.
        failed_clips: clips that could not be cut, those of videos that did not come included.
        videos: videos that came.
        failed_videos: videos that did not come.
    """

    clips: int = 0
    failed_clips: int = 0
    videos: int = 0
    failed_videos: int = 0


@dataclass(slots=True)
class _File:
    read: int = 0
    rest: bytes = b""
    ended: bool = False


class LedgerFollower:
    """Counts what the runs of one job record, from the moment that it is made.

    Files that are there already belong to earlier runs. Each look reads only what was appended
    since the last one; a last line that is not whole yet waits for its rest.

    Args:
        layout: the dataset folder.
        stage: the command that the ranks run.
        world_size: how many ranks share the work.
        clips_of: video id -> how many clips fail with a video that does not come.
    """

    def __init__(
        self,
        layout: Layout,
        stage: str,
        world_size: int,
        clips_of: Mapping[str, int] | None = None,
    ) -> None:
        self._layout = layout
        self._job = (stage, world_size)
        self._clips_of = clips_of or {}
        self._others = set(ledger_names(layout))
        self._files: dict[str, _File] = {}
        self._cut = 0
        # A rank that was started again tries again what failed: it must count once.
        self._failed: dict[str, set[str]] = {}
        self._came: set[str] = set()
        self._lost: set[str] = set()

    def look(self) -> Followed:
        """Read what is new and return the counts so far.

        Raises:
            OSError: a file is there and cannot be read.
        """
        for name in ledger_names(self._layout):
            if name not in self._files and name not in self._others:
                self._meet(name)
        for name, file in self._files.items():
            if not file.ended:
                self._read(self._layout.ledger / name, file)
        lost = sum(self._clips_of.get(video_id, 0) for video_id in self._lost)
        failed = sum(len(t) for v, t in self._failed.items() if v not in self._lost)
        return Followed(self._cut, failed + lost, len(self._came), len(self._lost))

    def _meet(self, name: str) -> None:
        """Decide by its first line whether a new file is one of this job's."""
        try:
            with (self._layout.ledger / name).open("rb") as file:
                line = file.readline(_FIRST_LINE_BYTES)
        except FileNotFoundError:
            return
        if not line.endswith(b"\n") and len(line) < _FIRST_LINE_BYTES:
            return  # it has only just been made
        first = decode_line(line)
        if isinstance(first, RunEntry) and (first.stage, first.world_size) == self._job:
            self._files[name] = _File()
        else:
            self._others.add(name)

    def _read(self, path: Path, file: _File) -> None:
        try:
            fd = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            file.ended = True
            return
        try:
            while block := os.pread(fd, BLOCK_BYTES, file.read):
                file.read += len(block)
                *lines, file.rest = (file.rest + block).split(b"\n")
                for line in lines:
                    self._count(decode_line(line), file)
        finally:
            os.close(fd)

    def _count(self, entry: AnyEntry | None, file: _File) -> None:
        if isinstance(entry, ClipsEntry):
            self._cut += len(entry.done)
            failed = self._failed.get(entry.video_id)
            if failed:
                failed.difference_update(track_id for track_id, *_ in entry.done)
        elif isinstance(entry, TrackEntry):
            self._failed.setdefault(entry.video_id, set()).add(entry.track_id)
        elif isinstance(entry, VideoEntry):
            self._count_video(entry)
        elif isinstance(entry, EndEntry):
            file.ended = True

    def _count_video(self, entry: VideoEntry) -> None:
        if entry.state == "failed":
            self._lost.add(entry.video_id)
        elif entry.state == "present":
            self._came.add(entry.video_id)
            self._lost.discard(entry.video_id)
