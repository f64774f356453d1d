"""What a task carries so that any process can find it again, and what its log folder says."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from trackverse_cli.interfaces import Task, TaskDetail, TaskState
from trackverse_slurm.records import ExitRecord, read_record
from trackverse_slurm.script import SCRIPT_NAME
from trackverse_slurm.states import Seen, of_code

SILENT_SECONDS = 600.0
"""A rank whose log is older than this, and that Slurm does not know, left no record behind."""


@dataclass(frozen=True, slots=True)
class Handle:
    """One rank of a job array.

    Attributes:
        job: the array job's id.
        index: the index in it.
        rank: the rank; several may share an index.
        log_dir: where its log and its exit record are.
        shared: whether other ranks run in the same task.
    """

    job: str
    index: int
    rank: int
    log_dir: str
    shared: bool

    @property
    def name(self) -> str:
        """The task as Slurm calls it: `12_3`."""
        return f"{self.job}_{self.index}"

    @property
    def folder(self) -> Path:
        """The log folder."""
        return Path(self.log_dir)

    def task(self) -> Task:
        """Return the task that carries this."""
        value = {key: one for key, one in asdict(self).items() if key != "rank"}
        return Task("slurm", self.rank, json.dumps(value))

    @staticmethod
    def of(task: Task) -> Handle | None:
        """Return what a task carries, or None if it is none of ours."""
        try:
            value = json.loads(task.handle)
            found = Handle(
                str(value["job"]), int(value["index"]), task.rank, str(value["log_dir"]),
                value["shared"] is True,
            )  # fmt: skip
        except (ValueError, KeyError, TypeError):
            return None
        return found if found.job.isdecimal() and found.index >= 0 else None

    def record(self) -> ExitRecord | None:
        """Return how the rank ended, if it has."""
        return read_record(self.folder, self.rank, self.name)

    def pointed_out(self, seen: Seen, told: TaskDetail) -> TaskDetail:
        """Return what is told of a task, and where to look if its rank never came to its log."""
        log = self.folder / f"rank-{self.rank:04d}.log"
        if seen.state != "FAILED" or seen.task_state is not TaskState.FAILED or log.exists():
            return told
        return TaskDetail(told.place, f"{told.note}; see slurm-{self.name}.out beside its log")

    def silent(self) -> bool:
        """Say whether the rank's log, or without one its script, was last written long ago."""
        for path in (self.folder / f"rank-{self.rank:04d}.log", self.folder / SCRIPT_NAME):
            try:
                return time.time() - path.stat().st_mtime > SILENT_SECONDS
            except OSError:
                continue
        return False


def judge(seen: Seen | None, record: ExitRecord | None, answered: bool) -> TaskState | None:
    """Return the state of a rank by what is known of it; None if that is nothing.

    Args:
        seen: what squeue says of its task.
        record: how the rank ended; it counts where Slurm has forgotten the task, and where
            several ranks share one.
        answered: whether squeue answered at all.
    """
    if seen is not None:
        state = seen.task_state
        own = record is not None and (record.code == 0 or (state.ended and not record.requeued))
        return of_code(record.code) if record is not None and own else state
    # While Slurm is silent, a rank that a signal ended may be about to start again.
    if record is not None and not record.requeued and (answered or record.code < 128):
        return of_code(record.code)
    return None if answered else TaskState.UNKNOWN
