"""What another process has to know of a rank: small files beside its log."""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trackverse_cli.interfaces import Task

_STEP_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Process:
    """A process, told from a later one with the same number.

    Attributes:
        host: its machine.
        pid: its number there.
        started: when it began, in the system's own unit; empty where that cannot be known.
    """

    host: str
    pid: int
    started: str

    @property
    def is_here(self) -> bool:
        """Whether it is, or was, one of this machine's."""
        return self.host == socket.gethostname()

    @property
    def is_alive(self) -> bool:
        """Whether it runs, as far as this machine can tell."""
        return self.is_here and _started(self.pid) == self.started

    def send(self, signum: int) -> None:
        """Send it a signal, if it still runs."""
        if self.is_alive:
            with suppress(OSError):
                os.kill(self.pid, signum)


def this_process() -> Process:
    """Return the process that asks."""
    return process_of(os.getpid())


def process_of(pid: int) -> Process:
    """Return the process of a number, as it is now."""
    return Process(socket.gethostname(), pid, _started(pid) or "")


class Notes:
    """The notes of one rank.

    Args:
        log: its log; the notes lie beside it.
    """

    def __init__(self, log: Path) -> None:
        self._begin = log.with_suffix(".process")
        self._end = log.with_suffix(".exit")
        self._cancel = log.with_suffix(".cancelled")

    def began(self, pid: int) -> None:
        """Note the process that runs the rank now."""
        _write(self._begin, asdict(process_of(pid)))

    def ended(self, code: int) -> None:
        """Note how it ended."""
        _write(self._end, {"code": code})

    def cancel(self) -> None:
        """Ask for the rank's end: its submitter neither starts it nor starts it again."""
        _write(self._cancel, {})
        process = self.process()
        if process is not None:
            process.send(signal.SIGTERM)

    @property
    def is_cancelled(self) -> bool:
        """Whether its end was asked for."""
        return self._cancel.exists()

    def process(self) -> Process | None:
        """Return the newest process of the rank, None if none was begun."""
        told = _read(self._begin)
        try:
            return Process(**told) if told else None
        except TypeError:
            return None

    def code(self) -> int | None:
        """Return how the rank ended, None if it has not."""
        code = _read(self._end).get("code")
        return code if isinstance(code, int) else None


def notes_of(task: Task) -> Notes:
    """Return the notes of a task of this executor."""
    return Notes(Path(json.loads(task.handle)["log"]))


def submitter_of(task: Task) -> Process:
    """Return the process that submitted a task."""
    return Process(**json.loads(task.handle)["submitter"])


def end_processes(notes: Sequence[Notes], deadline: float) -> None:
    """Wait until the processes of some ranks are gone; kill what is left at the deadline.

    Args:
        notes: the ranks; each was asked to end.
        deadline: by the monotonic clock, in seconds.
    """
    left = [process for one in notes if (process := one.process()) is not None]
    while left and time.monotonic() < deadline:
        left = [process for process in left if process.is_alive]
        time.sleep(_STEP_SECONDS)
    for process in left:
        process.send(signal.SIGKILL)


def _write(path: Path, value: dict[str, Any]) -> None:
    temporary = path.with_name(f".tv-{secrets.token_hex(8)}.tmp")
    temporary.write_text(json.dumps(value), encoding="utf-8")
    temporary.replace(path)


def _read(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def _started(pid: int) -> str | None:
    """Return when a process began; None if there is none, "" where the system does not say."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return None if Path("/proc/self/stat").exists() or not _runs(pid) else ""
    except OSError:
        return ""
    fields = text.rpartition(")")[2].split()
    return None if fields[0] in ("Z", "X") else fields[19]


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
