"""What is kept of a job beside its logs, so that any process may go on with it, days later.

A file is made once, whole, under a name of its own, and never changed: two processes that look
after one job at the same time cannot both make it. There are no locks.

    job.json               the job and its places
    rank-0007-1.try        the first attempt at rank 7: on which host, and why
    rank-0007-1.over       it does not run any more
    rank-0007.end          how the rank ended
    HOST.away              since when a host is out of reach; this one comes and goes
"""

from __future__ import annotations

import json
import os
import platform
import re
import secrets
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from trackverse_cli.interfaces import Job, TaskState
from trackverse_ssh.places import Place

_NAME = re.compile(r"rank-(\d+)(?:-(\d+))?\.(try|over|end)")


@dataclass(frozen=True, slots=True)
class Attempt:
    """One start of a rank on one host.

    Attributes:
        rank: the rank.
        number: from 1, in the order of a rank's attempts.
        place: the host's name.
        why: `first`, `moved` (the host before it was out of reach) or `restarted`.
        log_base: the size of the rank's log when it was decided on, in bytes.
    """

    rank: int
    number: int
    place: str
    why: str = "first"
    log_base: int = 0

    @property
    def key(self) -> str:
        """Its name, the same on both sides."""
        return f"rank-{self.rank:04d}-{self.number}"


@dataclass(frozen=True, slots=True)
class End:
    """How a rank ended.

    Attributes:
        state: one that has ended.
        note: what a person wants to know of it, or empty.
    """

    state: TaskState
    note: str = ""


@dataclass(slots=True)
class Record:
    """The files of one job, read as they come.

    Attributes:
        folder: where they are.
        job: the job.
        places: its hosts, by name.
        not_before: no rank starts earlier, in seconds since 1970.
        attempts: each rank's, in their order.
        over: the attempts that do not run any more.
        ends: how ranks ended.
    """

    folder: Path
    job: Job
    places: dict[str, Place]
    not_before: float = 0.0
    attempts: dict[int, list[Attempt]] = field(default_factory=dict)
    over: set[str] = field(default_factory=set)
    ends: dict[int, End] = field(default_factory=dict)
    _known: set[str] = field(default_factory=set)
    _away: dict[str, dict[str, Any]] = field(default_factory=dict)

    def save(self) -> None:
        """Write the job; once, before anything is started."""
        job = self.job
        facts = {
            "name": job.name, "command": list(job.command), "world_size": job.world_size,
            "ranks": list(job.ranks), "log_dir": str(job.log_dir), "env": dict(job.env),
            "root": None if job.root is None else str(job.root), "not_before": self.not_before,
            "places": [asdict(place) for place in self.places.values()],
        }  # fmt: skip
        _make(self.folder / "job.json", facts)

    @classmethod
    def load(cls, folder: Path) -> Record:
        """Return a job's record.

        Raises:
            OSError, ValueError, KeyError: it is not there, or no record.
        """
        facts = json.loads((folder / "job.json").read_text(encoding="utf-8"))
        job = Job(
            facts["name"], tuple(facts["command"]), facts["world_size"], tuple(facts["ranks"]),
            Path(facts["log_dir"]), facts["env"],
            None if facts["root"] is None else Path(facts["root"]),
        )  # fmt: skip
        places = {one["name"]: Place.of_json(one) for one in facts["places"]}
        return cls(folder, job, places, facts["not_before"])

    def refresh(self) -> None:
        """Take in what other processes have decided since."""
        names = sorted(os.listdir(self.folder))  # noqa: PTH208 - names alone
        self._away = {}
        for name in names:
            if name.endswith(".away"):
                self._take_away(name)
            found = _NAME.fullmatch(name)
            if found is None or name in self._known:
                continue
            rank, kind = int(found[1]), found[3]
            facts = json.loads((self.folder / name).read_text(encoding="utf-8"))
            self._known.add(name)
            if kind == "try":
                self.attempts.setdefault(rank, []).append(Attempt(**facts))
            elif kind == "over":
                self.over.add(name.removesuffix(".over"))
            else:
                self.ends[rank] = End(TaskState(facts["state"]), facts["note"])
        for tries in self.attempts.values():
            tries.sort(key=lambda attempt: attempt.number)

    def claim(self, attempt: Attempt) -> bool:
        """Decide on an attempt; return False if another process has decided on one just before."""
        name = f"{attempt.key}.try"
        if not _make(self.folder / name, asdict(attempt)):
            return False
        self._known.add(name)
        self.attempts.setdefault(attempt.rank, []).append(attempt)
        return True

    def set_over(self, attempt: Attempt) -> None:
        """Note that an attempt does not run any more."""
        _make(self.folder / f"{attempt.key}.over", {})
        self.over.add(attempt.key)

    def set_end(self, rank: int, end: End) -> None:
        """Note how a rank ended, unless that is known already."""
        _make(self.folder / f"rank-{rank:04d}.end", {"state": end.state.value, "note": end.note})
        self.ends.setdefault(rank, end)

    def current(self, rank: int) -> Attempt | None:
        """Return the newest attempt at a rank."""
        tries = self.attempts.get(rank)
        return tries[-1] if tries else None

    def open_attempts(self, place: str) -> list[Attempt]:
        """Return the attempts of a host that may still run there."""
        every = (attempt for tries in self.attempts.values() for attempt in tries)
        return [one for one in every if one.place == place and one.key not in self.over]

    def set_away(self, place: str, reason: str) -> None:
        """Note that a host is out of reach, unless that is known already."""
        if self.away(place) is None:
            facts = {"clock": _clock(), "since": time.monotonic(), "time": time.time()}
            self._away[place] = {**facts, "reason": reason}
            _replace(self.folder / f"{place}.away", self._away[place])

    def set_back(self, place: str) -> None:
        """Note that a host is in reach again."""
        if self._away.pop(place, None) is not None:
            (self.folder / f"{place}.away").unlink(missing_ok=True)

    def away(self, place: str) -> tuple[float, float, str] | None:
        """Return for how many seconds a host is out of reach, since when (1970) and why.

        The seconds count on a clock that nobody sets: that of this machine since its start. None
        for a host in reach, and for one of which only another machine has noted that it is not.
        """
        facts = self._away.get(place)
        if facts is None or facts["clock"] != _clock():
            return None
        return time.monotonic() - facts["since"], facts["time"], facts["reason"]

    def _take_away(self, name: str) -> None:
        with suppress(FileNotFoundError):  # just back
            text = (self.folder / name).read_text(encoding="utf-8")
            self._away[name.removesuffix(".away")] = json.loads(text)


@cache
def _clock() -> str:
    """Return what names the clock that `time.monotonic` reads: this machine, since its start."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        boot = ""
    return f"{platform.node()} {boot}"


def _written(target: Path, facts: dict[str, Any]) -> Path:
    temporary = target.with_name(f".tv-{secrets.token_hex(8)}.tmp")
    with temporary.open("w", encoding="utf-8") as file:
        json.dump(facts, file)
        file.flush()
        os.fsync(file.fileno())
    return temporary


def _replace(target: Path, facts: dict[str, Any]) -> None:
    _written(target, facts).replace(target)


def _make(target: Path, facts: dict[str, Any]) -> bool:
    """Write a file whole; return False if it is there already."""
    temporary = _written(target, facts)
    try:
        # Unlike a rename, a link fails where the name is taken, on network file systems too.
        os.link(temporary, target)
    except FileExistsError:
        return False
    except OSError:  # a file system without links
        if target.exists():
            return False
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
    return True
