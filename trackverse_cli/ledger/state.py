"""The newest record of every item, in little memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec

from trackverse_cli.ledger.entries import AnyEntry, ClipsEntry, TrackEntry, VideoEntry

_OPENED_VIDEOS = 64
"""Videos whose clips are kept unpacked: items are asked for video by video."""

_decode_done = msgspec.json.Decoder(list[tuple[str, int, int, str]]).decode
_NO_CLIPS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_encode = msgspec.json.Encoder().encode


class ClipRecord(NamedTuple):
    """The newest record of one clip: how it was cut."""

    recipe: str
    frames: int
    bytes: int
    checksum: str


class _Line(msgspec.Struct, frozen=True, gc=False):
    time: float
    recipe: str
    done: bytes


_Opened = dict[str, tuple[float, ClipRecord]]


class ClipTable(Mapping[tuple[str, str], ClipRecord]):
    """(video id, track id) -> the newest clip.

    The clips of a video stay as the text of their lines, some 75 bytes each, until one of them is
    asked for; as Python objects they would take six times as much. Threads may ask at once.
    Counting or listing all of them unpacks every line.
    """

    __slots__ = ("_lines", "_opened", "_recipes")

    def __init__(self) -> None:
        self._lines: dict[str, list[_Line]] = {}
        self._opened: dict[str, _Opened] = {}
        self._recipes: dict[str, str] = {}

    def put(self, video_id: str, time: float, recipe: str, done: bytes) -> None:
        """Take in the clips of one line, `done` as its JSON text; the newest time wins."""
        recipe = self._recipes.setdefault(recipe, recipe)
        self._lines.setdefault(video_id, []).append(_Line(time, recipe, done))
        self._opened.pop(video_id, None)

    def videos(self) -> Iterator[str]:
        """Yield the ids of the videos that have a clip."""
        yield from self._lines

    def of_video(self, video_id: str) -> _Opened:
        """Return track id -> (time, newest clip) of one video."""
        opened = self._opened.get(video_id)
        if opened is None:
            opened = _open(self._lines.get(video_id, ()))
            if len(self._opened) >= _OPENED_VIDEOS:
                self._opened.clear()
            self._opened[video_id] = opened
        return opened

    def __getitem__(self, key: tuple[str, str]) -> ClipRecord:
        return self.of_video(key[0])[key[1]][1]

    def __iter__(self) -> Iterator[tuple[str, str]]:
        for video_id, lines in self._lines.items():
            for track_id in _open(lines):
                yield video_id, track_id

    def __len__(self) -> int:
        return sum(len(_open(lines)) for lines in self._lines.values())

    def __repr__(self) -> str:
        return f"ClipTable(clips of {len(self._lines)} videos)"


def _open(lines: list[_Line] | tuple[_Line, ...]) -> _Opened:
    opened: _Opened = {}
    # Sorting keeps the order of equal times, in which the later line wins.
    for line in sorted(lines, key=lambda line: line.time) if len(lines) > 1 else lines:
        try:
            done = _decode_done(line.done)
        except _NO_CLIPS:
            continue  # no list of clips: they count as not recorded
        for track_id, frames, size, checksum in done:
            opened[track_id] = (line.time, ClipRecord(line.recipe, frames, size, checksum))
    return opened


def _tracks(done: bytes) -> list[str]:
    try:
        return [track_id for track_id, *_ in _decode_done(done)]
    except _NO_CLIPS:
        return []


@dataclass(slots=True)
class LedgerState:
    """All ledger files read together: for every item its newest record.

    Attributes:
        videos: video id -> the newest entry.
        source_sizes: video id -> the largest (width, height) that its host ever offered.
        clips: (video id, track id) -> the newest clip.
        failures: (video id, track id) -> the newest failure, unless a clip came after it.
        torn: files that hold a line that was cut off, each once.
    """

    videos: dict[str, VideoEntry] = field(default_factory=dict)
    source_sizes: dict[str, tuple[int, int]] = field(default_factory=dict)
    clips: ClipTable = field(default_factory=ClipTable)
    failures: dict[tuple[str, str], TrackEntry] = field(default_factory=dict)
    torn: list[str] = field(default_factory=list)
    _failed: dict[str, set[str]] = field(default_factory=dict, compare=False)

    def add(self, entry: AnyEntry) -> None:
        """Take one line in, in any order; of equal times the later one wins."""
        if isinstance(entry, ClipsEntry):
            self.add_clips(entry.video_id, entry.time, entry.recipe, _encode(entry.done))
        elif isinstance(entry, VideoEntry):
            self._add_video(entry)
        elif isinstance(entry, TrackEntry):
            self._add_failure(entry)

    def add_clips(self, video_id: str, time: float, recipe: str, done: bytes) -> None:
        """Take in a `clips` line whose list of clips is still JSON."""
        self.clips.put(video_id, time, recipe, done)
        failed = self._failed.get(video_id)
        for track_id in _tracks(done) if failed else ():
            failure = self.failures.get((video_id, track_id))
            if failed and failure is not None and failure.time <= time:
                del self.failures[video_id, track_id]
                failed.discard(track_id)

    def newest(self, video_id: str, track_ids: Sequence[str] | None = None) -> float:
        """Return when the newest record of some tracks was written, or that of their video.

        Args:
            video_id: the video.
            track_ids: the tracks; None for the record of the video itself.

        Returns:
            Seconds since 1970; 0 where there is none.
        """
        if track_ids is None:
            entry = self.videos.get(video_id)
            return entry.time if entry is not None else 0.0
        clips = self.clips.of_video(video_id)
        times = [clips[track_id][0] for track_id in track_ids if track_id in clips]
        failures = (self.failures.get((video_id, track_id)) for track_id in track_ids)
        return max([0.0, *times, *(one.time for one in failures if one is not None)])

    def _add_video(self, entry: VideoEntry) -> None:
        known = self.videos.get(entry.video_id)
        if known is None or entry.time >= known.time:
            self.videos[entry.video_id] = entry
        if entry.source_size:
            best = self.source_sizes.get(entry.video_id, (0, 0))
            self.source_sizes[entry.video_id] = max(best, entry.source_size, key=area)

    def _add_failure(self, entry: TrackEntry) -> None:
        key = (entry.video_id, entry.track_id)
        known = self.failures.get(key)
        if known is not None and known.time > entry.time:
            return
        clip = self.clips.of_video(entry.video_id).get(entry.track_id)
        if clip is None or entry.time >= clip[0]:
            self.failures[key] = entry
            self._failed.setdefault(entry.video_id, set()).add(entry.track_id)


def area(size: tuple[int, int]) -> int:
    """Return the pixels of a size."""
    return size[0] * size[1]
