"""What may go from a dataset folder: unfinished downloads, leftovers of kills, stale state, old
ledger files.

Only what this program makes, by its name and its place, is ever touched, and only regular files:
no symbolic link below the top folders is followed or removed (see `walk`). A top folder itself may
be a link of the user's, as everywhere.
"""

from __future__ import annotations

import os
import re
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from trackverse_cli.clock import Clock, SystemClock
from trackverse_cli.files import is_temporary
from trackverse_cli.leases import read_attempts
from trackverse_cli.leases.attempts import is_dead_here, read_info
from trackverse_cli.ledger import Compaction, compact, run_files
from trackverse_cli.outputs.names import shards_folder
from trackverse_cli.walk import files_below, files_in

if TYPE_CHECKING:
    from collections.abc import Callable

    from trackverse_cli.layout import Layout

SCHEMA_VERSION = 1

DAY_SECONDS = 86_400.0

PARTIAL_DAYS = 7.0
"""An unfinished download that has not grown for so long is started afresh."""

BUSY_SECONDS = 3600.0
"""While something runs, the rest of a video that is there is left alone for so long: the video may
be on its way again."""

TEMPORARY_DAYS = 1.0
STATE_DAYS = 30.0

_PARTIAL = re.compile(r"([A-Za-z0-9_-]{11})\..+", re.ASCII | re.DOTALL)
JOB_DAYS = 90.0
"""What is kept of a job goes when it was submitted so long ago and nothing of it is at work."""

_RUN = re.compile(r"([0-9a-f]{12})\.run")
_LEASE = re.compile(r"(?:download|cut|rank)-[A-Za-z0-9_-]+\.[0-9]+", re.ASCII)
_JOB_FILE = re.compile(r"job\.json|trackverse\.toml")
_STATE = re.compile(r"selection-[0-9a-f]{16}\.npz|verify-[0-9a-f]{16}\.bin|order-[0-9a-f]{16}\.npz")


@dataclass(frozen=True, slots=True)
class Leftover:
    """One file that may go.

    Attributes:
        kind: `partial`, `temporary` or `state`.
        path: relative to the dataset folder.
        bytes: its size.
        age_seconds: time since it was last written, or used.
    """

    kind: str
    path: str
    bytes: int
    age_seconds: float


@dataclass(slots=True)
class Count:
    """How many files, and their size."""

    files: int = 0
    bytes: int = 0


@dataclass(slots=True)
class Cleaned:
    """What went, or with `dry_run` would go.

    Attributes:
        dry_run: whether nothing was removed.
        kinds: kind -> how much, for every kind.
        ledger: what became of the ledger.
        refused: (path relative to the dataset folder, the system's reason) of what had to stay.
    """

    dry_run: bool
    kinds: dict[str, Count] = field(
        default_factory=lambda: {kind: Count() for kind in ("partial", "temporary", "state")}
    )
    ledger: Compaction = field(default_factory=Compaction)
    refused: list[tuple[str, str]] = field(default_factory=list)

    def to_json(self) -> dict[str, object]:
        """Return what `clean --json` prints."""
        kinds = self.kinds | {"ledger": Count(self.ledger.files, self.ledger.bytes)}
        path = self.ledger.path
        return {
            "schema": SCHEMA_VERSION,
            "dry_run": self.dry_run,
            "kinds": {k: {"files": c.files, "bytes": c.bytes} for k, c in kinds.items()},
            "compacted": {
                "file": path.name if path else None,
                "bytes": self.ledger.new_bytes,
                "running": self.ledger.running,
            },
            "refused": [{"path": path, "reason": reason} for path, reason in self.refused],
        }


def clean(
    layout: Layout,
    *,
    dry_run: bool = False,
    partial_days: float = PARTIAL_DAYS,
    found: Callable[[Leftover], None] | None = None,
    clock: Clock | None = None,
) -> Cleaned:
    """Remove what may go, and compact the ledger of ended runs.

    Args:
        layout: the dataset folder.
        dry_run: remove nothing, only say what would go.
        partial_days: the age of an unfinished download that goes though its video is not there.
        found: is told of every file, before it goes.
        clock: what to take the time from.

    Raises:
        OSError: the ledger cannot be read, or its new file cannot be written.
    """
    clock = clock or SystemClock()
    done = Cleaned(dry_run)
    sweeper = _Sweeper(layout, done, clock.time(), found)
    busy = any(not one.over for one in run_files(layout, clock))
    sweeper.partial(partial_days * DAY_SECONDS, BUSY_SECONDS if busy else 0.0)
    sweeper.temporary()
    sweeper.state()
    if not dry_run and not list(read_attempts(layout.runs)):
        _drop_superseded(layout)
    done.ledger = compact(layout, dry_run=dry_run, clock=clock)
    done.refused += [(layout.relative(path), reason) for path, reason in done.ledger.refused]
    return done


