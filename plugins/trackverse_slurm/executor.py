"""Ranks as tasks of job arrays: queued, looked at and cancelled by Slurm's own programs."""

from __future__ import annotations

import sys
import time
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from trackverse_cli.errors import LacksError, TrackverseError, UsageError
from trackverse_cli.interfaces import Job, Task, TaskDetail, TaskState
from trackverse_slurm import script
from trackverse_slurm.control import USUAL_MAX_ARRAY_SIZE, Slurm, refusal
from trackverse_slurm.handle import Handle, judge
from trackverse_slurm.records import cancelled, note_cancelled
from trackverse_slurm.states import SQUEUE_FIELDS, Seen, detail, parse_sacct, parse_squeue

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from trackverse_slurm.settings import SlurmSettings

GRACE_SECONDS = 60.0
"""A file server may show an exit record so much later than Slurm forgets the task."""

FRESH_SECONDS = 2.0
"""`details` uses what `poll` has just been told."""


@dataclass(slots=True)
class SlurmExecutor:
    """Queues ranks and returns; everything later is asked of Slurm and of the log folder.

    Attributes:
        settings: what to ask Slurm for.
        python: the interpreter that has this package, as the nodes call it.
    """

    settings: SlurmSettings
    python: str = sys.executable
    _slurm: Slurm = field(default_factory=Slurm)
    _missing_since: dict[str, float] = field(default_factory=dict)
    _told: tuple[float, frozenset[str], dict[str, Seen]] | None = None

    def submit(self, job: Job) -> Sequence[Task]:
        """Queue every rank of the job, in as few calls of sbatch as the cluster allows.

        Raises:
            UsageError: Slurm refuses what the settings ask for, or the log folder is not usable.
            LacksError: the cluster takes no jobs now, or there is none.
        """
        if not job.ranks:
            return []
        job = _absolute(job)
        parts = self._calls(job, self._slurm.max_array_size())
        text = script.script(job, self.settings, self.python)
        try:
            script.script_path(job).write_bytes(text.encode("utf-8", "surrogateescape"))
        except OSError as error:
            raise UsageError(f"the batch script cannot be written: {error}") from None
        groups = {g[0]: g for g in script.groups(job.ranks, self.settings.ranks_per_task)}
        tasks: dict[int, Task] = {}
        try:
            for call in parts:
                words = script.sbatch_words(job, self.settings, call)
                name = self._slurm.submit(words, self.settings)
                for index in call.indexes:
                    group = groups[call.offset + index]
                    for rank in group:
                        handle = Handle(name, index, rank, str(job.log_dir), len(group) > 1)
                        tasks[rank] = handle.task()
        except BaseException:  # all of a job or nothing, whatever came between
            with suppress(TrackverseError):
                self.cancel(list(tasks.values()))
            raise
        return [tasks[rank] for rank in job.ranks]

    def describe(self, job: Job) -> str:
        """Return the batch script and the calls of sbatch, as a shell could run them."""
        try:
            size = self._slurm.max_array_size()
        except LacksError:
            size = USUAL_MAX_ARRAY_SIZE
        return script.description(_absolute(job), self.settings, self.python, size)

    def poll(self, tasks: Sequence[Task]) -> Mapping[Task, TaskState]:
        """Return every task's state by one call of squeue; of sacct too where squeue forgot."""
        handles = _handles(tasks)
        told = self._ask(handles.values())
        states = dict.fromkeys(tasks, TaskState.UNKNOWN)
        lost: dict[Task, Handle] = {}
        for task, handle in handles.items():
            seen = (told or {}).get(handle.name)
            record = handle.record() if seen is None or handle.shared else None
            state = judge(seen, record, told is not None)
            if state is None:
                lost[task] = handle
            else:
                states[task] = state
            if seen is not None:
                self._missing_since.pop(handle.name, None)
        return states | self._judge_lost(lost)

    def details(self, tasks: Sequence[Task]) -> Mapping[Task, TaskDetail]:
        """Return where tasks are and why they wait, from the last poll if it was just now."""
        handles = _handles(tasks)
        wanted = {handle.name for handle in handles.values()}
        fresh = self._told is not None and time.monotonic() - self._told[0] < FRESH_SECONDS
        if self._told is not None and fresh and wanted <= self._told[1]:
            told: dict[str, Seen] | None = self._told[2]
        else:
            told = self._ask(handles.values())
        found = {}
        for task, handle in handles.items():
            seen = (told or {}).get(handle.name)
            if seen is not None:
                found[task] = handle.pointed_out(seen, detail(handle.name, seen))
            elif record := handle.record():
                note = "" if record.code == 0 else f"exit code {record.code}"
                found[task] = TaskDetail(f"{handle.name} on {record.host}", note)
            elif handle.name in cancelled(handle.folder):
                found[task] = TaskDetail(handle.name, "was cancelled")
            else:
                found[task] = TaskDetail(handle.name)
        return found

    def cancel(self, tasks: Sequence[Task]) -> None:
        """Stop the given tasks, those that wait to start again included, by one call of scancel.

        Raises:
            LacksError: Slurm's controller does not answer.
        """
        indexes: dict[str, set[int]] = defaultdict(set)
        folders: dict[Path, set[str]] = defaultdict(set)
        for handle in _handles(tasks).values():
            indexes[handle.job].add(handle.index)
            folders[handle.folder].add(handle.name)
        if not indexes:
            return
        names = [f"{job}_[{script.ranges(found)}]" for job, found in indexes.items()]
        done = self._slurm.run(["scancel", *names])
        # What has ended, or is not known any more, is left alone.
        lines = [s for s in done.stderr.splitlines() if s and "nvalid job id" not in s]
        if done.returncode != 0 and lines and "already complet" not in done.stderr:
            raise refusal("\n".join(lines), self.settings)
        for folder, noted in folders.items():
            with suppress(OSError):  # someone else's folder: it takes longer to be sure then
                note_cancelled(folder, noted)

    def _calls(self, job: Job, max_array_size: int) -> list[script.Call]:
        groups = script.groups(job.ranks, self.settings.ranks_per_task)
        return script.calls([g[0] for g in groups], max_array_size, self.settings.throttle)

    def _ask(self, handles: Iterable[Handle]) -> dict[str, Seen] | None:
        """Return what squeue says of tasks; None if it says nothing of any, for a trouble."""
        wanted = list(handles)
        jobs = sorted({handle.job for handle in wanted}, key=int)
        if not jobs:
            return {}
        words = ["squeue", "-h", "-r", "-t", "all", "-j", ",".join(jobs), "-O", SQUEUE_FIELDS]
        try:
            done = self._slurm.run(words)
        except LacksError:
            return None
        if done.returncode != 0 and "nvalid job id" not in done.stderr:
            return None
        found = parse_squeue(done.stdout)
        for handle in wanted:
            together = found.get(f"{handle.job}_*")
            if together is not None:
                found.setdefault(handle.name, together)
        self._told = (time.monotonic(), frozenset(h.name for h in wanted), found)
        return found

    def _judge_lost(self, lost: Mapping[Task, Handle]) -> dict[Task, TaskState]:
        """Return the states of tasks that neither squeue nor a record knows."""
        accounted = self._accounted({handle.job for handle in lost.values()}) if lost else {}
        states = {}
        now = time.monotonic()
        folders = {handle.folder for handle in lost.values()}
        gone = frozenset(name for folder in folders for name in cancelled(folder))
        for task, handle in lost.items():
            seen = accounted.get(handle.name)
            since = self._missing_since.setdefault(handle.name, now)
            if seen is not None and seen.task_state.ended:
                states[task] = seen.task_state
            elif handle.name in gone or now - since >= GRACE_SECONDS or handle.silent():
                states[task] = TaskState.FAILED
            else:
                states[task] = TaskState.UNKNOWN
        return states

    def _accounted(self, jobs: Iterable[str]) -> dict[str, Seen]:
        try:
            if not self._slurm.has_accounting():
                return {}
            fields = "JobID,State,ExitCode,NodeList"
            words = ["sacct", "-n", "-P", "-X", "-j", ",".join(sorted(jobs)), "-o", fields]
            return parse_sacct(self._slurm.run(words).stdout)
        except LacksError:
            return {}


def _handles(tasks: Sequence[Task]) -> dict[Task, Handle]:
    return {task: handle for task in tasks if (handle := Handle.of(task)) is not None}


def _absolute(job: Job) -> Job:
    return replace(job, log_dir=job.log_dir.absolute())
