"""What an interrupted `verify` had found sound, so that it goes on where it was.

One file in `state/` for each catalogue, recipe, level and shard: 24 bytes for each file that was
found sound, namely its key, size and time of change. A file that has changed since counts for
nothing, nor does an entry that is torn or foreign. It goes when a `verify` gets to its end.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from trackverse_cli.clock import Clock, SystemClock
from trackverse_cli.files import atomic_write
from trackverse_cli.keys import text_keys

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

ENTRY = np.dtype([("key", "<u8"), ("size", "<i8"), ("mtime_ns", "<i8")])

FLUSH_SECONDS = 5.0
"""What a killed `verify` loses at most; a shorter one leaves no file at all."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """One file as it was when it was looked at.

    Attributes:
        key: of what it holds and where it is.
        size: bytes.
        mtime_ns: its time of change.
    """

    key: int
    size: int
    mtime_ns: int

    @classmethod
    def of(cls, path: Path, what: str) -> Stamp | None:
        """Return the stamp of a file that holds `what`, or None if it cannot be looked at."""
        try:
            stat = path.stat()
        except OSError:
            return None
        return cls(int(text_keys([f"{path.name} {what}"])[0]), stat.st_size, stat.st_mtime_ns)


class Checked:
    """The files found sound so far. Several threads may ask, one adds.

    Args:
        path: where they are kept.
        fresh: forget what an earlier run found.
        clock: what to take the time from.
    """

    def __init__(self, path: Path, fresh: bool, clock: Clock | None = None) -> None:
        self._path = path
        self._clock = clock or SystemClock()
        self._known = _empty() if fresh else _read(path)
        self._new: list[tuple[int, int, int]] = []
        self._fd: int | None = None
        self._next = self._clock.monotonic() + FLUSH_SECONDS
        if fresh:
            with suppress(OSError):
                path.unlink()

    def __len__(self) -> int:
        return len(self._known)

    def holds(self, stamp: Stamp) -> bool:
        """Say whether that file, as it is, was found sound."""
        place = int(np.searchsorted(self._known["key"], np.uint64(stamp.key)))
        if place == len(self._known):
            return False
        found = self._known[place]
        wanted = (stamp.key, stamp.size, stamp.mtime_ns)
        return (int(found["key"]), int(found["size"]), int(found["mtime_ns"])) == wanted

    def add(self, stamp: Stamp) -> None:
        """Remember a file that was found sound."""
        self._new.append((stamp.key, stamp.size, stamp.mtime_ns))
        if self._clock.monotonic() >= self._next:
            self.flush()

    def flush(self) -> None:
        """Write what is new; where nothing can be written, nothing is remembered."""
        self._next = self._clock.monotonic() + FLUSH_SECONDS
        if not self._new:
            return
        new = np.array(self._new, dtype=ENTRY).tobytes()
        self._new = []
        with suppress(OSError):
            if self._fd is None:
                # Written anew, so that what changed meanwhile does not add up over many runs.
                self._path.parent.mkdir(exist_ok=True)
                with atomic_write(self._path) as temporary:
                    temporary.write_bytes(self._known.tobytes())
                self._fd = os.open(self._path, os.O_WRONLY | os.O_APPEND)
            os.write(self._fd, new)

    def close(self, ended: bool) -> None:
        """Keep what was found if the run was interrupted; else remove it all."""
        if not ended:
            self.flush()
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
        if ended:
            with suppress(OSError):
                self._path.unlink()


def _empty() -> NDArray[Any]:
    return np.empty(0, dtype=ENTRY)


def _read(path: Path) -> NDArray[Any]:
    """Return the newest entry of each file, by key."""
    try:
        content = path.read_bytes()
    except OSError:
        return _empty()
    entries = np.frombuffer(content[: len(content) // ENTRY.itemsize * ENTRY.itemsize], dtype=ENTRY)
    # Of equal keys the first in the reversed order is the last that was written.
    backwards = entries[::-1]
    _, places = np.unique(backwards["key"], return_index=True)
    newest: NDArray[Any] = backwards[places]
    return newest
