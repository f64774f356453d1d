"""One rank: what it still has to do, what it is cutting, and what it has in its shard."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field


@dataclass(slots=True)
class Later:
    """A video that failed and may be tried again: how often it did, since when, due when, why."""

    tries: int
    since: float
    due: float
    reason: str


@dataclass(slots=True)
class Rank:
    """One rank over all of its runs; times are simulated seconds.

    Attributes:
        number: the rank.
        rows: its videos, in the order in which it takes them.
        place: up to which of them it has come.
        front: videos that come before the next of those: what the run before left.
        put_off: videos that failed for a moment, once more at the end of the run.
        tried: those that were put off in this run.
        later: videos that failed, by row.
        pending: (end, video) of what its cores are at, first come first.
        free: when its cores are through with all of it.
        gathered: (end, video) of cut videos whose clips are in a shard that is not published.
        clips: how many clips those have.
        until: when this run is ended, by `why`.
        why: `limit` or `node`.
        runs: how many runs it had.
        requeues: how often it queued itself again since it was submitted.
        died: whether the run before died with its node.
        ended: when nothing was left to win; 0 before.
    """

    number: int
    rows: list[int]
    place: int = 0
    front: deque[int] = field(default_factory=deque)
    put_off: deque[int] = field(default_factory=deque)
    tried: set[int] = field(default_factory=set)
    later: dict[int, Later] = field(default_factory=dict)
    pending: deque[tuple[float, int]] = field(default_factory=deque)
    free: float = 0.0
    gathered: list[tuple[float, int]] = field(default_factory=list)
    clips: int = 0
    until: float = 0.0
    why: str = ""
    runs: int = 0
    requeues: int = 0
    died: bool = False
    clips_done: int = 0
    ended: float = 0.0

    def next_row(self) -> int:
        """Return the video that is next, -1 if this run is through."""
        if self.front:
            return self.front.popleft()
        if self.place < len(self.rows):
            self.place += 1
            return self.rows[self.place - 1]
        return self.put_off.popleft() if self.put_off else -1

    def begin(self, now: float) -> None:
        """Begin a run: what failed before and is due by now comes first."""
        self.runs += 1
        self.tried.clear()
        self.front.extend(row for row, late in self.later.items() if late.due <= now)

    def lose(self, rows: list[int]) -> None:
        """Put videos back that this run will not finish; those that were put off come too."""
        self.front.extendleft(reversed([*rows, *self.put_off]))
        self.put_off.clear()
        kept = set(self.later)
        # What the ledger holds a failure of is looked up anew by the next run.
        self.front = deque(row for row in dict.fromkeys(self.front) if row not in kept)
