"""How a job stands: the executor's word and the ledger's held together, rank by rank."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from trackverse_cli.clock import local_text, utc_text
from trackverse_cli.errors import TrackverseError
from trackverse_cli.interfaces import DetailsTasks, TaskDetail, TaskState
from trackverse_cli.jobs.record import save_job
from trackverse_cli.jobs.start import executor_of
from trackverse_cli.leases import read_attempts
from trackverse_cli.ledger import Followed, LedgerFollower, RankTally
from trackverse_cli.markers import marked_ranks
from trackverse_cli.pacing import cool_downs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trackverse_cli.clock import Clock
    from trackverse_cli.config import Config
    from trackverse_cli.interfaces import Executor, Task
    from trackverse_cli.jobs.record import JobRecord

SCHEMA_VERSION = 1

STATES = ("failed", "stopped", "unknown", "running", "pending", "ended", "done")
"""What a rank can be, in the order in which a person wants to see them."""


@dataclass(frozen=True, slots=True)
class RankStatus:
    """One rank of a job.

    Attributes:
        rank: the rank.
        state: one of `STATES`: `done` found nothing left to win; `ended` ended in order.
        place: the host, or the scheduler's name of the task.
        videos: videos that came, of `videos_due`.
        videos_due: videos that had something left to win when the job was submitted.
        clips: clips that were cut, of `clips_due`.
        clips_due: clips of those videos.
        failed: clips that could not be cut.
        clips_per_hour: over the last quarter of an hour.
        videos_per_hour: likewise.
        note: why it waits, or what last went wrong.
    """

    rank: int
    state: str
    place: str
    videos: int
    videos_due: int
    clips: int
    clips_due: int
    failed: int
    clips_per_hour: float
    videos_per_hour: float
    note: str


@dataclass(frozen=True, slots=True)
class JobStatus:
    """One job.

    Attributes:
        record: what was submitted.
        ranks: every rank, in order.
        unit: what the job's progress is counted in, `videos` or `clips`.
        done: how much of it is done or has failed.
        due: how much there was to do.
        per_hour: how much of it in an hour, at the speed of the last quarter of an hour.
        notes: what concerns the job as a whole.
    """

    record: JobRecord
    ranks: tuple[RankStatus, ...]
    unit: str
    done: int
    due: int
    per_hour: float
    notes: tuple[str, ...] = ()

    @property
    def states(self) -> Counter[str]:
        """How many ranks are in which state."""
        return Counter(rank.state for rank in self.ranks)

    @property
    def ended(self) -> bool:
        """Whether no rank will change by itself any more."""
        return not any(self.states[state] for state in ("running", "pending", "unknown"))

    @property
    def seconds_left(self) -> float | None:
        """How long the rest takes at this speed; None if that cannot be said."""
        if self.ended or not self.per_hour:
            return None
        return max(0, self.due - self.done) / self.per_hour * 3600

    def to_json(self) -> dict[str, Any]:
        """Return one entry of `jobs` of `status --json`."""
        record = self.record
        return {
            "job": record.id,
            "submitted": utc_text(record.time),
            "stage": record.stage,
            "executor": record.executor,
            "world_size": record.world_size,
            "ended": self.ended,
            "states": {state: self.states[state] for state in STATES},
            "unit": self.unit,
            "done": self.done,
            "due": self.due,
            "per_hour": round(self.per_hour, 1),
            "seconds_left": None if self.seconds_left is None else round(self.seconds_left),
            "notes": list(self.notes),
            "ranks": [
                {
                    "rank": one.rank, "state": one.state, "place": one.place,
                    "videos": one.videos, "videos_due": one.videos_due,
                    "clips": one.clips, "clips_due": one.clips_due, "failed": one.failed,
                    "clips_per_hour": round(one.clips_per_hour, 1),
                    "videos_per_hour": round(one.videos_per_hour, 1),
                    "note": one.note,
                }
                for one in self.ranks
            ],
        }  # fmt: skip


@dataclass(slots=True)
class JobWatch:
    """Looks at one job again and again; each look reads only what is new.

    Args:
        config: the configuration in force.
        record: what was submitted.
        clock: what to take the time from.
        executor: who runs it, if it is at hand; asked for by its name otherwise.
    """

    config: Config
    record: JobRecord
    clock: Clock
    executor: Executor | None = None
    _follower: LedgerFollower = field(init=False)
    _notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._follower = LedgerFollower(self.config.layout, self.record.id)

    def look(self) -> JobStatus:
        """Return how the job stands now.

        Raises:
            OSError: the ledger is there and cannot be read.
        """
        self._notes = []
        self._follower.look()
        states, details = self._asked()
        layout = self.config.layout
        alive = {i.rank: i.host for i in read_attempts(layout.runs) if i.job == self.record.id}
        marked = marked_ranks(layout, self.record.key)
        ranks = tuple(
            self._rank(rank, states.get(rank), details.get(rank), alive, rank in marked)
            for rank in sorted(self.record.due)
        )
        self._keep_end(states)
        self._tell_throttle(ranks)
        by_videos = self.record.stage == "download-videos"
        total = sum((tally.done for tally in self._follower.ranks.values()), Followed())
        return JobStatus(
            self.record,
            ranks,
            "videos" if by_videos else "clips",
            total.videos + total.failed_videos if by_videos else total.clips + total.failed_clips,
            sum(videos if by_videos else clips for videos, clips in self.record.due.values()),
            sum(one.videos_per_hour if by_videos else one.clips_per_hour for one in ranks),
            tuple(self._notes),
        )

    def _tell_throttle(self, ranks: tuple[RankStatus, ...]) -> None:
        downloads = self.record.stage != "extract-tracks"
        if not downloads or all(one.state == "done" for one in ranks):
            return
        for egress, seconds in cool_downs(self.config, self.clock):
            until = local_text(self.clock.time() + seconds)
            self._notes.append(f"throttled until {until} (egress {egress}): nobody asks before")

    def _asked(self) -> tuple[Mapping[int, TaskState], Mapping[int, TaskDetail]]:
        """Return what the executor says of each rank; nothing if it cannot be asked."""
        tasks = self.record.tasks
        if self.record.ended:
            return {rank: TaskState(state) for rank, state in self.record.ended.items()}, {}
        try:
            if not tasks:
                return {}, {}
            if self.executor is None:
                self.executor = executor_of(self.config, self.record.executor)
            states = self.executor.poll(tasks)
            details: Mapping[Task, TaskDetail] = {}
            if isinstance(self.executor, DetailsTasks):
                details = self.executor.details(tasks)
        except (TrackverseError, OSError) as error:
            self._notes.append(f"executor {self.record.executor} cannot be asked: {error}")
            return {}, {}
        return (
            {task.rank: state for task, state in states.items()},
            {task.rank: detail for task, detail in details.items()},
        )

    def _rank(
        self,
        rank: int,
        state: TaskState | None,
        detail: TaskDetail | None,
        alive: Mapping[int, str],
        marked: bool,
    ) -> RankStatus:
        tally = self._follower.ranks.get(rank, RankTally())
        done, detail = tally.done, detail or TaskDetail()
        videos_due, clips_due = self.record.due[rank]
        clips_rate, videos_rate = tally.rates(self.clock.time())
        told = _state(state, rank in alive, tally.ended, marked)
        busy = told == "running"
        return RankStatus(
            rank, told, detail.place or alive.get(rank, "") or tally.host,
            done.videos, videos_due, done.clips, clips_due, done.failed_clips,
            clips_rate * 3600 if busy else 0.0, videos_rate * 3600 if busy else 0.0,
            detail.note or tally.trouble,
        )  # fmt: skip

    def _keep_end(self, states: Mapping[int, TaskState]) -> None:
        """Keep that a job has ended, so that nobody asks its executor again."""
        record = self.record
        if record.ended or not states or not all(state.ended for state in states.values()):
            return
        ended = {rank: state.value for rank, state in states.items()}
        self.record = msgspec.structs.replace(record, ended=ended)
        try:
            save_job(self.config.layout, self.record)
        except (TrackverseError, OSError):
            return  # a folder that cannot be written is looked at all the same


def _state(state: TaskState | None, alive: bool, ended: bool, marked: bool) -> str:
    if state in (TaskState.RUNNING, TaskState.PENDING):
        return "running" if alive else state.value
    if marked:
        return "done"
    if alive:
        return "running"
    if state in (TaskState.FAILED, TaskState.STOPPED):
        return state.value
    if state is TaskState.SUCCEEDED or ended:
        return "ended"
    return "unknown"
