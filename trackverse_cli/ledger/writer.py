"""One run's own file of the ledger."""

from __future__ import annotations

import errno
import os
import secrets
import socket
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Literal, Self

import msgspec

from trackverse_cli import __version__
from trackverse_cli.clock import Clock, SystemClock, utc_text
from trackverse_cli.files import make_folder
from trackverse_cli.ledger.entries import (
    AnyEntry,
    ClipsEntry,
    EndEntry,
    RunEntry,
    TrackEntry,
    VideoEntry,
    encode_line,
    printable,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from trackverse_cli.layout import Layout
    from trackverse_cli.ledger.state import LedgerState


_AFTER_SECONDS = 0.001

_TOLD = ("message", "note", "format_id")
"""What a host, or another ledger, may have put a secret into."""


class Ledger:
    """One run's own file; nobody else writes it, several threads of the run may.

    Each line is one `write` on a file opened for appending, so that a reader never sees two
    lines mixed. Lines reach the disk with `flush`, and at the latest with `close`, which writes
    a last line that says that the run is over.

    Args:
        layout: the dataset folder.
        stage: the command that writes.
        rank: in [0, world_size).
        world_size: how many ranks share the work.
        metadata: the names of the metadata files.
        clock: what to take the time from.
        selection: the key of the selection, empty for everything.
        run: the run's id; a new one if None.
        job: the id of the job that the run belongs to, empty if a person started it.
        known: what is recorded already; a line is stamped later than what it takes the place of,
            even if the clock was ahead then, or is behind now.

    Raises:
        UsageError: the ledger's folder cannot be made.
        OSError: the disk refused.
    """

    def __init__(
        self,
        layout: Layout,
        stage: str,
        rank: int,
        world_size: int,
        metadata: str,
        clock: Clock | None = None,
        selection: str = "",
        run: str | None = None,
        job: str = "",
        known: LedgerState | None = None,
    ) -> None:
        self.known = known
        self._clock = clock or SystemClock()
        self._lock = threading.Lock()
        self._layout = layout
        self.run = run or secrets.token_hex(6)
        self._who = RunEntry(
            time=self._clock.time(),
            run=self.run,
            stage=stage,
            rank=rank,
            world_size=world_size,
            host=socket.gethostname(),
            pid=os.getpid(),
            version=__version__,
            metadata=metadata,
            selection=selection,
            job=job,
        )
        self._begin()

    def _begin(self) -> None:
        make_folder(self._layout.ledger, "the ledger's folder")
        who = self._who
        share = f"{who.rank:04d}of{who.world_size:04d}"
        path = new_file(self._layout, self._clock.time(), f"{who.stage}-{share}", self.run)
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o666)
        # Some file systems count no links at all: there a lost file cannot be told.
        self._links_count = os.fstat(self._fd).st_nlink > 0
        self._torn = False
        self._put(encode_line(who))

    def video(
        self, video_id: str, state: Literal["present", "failed", "evicted"], **facts: object
    ) -> VideoEntry:
        """Record what became of a video; `facts` are the other fields of `VideoEntry`."""
        facts |= {name: printable(str(facts[name])) for name in _TOLD if name in facts}
        entry = msgspec.convert(
            {"time": self._now(video_id), "video_id": video_id, "state": state, "kind": "video"}
            | facts,
            VideoEntry,
        )
        self._write(entry)
        return entry

    def clips(
        self,
        video_id: str,
        recipe: str,
        done: Sequence[tuple[str, int, int, str]],
        note: str = "",
    ) -> None:
        """Record clips that stand in their place, as (track id, frames, bytes, checksum)."""
        now = self._now(video_id, [track_id for track_id, *_ in done])
        self._write(
            ClipsEntry(
                time=now, video_id=video_id, recipe=recipe, done=list(done), note=printable(note)
            )
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
                time=self._now(video_id, [track_id]),
                video_id=video_id,
                track_id=track_id,
                recipe=recipe,
                reason=reason,
                message=printable(message),
                source_bytes=source_bytes,
            )
        )

    def _now(self, video_id: str, track_ids: Sequence[str] | None = None) -> float:
        """Return the time, or one just after what is known of some tracks, or of their video."""
        now = self._clock.time()
        if self.known is None:
            return now
        return max(now, self.known.newest(video_id, track_ids) + _AFTER_SECONDS)

    def _write(self, entry: AnyEntry) -> None:
        line = encode_line(entry)
        with self._lock:
            try:
                self._put(line)
                lost = self._links_count and os.fstat(self._fd).st_nlink == 0
            except OSError as error:
                if error.errno != errno.ESTALE:
                    raise
                lost = True
            if lost:
                # Somebody took this run for dead (a machine that slept for a day) and removed
                # its file: what is written from here on must be found all the same.
                os.close(self._fd)
                self._begin()
                self._put(line)

    def _put(self, line: bytes) -> None:
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
        """Write the last line, flush and close."""
        # Without its last line the run is told to be over by its age: no reason to fail.
        with suppress(OSError):
            self._write(EndEntry(time=self._clock.time()))
        try:
            self.flush()
        finally:
            os.close(self._fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def new_file(layout: Layout, now: float, who: str, token: str) -> Path:
    """Return the path of a new file of the ledger; names sort by the time of their making."""
    stamp = utc_text(now).replace("-", "").replace(":", "")
    return layout.ledger / f"{stamp}-{who}-{token}.jsonl"