def _drop_superseded(layout: Layout) -> None:
    """Write shards anew that hold clips which a newer shard holds as well."""
    from trackverse_cli.outputs import ShardIndex, drop_members

    run = secrets.token_hex(6)
    for number, (shard, keys) in enumerate(ShardIndex.load(layout).superseded().items()):
        drop_members(shard, keys, "clean", run, number)


@dataclass(slots=True)
class _Sweeper:
    layout: Layout
    done: Cleaned
    now: float
    found: Callable[[Leftover], None] | None

    def partial(self, limit_seconds: float, there_seconds: float) -> None:
        # Its parent may be a link of the user's; this folder itself is made by us.
        for fd, name, facts in files_in(self.layout.partial, _PARTIAL.fullmatch):
            age = self.now - facts.st_mtime
            there = self.layout.find_video(name[:11]) is not None
            if age > limit_seconds or (there and age >= there_seconds):
                self._remove("partial", fd, self.layout.partial / name, facts, age)

    def temporary(self) -> None:
        layout = self.layout
        tops = (
            layout.metadata, layout.root / "index", layout.videos, layout.tracks, layout.ledger,
            layout.state, layout.logs, shards_folder(layout),
        )  # fmt: skip
        # Not below the root itself: what else lies there is the user's.
        for fd, name, facts in files_in(Path(os.path.realpath(layout.root)), is_temporary):
            self._temporary(fd, layout.root / name, facts)
        for top in tops:
            for inside, fd, name, facts in files_below(top, is_temporary):
                self._temporary(fd, top / inside / name, facts)

    def _temporary(self, fd: int, path: Path, facts: os.stat_result) -> None:
        age = self.now - facts.st_mtime
        if age > TEMPORARY_DAYS * DAY_SECONDS:
            self._remove("temporary", fd, path, facts, age)

    def state(self) -> None:
        folder = Path(os.path.realpath(self.layout.state))
        for fd, name, facts in files_in(folder, _STATE.fullmatch):
            # Reading one shows in its access time alone, which some file systems do not keep.
            age = self.now - max(facts.st_mtime, facts.st_atime)
            if age > STATE_DAYS * DAY_SECONDS:
                self._remove("state", fd, self.layout.state / name, facts, age)
        self._work()
        self._jobs()

    def _work(self) -> None:
        """Remove signs of life that stand still, and the leases of runs that give none."""
        alive = set()
        for fd, name, facts in files_in(self.layout.runs, _RUN.fullmatch):
            age = self.now - facts.st_mtime
            info = read_info(self.layout.runs / name)
            if age > DAY_SECONDS or (info is not None and is_dead_here(info)):
                self._remove("state", fd, self.layout.runs / name, facts, age)
            else:
                alive.add(name.removesuffix(".run"))
        if alive:
            return  # a chain of leases is to be read as a whole
        for fd, name, facts in files_in(self.layout.leases, _LEASE.fullmatch):
            age = self.now - facts.st_mtime
            if age > BUSY_SECONDS:  # a run that begins just now may have taken it
                self._remove("state", fd, self.layout.leases / name, facts, age)

    def _jobs(self) -> None:
        for inside, fd, name, facts in files_below(self.layout.jobs, _JOB_FILE.fullmatch):
            age = self.now - facts.st_mtime
            if age > JOB_DAYS * DAY_SECONDS:
                self._remove("state", fd, self.layout.jobs / inside / name, facts, age)

    def _remove(self, kind: str, fd: int, path: Path, facts: os.stat_result, age: float) -> None:
        told = self.layout.relative(path)
        if self.found is not None:
            self.found(Leftover(kind, told, facts.st_size, age))
        if not self.done.dry_run:
            try:
                os.unlink(path.name, dir_fd=fd)
            except FileNotFoundError:
                return
            except OSError as error:
                self.done.refused.append((told, error.strerror or str(error)))
                return
        count = self.done.kinds[kind]
        count.files += 1
        count.bytes += facts.st_size
