"""What a job's runs have done so far, read from their ledger files as these grow."""

from __future__ import annotations

import os
from collections import deque
from dataclasses import dataclass, field
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

RATE_SECONDS = 900.0
"""Speed is what was done in this time, by the ledger's own clock."""

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

    def __add__(self, other: Followed) -> Followed:
        return Followed(
            self.clips + other.clips,
            self.failed_clips + other.failed_clips,
            self.videos + other.videos,
            self.failed_videos + other.failed_videos,
        )


@dataclass(slots=True)
class RankTally:
    """What the runs of one rank have recorded.

    Attributes:
        host: where the newest of them runs.
        begun: when the first of them began, seconds since 1970.
        last: when the newest line was written.
        ended: whether the newest of them closed its file.
        trouble: the newest failure, as `reason: message`, empty if there was none.
    """

    host: str = ""
    begun: float = 0.0
    last: float = 0.0
    ended: bool = False
    trouble: str = ""
    _cut: int = 0
    # A rank that was started again tries again what failed: it must count once.
    _failed: dict[str, set[str]] = field(default_factory=dict)
    _came: set[str] = field(default_factory=set)
    _lost: dict[str, int] = field(default_factory=dict)
    _recent: deque[tuple[float, int, int]] = field(default_factory=deque)

    @property
    def done(self) -> Followed:
        """The counts so far."""
        failed = sum(len(t) for v, t in self._failed.items() if v not in self._lost)
        lost = sum(self._lost.values())
        return Followed(self._cut, failed + lost, len(self._came), len(self._lost))

    def rates(self, now: float) -> tuple[float, float]:
        """Return (clips, videos) a second over the last quarter of an hour."""
        while self._recent and self._recent[0][0] < now - RATE_SECONDS:
            self._recent.popleft()
        span = min(RATE_SECONDS, max(1.0, now - self.begun))
        clips = sum(clips for _, clips, _ in self._recent)
        return clips / span, sum(videos for *_, videos in self._recent) / span

    def add(self, entry: AnyEntry) -> None:
        """Take one line in."""
        self.last = max(self.last, entry.time)
        if isinstance(entry, RunEntry):
            self.host, self.ended = entry.host, False
            self.begun = self.begun or entry.time
        elif isinstance(entry, ClipsEntry):
            self._cut += len(entry.done)
            self._recent.append((entry.time, len(entry.done), 0))
            failed = self._failed.get(entry.video_id)
            if failed:
                failed.difference_update(track_id for track_id, *_ in entry.done)
        elif isinstance(entry, TrackEntry):
            self._failed.setdefault(entry.video_id, set()).add(entry.track_id)
            self.trouble = f"{entry.reason}: {entry.message}"
        elif isinstance(entry, VideoEntry):
            self._add_video(entry)
        elif isinstance(entry, EndEntry):
            self.ended = True

    def _add_video(self, entry: VideoEntry) -> None:
        if entry.state == "failed":
            self._lost[entry.video_id] = entry.clips
            self.trouble = f"{entry.reason}: {entry.message}"
        elif entry.state == "present":
            self._came.add(entry.video_id)
            self._lost.pop(entry.video_id, None)
            self._recent.append((entry.time, 0, 1))


@dataclass(slots=True)
class _File:
    tally: RankTally
    read: int = 0
    rest: bytes = b""
    ended: bool = False


class LedgerFollower:
    """Counts what the runs of one job record, rank by rank.

    Each look reads only what was appended since the last one; a last line that is not whole yet
    waits for its rest.

    Args:
        layout: the dataset folder.
        job: the job's id.
    """

    def __init__(self, layout: Layout, job: str) -> None:
        self._layout = layout
        self._job = job
        self._others: set[str] = set()
        self._files: dict[str, _File] = {}
        self._ranks: dict[int, RankTally] = {}

    @property
    def ranks(self) -> Mapping[int, RankTally]:
        """What each rank that has begun did, as of the last look."""
        return self._ranks

    def look(self) -> Followed:
        """Read what is new and return the counts of all ranks together.

        Raises:
            OSError: a file is there and cannot be read.
        """
        for name in ledger_names(self._layout):
            if name not in self._files and name not in self._others:
                self._meet(name)
        for name, file in self._files.items():
            if not file.ended:
                self._read(self._layout.ledger / name, file)
        return sum((tally.done for tally in self._ranks.values()), Followed())

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
        if isinstance(first, RunEntry) and first.job == self._job:
            self._files[name] = _File(self._ranks.setdefault(first.rank, RankTally()))
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
                    entry = decode_line(line)
                    if entry is not None:
                        file.tally.add(entry)
                        file.ended = isinstance(entry, EndEntry)
        finally:
            os.close(fd)
