"""The record of every outcome: append-only lines of JSON, one file per rank and run.

Format, version 1. Each line is one object with `kind`, and `time` in seconds since 1970:

- `run`: who writes this file (stage, rank, world size, host, pid, version, metadata names).
- `video`: a video came (`present`), did not (`failed`, with reason) or was removed after all its
  clips were checked (`evicted`).
- `clips`: clips of one video that were cut with one recipe, each as
  [track id, frames, bytes, checksum].
- `track`: one track that could not be cut, with its reason.

A torn last line (the writer was killed) is passed over; nothing else is.
"""

from __future__ import annotations

import os
import secrets
import socket
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Self

import msgspec

from trackverse_cli import __version__
from trackverse_cli.clock import Clock, SystemClock, utc_text
from trackverse_cli.files import make_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from trackverse_cli.layout import Layout

SCHEMA_VERSION = 1


class Entry(msgspec.Struct, frozen=True, tag_field="kind", kw_only=True, omit_defaults=True):
    """What every line has."""

    time: float


class RunEntry(Entry, tag="run", frozen=True, kw_only=True, omit_defaults=False):
    """The first line of a file: who writes it."""

    run: str
    stage: str
    rank: int
    world_size: int
    host: str
    pid: int
    version: str
    metadata: str
    schema: int = SCHEMA_VERSION


class VideoEntry(Entry, tag="video", frozen=True, kw_only=True, omit_defaults=True):
    """What became of one video.

    `source_size` is the largest (width, height) that its host offers, where the host says it:
    it settles what a smaller copy on disk stands for.
    """

    video_id: str
    state: Literal["present", "failed", "evicted"]
    reason: str = ""
    message: str = ""
    bytes: int = 0
    width: int = 0
    height: int = 0
    duration_seconds: float = 0.0
    codec: str = ""
    format_id: str = ""
    checksum: str = ""
    source_size: tuple[int, int] | None = None


class ClipsEntry(Entry, tag="clips", frozen=True, kw_only=True):
    """Clips of one video that were cut; each as (track id, frames, bytes, checksum)."""

    video_id: str
    recipe: str
    done: list[tuple[str, int, int, str]]


class TrackEntry(Entry, tag="track", frozen=True, kw_only=True):
    """One track that could not be cut.

    `source_bytes` is the size of the video that was tried: another file is worth another try.
    """

    video_id: str
    track_id: str
    recipe: str
    reason: str
    message: str
    source_bytes: int = 0


AnyEntry = RunEntry | VideoEntry | ClipsEntry | TrackEntry
_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(AnyEntry)


