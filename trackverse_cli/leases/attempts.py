"""Signs of life: each run keeps a file of its own that grows while it is at work."""

from __future__ import annotations

import os
import socket
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

import msgspec

from trackverse_cli.clock import Clock, SystemClock
from trackverse_cli.files import make_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

BEAT_SECONDS = 10.0
"""Time between two signs of life."""

STANDSTILL_SECONDS = 60.0
"""A run whose counter has stood still for so long, on the observer's own clock, is gone."""

_SUFFIX = ".run"
_INFO_BYTES = 4096


class AttemptInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One run of one rank, as its sign of life names it.

    Attributes:
        run: the run id, the same as in its ledger.
        stage: the command.
        rank: in [0, world_size).
        world_size: how many ranks share the work.
        job: the id of the job that it belongs to, empty if a person started it.
        host: the name of its machine.
        boot: names one start of that machine.
        pid: its process there.
        started: what tells that process from a later one with the same number.
        time: when it began, seconds since 1970.
    """

    run: str
    stage: str
    rank: int
    world_size: int
    job: str
    host: str
    boot: str
    pid: int
    started: str
    time: float

    @property
    def told(self) -> str:
        """Where it runs, for a person."""
        return f"process {self.pid} on {self.host}"


def attempt_info(
    run: str, stage: str, rank: int, world_size: int, job: str, clock: Clock
) -> AttemptInfo:
    """Return the description of a run of this very process."""
    pid = os.getpid()
    return AttemptInfo(
        run=run, stage=stage, rank=rank, world_size=world_size, job=job,
        host=socket.gethostname(), boot=_boot_id(), pid=pid, started=_started(pid) or "",
        time=clock.time(),
    )  # fmt: skip


class Attempt:
    """This run's sign of life; its file grows by a byte every few seconds until it is closed.

    Args:
        folder: where the signs of life of all runs are.
        info: what the file says.
        beat_seconds: time between two signs of life.

    Raises:
        UsageError: the folder cannot be made.
        OSError: the disk refused.
    """

    def __init__(self, folder: Path, info: AttemptInfo, beat_seconds: float = BEAT_SECONDS) -> None:
        make_folder(folder, "the folder of the runs")
        self.info = info
        self.folder = folder
        self.path = folder / f"{info.run}{_SUFFIX}"
        fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        with os.fdopen(fd, "wb") as file:
            file.write(msgspec.json.encode(info) + b"\n")
        self._ended = threading.Event()
        self._beat_seconds = beat_seconds
        self._heart = threading.Thread(target=self._live, name="sign of life", daemon=True)
        self._heart.start()

    def beat(self) -> None:
        """Give one sign of life."""
        with suppress(OSError):
            # Without O_CREAT: who was declared dead and swept away does not rise again.
            fd = os.open(self.path, os.O_WRONLY | os.O_APPEND)
            try:
                os.write(fd, b".")
            except OSError:
                os.utime(fd)  # a full disk still takes a time
            finally:
                os.close(fd)

    def close(self) -> None:
        """Give no more signs of life."""
        self._ended.set()
        self._heart.join(5.0)
        with suppress(OSError):
            self.path.unlink()

    def _live(self) -> None:
        while not self._ended.wait(self._beat_seconds):
            self.beat()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@dataclass(slots=True)
class _Seen:
    counter: tuple[int, int]
    since: float
    moved: bool = False


class Watch:
    """Tells which runs are gone, by nothing but their counters and this process's own clock.

    Args:
        folder: where the signs of life are.
        clock: whose monotonic time decides.
        still_seconds: a counter that has not moved for so long belongs to a run that is gone.
    """

    def __init__(
        self,
        folder: Path,
        clock: Clock | None = None,
        still_seconds: float = STANDSTILL_SECONDS,
    ) -> None:
        self._folder = folder
        self._clock = clock or SystemClock()
        self.still_seconds = still_seconds
        self._seen: dict[str, _Seen] = {}

    def is_gone(self, run: str) -> bool:
        """Say whether a run is over or dead for sure; a first look rarely knows."""
        path = self._folder / f"{run}{_SUFFIX}"
        counter = counter_of(path)
        if counter is None:
            return True
        info = read_info(path)
        if info is not None and is_dead_here(info):
            return True
        return self.stands_still(run, counter)

    def stands_still(self, name: str, counter: tuple[int, int]) -> bool:
        """Say whether a counter has not moved for long enough, as far as this process saw."""
        now = self._clock.monotonic()
        seen = self._seen.get(name)
        if seen is None or seen.counter != counter:
            self._seen[name] = _Seen(counter, now, moved=seen is not None)
            return False
        return now - seen.since >= self.still_seconds

    def has_moved(self, run: str) -> bool:
        """Say whether a run's counter has been seen to move."""
        seen = self._seen.get(run)
        return seen is not None and seen.moved


def counter_of(path: Path) -> tuple[int, int] | None:
    """Return what changes while a file is kept alive, None if it is not there."""
    try:
        # Opened, so that a network file system asks its server instead of its memory.
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        facts = os.fstat(fd)
    finally:
        os.close(fd)
    return facts.st_size, facts.st_mtime_ns


def read_info(path: Path) -> AttemptInfo | None:
    """Return what a sign of life says, None if it is not there or not whole."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        line = os.read(fd, _INFO_BYTES).partition(b"\n")[0]
    except OSError:
        return None
    finally:
        os.close(fd)
    try:
        return msgspec.json.decode(line, type=AttemptInfo)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def read_attempts(folder: Path) -> Iterator[AttemptInfo]:
    """Yield every run that has a sign of life and is not dead on this very machine."""
    try:
        names = sorted(entry.name for entry in os.scandir(folder))
    except OSError:
        return
    for name in names:
        info = read_info(folder / name) if name.endswith(_SUFFIX) else None
        if info is not None and not is_dead_here(info):
            yield info


def is_dead_here(info: AttemptInfo) -> bool:
    """Say whether a run was one of this machine's and its process is gone."""
    if info.host != socket.gethostname() or not info.boot:
        return False
    if info.boot != _boot_id():
        return True
    started = _started(info.pid)
    return started is None or bool(info.started and started != info.started)


def _boot_id() -> str:
    """Return what names this start of this machine; empty where the system does not say.

    A container shares it with its machine, so that a process number alone says nothing there:
    the namespace of process numbers belongs to the name.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"  # noqa: PTH115 - a link into nothing
    except OSError:
        return ""


def _started(pid: int) -> str | None:
    """Return when a process began, in the system's own unit; None if there is no such process."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return None
    except OSError:
        return ""
    fields = text.rpartition(")")[2].split()
    if fields[0] in ("Z", "X"):
        return None
    return fields[19]
