"""Where a finished clip goes, and when it is safe: what cutting knows of files and shards."""

from __future__ import annotations

import threading
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from trackverse_cli.files import checksum, publish, temporary_beside
from trackverse_cli.outputs.index import Place
from trackverse_cli.outputs.names import temporary_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from trackverse_cli.layout import Layout
    from trackverse_cli.outputs.table import Member
    from trackverse_cli.outputs.writer import ShardWriter

MAX_WAIT_SECONDS = 1800.0
"""A shard that has waited so long is published though it is not full: sources wait for it."""


@dataclass(frozen=True, slots=True)
class FinishedClip:
    """A clip whose bytes are complete.

    Attributes:
        member: what it is.
        bytes: its size.
        checksum: of its bytes.
        temporary: where it still is, or None if it stands in its place.
        place: where it stands in a shard, which may not be published yet; None for a file.
    """

    member: Member
    bytes: int
    checksum: str
    temporary: Path | None = None
    place: Place | None = None


@dataclass(frozen=True, slots=True)
class Gathered:
    """What a sink has taken of one pass.

    Attributes:
        clips: those that it took.
        error: why not all of them; the others are gone, and have to be cut again.
    """

    clips: tuple[FinishedClip, ...]
    error: OSError | None = None


class ClipSink(Protocol):
    """Takes finished clips; its methods may be called from several threads."""

    def temporary(self, clip_name: str) -> Path:
        """Return where the encoder writes a clip; its folder is there."""

    def store(self, temporary: Path, member: Member) -> FinishedClip:
        """Take the finished file of one clip; called where it was encoded."""

    def gather(self, clips: Sequence[FinishedClip]) -> Gathered:
        """Take the stored clips of one pass over a video, in the order that they are to have."""

    def when_safe(self, work: Callable[[], None]) -> None:
        """Have `work` done by `settle` once all that was gathered so far is published."""

    def settle(self) -> None:
        """Do the work whose clips are safe by now, in the calling thread."""

    def flush(self) -> None:
        """Make everything that was gathered safe now, and settle."""

    def abandon(self) -> None:
        """Throw away what is not safe, with the work that waits for it."""


class FileSink:
    """Each clip in a file of its own below `tracks_mp4/`, safe at once.

    Args:
        layout: the dataset folder.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._work = _Work()

    def temporary(self, clip_name: str) -> Path:
        """Return a hidden name beside the clip's own; raises RefusedNameError or OSError."""
        self._layout.clip(clip_name).parent.mkdir(parents=True, exist_ok=True)
        # Checked again now that the folders are there, since one of them may be a planted link.
        return temporary_beside(self._layout.clip(clip_name))

    def store(self, temporary: Path, member: Member) -> FinishedClip:
        """Rename the clip into its place."""
        size, digest = temporary.stat().st_size, checksum(temporary)
        publish(temporary, self._layout.clip(member.clip_name))
        return FinishedClip(member, size, digest)

    def gather(self, clips: Sequence[FinishedClip]) -> Gathered:
        """Return them: they stand in their places."""
        return Gathered(tuple(clips))

    def when_safe(self, work: Callable[[], None]) -> None:
        """Have `work` done by the next `settle`."""
        self._work.ready([work])

    def settle(self) -> None:
        """Do the work that is ready."""
        self._work.settle()

    def flush(self) -> None:
        """Do the work that is ready."""
        self._work.settle()

    def abandon(self) -> None:
        """Forget the work; the clips stay."""
        self._work.forget()


class ShardSink:
    """Clips into tar shards; safe when their shard is published.

    Args:
        writer: writes the shards.
        spool: where clips are until their video is done; best a disk of this machine's own.
        run: the run's id, 12 hex digits.
        max_wait_seconds: a shard is published at the latest so long after its first clip.
    """

    def __init__(
        self,
        writer: ShardWriter,
        spool: Path,
        run: str,
        max_wait_seconds: float = MAX_WAIT_SECONDS,
    ) -> None:
        self._writer = writer
        self._spool = spool
        self._run = run
        self._max_wait = max_wait_seconds
        self._lock = threading.Lock()
        self._waiting: list[Callable[[], None]] = []
        self._work = _Work()

    def temporary(self, clip_name: str) -> Path:  # noqa: ARG002 - a name of the run's own will do
        """Return a hidden name in the spool."""
        self._spool.mkdir(parents=True, exist_ok=True)
        return temporary_of(self._spool, self._run)

    def store(self, temporary: Path, member: Member) -> FinishedClip:
        """Keep the file until its video is done."""
        return FinishedClip(member, temporary.stat().st_size, checksum(temporary), temporary)

    def gather(self, clips: Sequence[FinishedClip]) -> Gathered:
        """Append the clips to the shard; publish it where it is full.

        What was appended before the disk refused counts when the shard is published.
        """
        taken: list[FinishedClip] = []
        failed: OSError | None = None
        with self._lock:
            for clip in clips:
                if clip.temporary is None:
                    continue
                try:
                    if failed is None:
                        taken.append(self._append(clip.temporary, clip))
                except OSError as error:
                    failed = error
                with suppress(OSError):
                    clip.temporary.unlink()
        return Gathered(tuple(taken), failed)

    def _append(self, temporary: Path, clip: FinishedClip) -> FinishedClip:
        if self._writer.is_full:
            self._roll()
        row = self._writer.add(temporary, clip.member)
        member = clip.member
        place = Place(
            self._writer.target, row.offset, row.size, member.frames, member.recipe,
            row.checksum, True,
        )  # fmt: skip
        return replace(clip, temporary=None, place=place)

    def when_safe(self, work: Callable[[], None]) -> None:
        """Have `work` done by `settle` once all that was gathered so far is published."""
        with self._lock:
            if self._writer.waiting:
                self._waiting.append(work)
            else:
                self._work.ready([work])

    def settle(self) -> None:
        """Publish a shard that is full or has waited too long; do what waited for it."""
        with self._lock:
            if self._writer.is_full or self._writer.age_seconds > self._max_wait:
                self._roll()
        self._work.settle()

    def flush(self) -> None:
        """Publish what there is, and do what waited for it."""
        with self._lock:
            self._roll()
        self._work.settle()

    def abandon(self) -> None:
        """Throw away the shard that is not published, and what waits for it."""
        with self._lock:
            self._writer.abandon()
            self._waiting = []
        self._work.forget()

    def _roll(self) -> None:
        self._writer.roll()
        self._work.ready(self._waiting)
        self._waiting = []


class _Work:
    """What is to be done, in its order, by whoever settles first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ready: list[Callable[[], None]] = []

    def ready(self, work: Sequence[Callable[[], None]]) -> None:
        with self._lock:
            self._ready.extend(work)

    def settle(self) -> None:
        while True:
            with self._lock:
                if not self._ready:
                    return
                first = self._ready.pop(0)
            first()

    def forget(self) -> None:
        with self._lock:
            self._ready = []
