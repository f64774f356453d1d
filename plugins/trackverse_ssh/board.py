"""One job at work: what its hosts are asked, what their answers mean, what starts next."""

from __future__ import annotations

import base64
import time
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from trackverse_cli.errors import LacksError
from trackverse_cli.interfaces import TaskState
from trackverse_ssh.record import Attempt, End
from trackverse_ssh.rules import end_of, fate, told

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from trackverse_cli.interfaces import TaskDetail
    from trackverse_ssh.line import Line
    from trackverse_ssh.places import Place
    from trackverse_ssh.protocol import Facts
    from trackverse_ssh.record import Record
    from trackverse_ssh.settings import SSHSettings

GRACE_SECONDS = 4.0
"""A rank finishes or drops the file at hand within three seconds of a signal."""

_LONGEST_PAUSE_SECONDS = 60.0


@dataclass(slots=True)
class Board:
    """What is known of a job's ranks, and the moves that follow from it.

    Attributes:
        record: what is kept of the job, and shared with other processes.
        line: calls to hosts.
        settings: how often, and how patiently.
        seen: what the hosts said last of each attempt, by its key.
    """

    record: Record
    line: Line
    settings: SSHSettings
    seen: dict[str, Facts] = field(default_factory=dict)
    _looked: float | None = None
    _pauses: dict[str, tuple[float, float]] = field(default_factory=dict)

    def turn(self) -> None:
        """Look at every host where something may run, then start what has room; at most once in
        `poll_seconds`.
        """
        now = time.monotonic()
        if self._looked is not None and now < self._looked + self.settings.poll_seconds:
            return
        self.record.refresh()
        self._look(self.record.places.values())
        self._fill()
        self._looked = time.monotonic()

    def cancel(self, ranks: Iterable[int]) -> None:
        """End ranks, also those that have not begun; a host out of reach ends them later."""
        self.record.refresh()
        left = {rank for rank in ranks if rank not in self.record.ends}
        for rank in left:
            if self.record.current(rank) is None:
                self.record.set_end(rank, End(TaskState.FAILED, "cancelled before it began"))
        self._pauses.clear()
        self._look(self.record.places.values(), left)
        for rank in sorted(left - self.record.ends.keys()):
            attempt = self.record.current(rank)
            later = attempt is not None and self._is_away(attempt.place)
            note = "cancelled; it ends when its host is in reach again" if later else "cancelled"
            self.record.set_end(rank, End(TaskState.FAILED, note))

    def state(self, rank: int) -> TaskState:
        """Return the state of a rank as it was at the last look."""
        if rank in self.record.ends:
            return self.record.ends[rank].state
        attempt = self.record.current(rank)
        if attempt is None or attempt.key in self.record.over:
            return TaskState.PENDING
        if self._is_away(attempt.place):
            return TaskState.UNKNOWN
        known = self.seen.get(attempt.key, {}).get("is")
        if known in ("running", "starting", "ended"):  # ended: its log is on its way
            return TaskState.RUNNING
        return TaskState.PENDING if known == "absent" else TaskState.UNKNOWN

    def detail(self, rank: int) -> TaskDetail:
        """Return where a rank is and what became of it."""
        return told(self.record, self.seen, rank)

    def _look(self, places: Iterable[Place], cancelled: Iterable[int] = ()) -> None:
        """Ask each host, by one call, about everything that may still run there."""
        doomed, now = set(cancelled), time.monotonic()
        items: dict[str, dict[str, Facts]] = {}
        for place in places:
            attempts = self.record.open_attempts(place.name)
            if attempts and self._pauses.get(place.name, (0.0, 0.0))[0] <= now:
                wanted = {one.key: self._item(place, one, doomed) for one in attempts}
                items[place.name] = wanted
        self._ask(items)
        for tries in list(self.record.attempts.values()):
            for attempt in tries:
                if attempt.key not in self.record.over and attempt.place in items:
                    self._judge(attempt)

    def _item(self, place: Place, attempt: Attempt, doomed: set[int]) -> Facts:
        outdated = attempt != self.record.current(attempt.rank)
        ended = attempt.rank in self.record.ends
        item: Facts = {"do": "see"}
        if outdated or ended or attempt.rank in doomed:
            item["do"] = "stop"
        if place.root and not outdated:
            item["log"] = f"{place.log_dir}/{self.record.job.log_path(attempt.rank).name}"
            item["log_from"] = self._log_size(attempt.rank) - attempt.log_base
        return item

    def _ask(self, items: Mapping[str, dict[str, Facts]]) -> None:
        """Take a turn at each host; keep what it says, or that it is out of reach."""
        calls = {}
        for name, wanted in items.items():
            place = self.record.places[name]
            request: Facts = {"do": "turn", "folder": place.folder, "items": wanted}
            calls[name] = partial(self.line.call, place.door, request | {"grace": GRACE_SECONDS})
        for name, answer in self.line.each(calls).items():
            if isinstance(answer, LacksError):
                self._lost(name, str(answer))
                continue
            self._pauses.pop(name, None)
            self.record.set_back(name)
            for key, facts in answer["seen"].items():
                self.seen[key] = facts
                self._keep_log(key, items[name][key], facts)

    def _lost(self, name: str, reason: str) -> None:
        """Note a host as out of reach, and leave it alone for a while that grows."""
        self.record.set_away(name, reason)
        for attempt in self.record.open_attempts(name):
            self.seen.pop(attempt.key, None)
        longest = min(_LONGEST_PAUSE_SECONDS, self.settings.dead_after_seconds / 4)
        _, last = self._pauses.get(name, (0.0, self.settings.poll_seconds / 2))
        pause = min(2 * last, max(longest, self.settings.poll_seconds))
        self._pauses[name] = (time.monotonic() + pause, pause)

    def _judge(self, attempt: Attempt) -> None:
        """Draw the conclusions from what a host said of an attempt."""
        facts = self.seen.get(attempt.key)
        if facts is None or facts["is"] in ("absent", "starting", "running", "elsewhere"):
            return
        rank, is_current = attempt.rank, attempt == self.record.current(attempt.rank)
        if is_current and rank not in self.record.ends:
            if facts.get("more"):
                return  # its log has not come in full: it counts as running so long
            end = end_of(facts, attempt.place)
            if end is None and any(one.why == "restarted" for one in self.record.attempts[rank]):
                end = End(TaskState.FAILED, f"{fate(facts)} on {attempt.place}, the second time")
            if end is not None:
                self.record.set_end(rank, end)
        self.record.set_over(attempt)

    def _fill(self) -> None:
        """Start attempts: what was decided but not begun, ranks that lost theirs, the next ones."""
        items: dict[str, dict[str, Facts]] = {}
        for rank in self.record.job.ranks:
            attempt = self.record.current(rank)
            if rank in self.record.ends or attempt is None:
                continue
            if self.seen.get(attempt.key, {}).get("is") == "absent":
                self._put(items, attempt)
        for rank, why in self._waiting():
            before = self.record.current(rank)
            place = self._free_place(before.place if before else None, why)
            if place is None:
                continue
            number = before.number + 1 if before else 1
            attempt = Attempt(rank, number, place.name, why, self._log_size(rank))
            if not self.record.claim(attempt):
                break  # another process is at it; what it decided is seen at the next turn
            self._put(items, attempt)
        self._ask(items)

    def _put(self, items: dict[str, dict[str, Facts]], attempt: Attempt) -> None:
        place, job = self.record.places[attempt.place], self.record.job
        if self._is_away(place.name):
            return
        item = self._item(place, attempt, set())
        items.setdefault(place.name, {})[attempt.key] = item | {
            "do": "start",
            "words": place.words(job, attempt.rank),
            "env": place.env(job),
            "cwd": place.cwd(job),
            "setup": list(place.setup),
            "slots": 1 if "TRACKVERSE_EXTRACT__WORKERS" in job.env else place.slots,
            "log": f"{place.log_dir}/{job.log_path(attempt.rank).name}",
        }

    def _waiting(self) -> list[tuple[int, str]]:
        """Return (rank, why) of what may start now: first those that ran before."""
        if time.time() < self.record.not_before:
            return []
        again, new = [], []
        for rank in self.record.job.ranks:
            attempt = self.record.current(rank)
            if rank in self.record.ends:
                continue
            if attempt is None:
                new.append((rank, "first"))
            elif attempt.key in self.record.over:
                again.append((rank, "restarted"))
            elif self._is_dead(attempt.place):
                again.append((rank, "moved"))
        return again + new

    def _free_place(self, last: str | None, why: str) -> Place | None:
        """Return the host with the largest free share; not the one that was left, if possible."""
        free = []
        for place in self.record.places.values():
            room = place.slots - len(self.record.open_attempts(place.name))
            if room > 0 and not self._is_away(place.name):
                free.append((place.name != last, room / place.slots, place))
        if why == "moved":
            free = [one for one in free if one[0]]
        return max(free, key=lambda one: one[:2])[2] if free else None

    def _is_away(self, name: str) -> bool:
        return name in self._pauses or self.record.away(name) is not None

    def _is_dead(self, name: str) -> bool:
        away = self.record.away(name)
        return away is not None and away[0] >= self.settings.dead_after_seconds

    def _log_size(self, rank: int) -> int:
        path = self.record.job.log_path(rank)
        return path.stat().st_size if path.exists() else 0

    def _keep_log(self, key: str, item: Facts, facts: Facts) -> None:
        """Write a piece of a log to where it belongs; a second process writes the same there."""
        piece = base64.b64decode(facts.pop("log", ""))
        if not piece:
            return
        rank = int(key.split("-")[1])
        attempt = next(one for one in self.record.attempts[rank] if one.key == key)
        path = self.record.job.log_path(rank)
        path.touch()
        with path.open("r+b") as file:
            file.seek(attempt.log_base + item["log_from"])
            file.write(piece)
