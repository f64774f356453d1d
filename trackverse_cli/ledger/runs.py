"""Which files of the ledger belong to runs that are over."""

from __future__ import annotations

import os
import socket
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trackverse_cli.clock import Clock, SystemClock
from trackverse_cli.ledger.entries import SCHEMA_VERSION, EndEntry, RunEntry, decode_line
from trackverse_cli.ledger.reader import ledger_names

if TYPE_CHECKING:
    from pathlib import Path

    from trackverse_cli.layout import Layout

ENDED_SECONDS = 60.0
"""A file with a last line is left alone for so long after it."""

GONE_SECONDS = 600.0
"""So long after its last line, a run of this machine whose process is gone counts as killed."""

SILENT_SECONDS = 86_400.0
"""A file that has not grown for so long belongs to a killed run, wherever it ran."""

_END_BYTES = 4096


@dataclass(frozen=True, slots=True)
class RunFile:
    """One file of the ledger.

    Attributes:
        path: where it is.
        run: its first line.
        bytes: its size when it was looked at.
        mtime_ns: when it had last grown.
        over: whether nothing will be written to it any more.
    """

    path: Path
    run: RunEntry
    bytes: int
    mtime_ns: int
    over: bool

    @property
    def unchanged(self) -> bool:
        """Whether the file is still what it was when it was looked at."""
        try:
            now = self.path.lstat()
        except OSError:
            return False
        return stat.S_ISREG(now.st_mode) and (now.st_size, now.st_mtime_ns) == (
            self.bytes,
            self.mtime_ns,
        )


def run_files(layout: Layout, clock: Clock | None = None) -> list[RunFile]:
    """Return the files that runs of this program wrote, oldest first.

    Whatever else lies in the folder is left out: symbolic links, files without a run's first
    line, and files of a later program's schema.

    Raises:
        OSError: a file is there and cannot be read.
    """
    now = (clock or SystemClock()).time()
    found = []
    for name in ledger_names(layout):
        one = _look(layout.ledger / name, now)
        if one is not None:
            found.append(one)
    return found


def _look(path: Path, now: float) -> RunFile | None:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:
        if path.is_symlink() or not path.exists():
            return None
        raise
    with os.fdopen(fd, "rb") as file:
        facts = os.fstat(fd)
        first = decode_line(file.readline(_END_BYTES * 16))
        if not isinstance(first, RunEntry) or first.schema > SCHEMA_VERSION:
            return None
        file.seek(max(0, facts.st_size - _END_BYTES))
        end = file.read(_END_BYTES)
    quiet = now - facts.st_mtime
    return RunFile(path, first, facts.st_size, facts.st_mtime_ns, _is_over(first, end, quiet))


def _is_over(run: RunEntry, end: bytes, quiet_seconds: float) -> bool:
    if quiet_seconds > SILENT_SECONDS:
        return True
    if quiet_seconds > ENDED_SECONDS and end.endswith(b"\n"):
        last = end[:-1].rpartition(b"\n")[2]
        if isinstance(decode_line(last), EndEntry):
            return True
    here = run.host == socket.gethostname()
    return quiet_seconds > GONE_SECONDS and here and not _runs(run.pid)


def _runs(pid: int) -> bool:
    if pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True
    return True