class Ledger:
    """One run's own file; nobody else writes it, several threads of the run may.

    Each line is one `write` on a file opened for appending, so that a reader never sees two
    lines mixed. Lines reach the disk with `flush`, and at the latest with `close`.
    """

    def __init__(
        self,
        layout: Layout,
        stage: str,
        rank: int,
        world_size: int,
        metadata: str,
        clock: Clock | None = None,
    ) -> None:
        self._clock = clock or SystemClock()
        self._lock = threading.Lock()
        self._torn = False
        self.run = secrets.token_hex(6)
        make_folder(layout.ledger, "the ledger's folder")
        stamp = utc_text(self._clock.time()).replace("-", "").replace(":", "")
        name = f"{stamp}-{stage}-{rank:04d}of{world_size:04d}-{self.run}.jsonl"
        self._fd = os.open(
            layout.ledger / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o666
        )
        self._write(
            RunEntry(
                time=self._clock.time(),
                run=self.run,
                stage=stage,
                rank=rank,
                world_size=world_size,
                host=socket.gethostname(),
                pid=os.getpid(),
                version=__version__,
                metadata=metadata,
            )
        )

    def video(
        self, video_id: str, state: Literal["present", "failed", "evicted"], **facts: object
    ) -> VideoEntry:
        """Record what became of a video; `facts` are the other fields of `VideoEntry`."""
        if "message" in facts:
            facts["message"] = _printable(str(facts["message"]))
        entry = msgspec.convert(
            {"time": self._clock.time(), "video_id": video_id, "state": state, "kind": "video"}
            | facts,
            VideoEntry,
        )
        self._write(entry)
        return entry

    def clips(self, video_id: str, recipe: str, done: Sequence[tuple[str, int, int, str]]) -> None:
        """Record clips that stand in their place, as (track id, frames, bytes, checksum)."""
        self._write(
            ClipsEntry(time=self._clock.time(), video_id=video_id, recipe=recipe, done=list(done))
        )

    def track(
        self,
        video_id: str,
        track_id: str,
        recipe: str,
        reason: str,
        message: str,
        source_bytes: int = 0,
    ) -> None:
        """Record a track that could not be cut."""
        self._write(
            TrackEntry(
                time=self._clock.time(),
                video_id=video_id,
                track_id=track_id,
                recipe=recipe,
                reason=reason,
                message=_printable(message),
                source_bytes=source_bytes,
            )
        )

    def _write(self, entry: AnyEntry) -> None:
        line = _encoder.encode(entry) + b"\n"
        with self._lock:
            # What a full disk cut off must not swallow the line that comes after it.
            left = b"\n" + line if self._torn else line
            while left:
                written = os.write(self._fd, left)
                left = left[written:]
                self._torn = bool(left)

    def flush(self) -> None:
        """Bring what was written to the disk."""
        os.fsync(self._fd)

    def close(self) -> None:
        """Flush and close."""
        self.flush()
        os.close(self._fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _printable(message: str) -> str:
    """Return `message` as valid UTF-8: it may name a file whose name is none."""
    return message.encode("utf-8", "backslashreplace").decode()


@dataclass(frozen=True, slots=True)
class ClipRecord:
    """The newest record of one clip: how it was cut."""

    recipe: str
    frames: int
    bytes: int
    checksum: str


@dataclass(slots=True)
class LedgerState:
    """All ledger files read together: for every item its newest record.

    Attributes:
        videos: video id -> the newest entry.
        source_sizes: video id -> the largest (width, height) that its host ever offered.
        clips: (video id, track id) -> the newest clip.
        failures: (video id, track id) -> the newest failure, unless a clip came after it.
        torn: files whose last line was cut off.
    """

    videos: dict[str, VideoEntry] = field(default_factory=dict)
    source_sizes: dict[str, tuple[int, int]] = field(default_factory=dict)
    clips: dict[tuple[str, str], ClipRecord] = field(default_factory=dict)
    failures: dict[tuple[str, str], TrackEntry] = field(default_factory=dict)
    torn: list[str] = field(default_factory=list)
    _clip_times: dict[tuple[str, str], float] = field(default_factory=dict)

    def add(self, entry: AnyEntry) -> None:
        """Take one line in, in any order."""
        if isinstance(entry, VideoEntry):
            known = self.videos.get(entry.video_id)
            if known is None or entry.time >= known.time:
                self.videos[entry.video_id] = entry
            if entry.source_size:
                best = self.source_sizes.get(entry.video_id, (0, 0))
                self.source_sizes[entry.video_id] = max(
                    best, entry.source_size, key=lambda size: size[0] * size[1]
                )
        elif isinstance(entry, ClipsEntry):
            for track_id, frames, size, checksum in entry.done:
                key = (entry.video_id, track_id)
                if entry.time >= self._clip_times.get(key, 0.0):
                    self._clip_times[key] = entry.time
                    self.clips[key] = ClipRecord(entry.recipe, frames, size, checksum)
                if key in self.failures and self.failures[key].time <= entry.time:
                    del self.failures[key]
        elif isinstance(entry, TrackEntry):
            key = (entry.video_id, entry.track_id)
            known_failure = self.failures.get(key)
            newest = max(
                self._clip_times.get(key, 0.0), known_failure.time if known_failure else 0.0
            )
            if entry.time >= newest:
                self.failures[key] = entry


def read_ledger(layout: Layout, wanted: Callable[[str], bool] | None = None) -> LedgerState:
    """Read every ledger file of a dataset folder.

    Args:
        layout: the dataset folder; one without a ledger gives an empty state.
        wanted: which video ids to keep, all if None.

    Returns:
        The newest record of every item.
    """
    state = LedgerState()
    if not layout.ledger.is_dir():
        return state
    for path in sorted(layout.ledger.glob("*.jsonl")):
        for entry in _entries(path, state):
            if isinstance(entry, RunEntry) or (wanted and not wanted(entry.video_id)):
                continue
            state.add(entry)
    return state


def _entries(path: Path, state: LedgerState) -> list[AnyEntry]:
    content = path.read_bytes()
    whole, _, rest = content.rpartition(b"\n")
    if rest:
        state.torn.append(path.name)
    entries: list[AnyEntry] = []
    for line in whole.split(b"\n"):
        if line:
            try:
                entries.append(_decoder.decode(line))
            except (msgspec.DecodeError, UnicodeDecodeError):
                # A line torn by a full disk or a lost node: the item counts as not recorded.
                state.torn.append(path.name)
    return entries
