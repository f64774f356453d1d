"""Ranks as processes of this machine, as many at a time as fit, none left behind."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from trackverse_cli.interfaces import Job, Task, TaskDetail, TaskState
from trackverse_local.notes import Notes, end_processes, notes_of, submitter_of, this_process

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

STOPPED_EARLY = 75
GRACE_SECONDS = 4.0
"""A rank finishes or drops the file at hand within three seconds of a signal."""

_PR_SET_PDEATHSIG = 1


@dataclass(slots=True)
class _Rank:
    job: Job
    rank: int
    notes: Notes
    process: subprocess.Popen[bytes] | None = None
    restarts: int = 0
    cancelled: bool = False
    code: int | None = None


@dataclass(slots=True)
class LocalExecutor:
    """Runs at most `slots` ranks at a time; the next one starts when `poll` sees a free slot.

    Another process may poll and cancel too: what it needs is noted in the folder of the logs.

    Attributes:
        slots: ranks at a time; 0 for as many as cores and memory bear.
        memory_gib_per_rank: what one rank may need.
    """

    slots: int
    memory_gib_per_rank: float
    _ranks: dict[Task, _Rank] = field(default_factory=dict)

    def submit(self, job: Job) -> Sequence[Task]:
        """Queue every rank of the job and start as many as fit."""
        tasks = []
        submitter = asdict(this_process())
        for rank in job.ranks:
            handle = json.dumps({"log": str(job.log_path(rank)), "submitter": submitter})
            task = Task("local", rank, handle)
            self._ranks[task] = _Rank(job, rank, Notes(job.log_path(rank)))
            tasks.append(task)
        self._fill()
        return tasks

    def poll(self, tasks: Sequence[Task]) -> Mapping[Task, TaskState]:
        """Return every task's state; start what has room now."""
        for one in self._ranks.values():
            self._reap(one)
        self._fill()
        return {task: self._state(task) for task in tasks}

    def details(self, tasks: Sequence[Task]) -> Mapping[Task, TaskDetail]:
        """Return the process of each task that runs."""
        found = {}
        for task in tasks:
            process = notes_of(task).process()
            if process is not None and process.is_alive:
                found[task] = TaskDetail(f"process {process.pid}")
        return found

    def cancel(self, tasks: Sequence[Task]) -> None:
        """End the given ranks; those that do not end within a few seconds are killed."""
        for task in tasks:
            if task not in self._ranks:
                notes_of(task).cancel()
        chosen = [self._ranks[task] for task in tasks if task in self._ranks]
        for one in chosen:
            one.cancelled = True
            if one.process is not None and one.process.poll() is None:
                one.process.terminate()
        deadline = time.monotonic() + GRACE_SECONDS
        for one in chosen:
            if one.process is not None:
                try:
                    one.process.wait(max(0.0, deadline - time.monotonic()))
                except subprocess.TimeoutExpired:
                    one.process.kill()
                    one.process.wait()
        for one in chosen:
            self._reap(one)
        end_processes([notes_of(task) for task in tasks if task not in self._ranks], deadline)

    def _fill(self) -> None:
        waiting = [o for o in self._ranks.values() if o.process is None and not o.cancelled]
        running = sum(o.process is not None and o.code is None for o in self._ranks.values())
        slots = self.slots or _slots_that_fit(self.memory_gib_per_rank)
        share = max(1, _cores() // max(1, min(slots, running + len(waiting))))
        for one in waiting[: max(0, slots - running)]:
            _start(one, share)

    def _reap(self, one: _Rank) -> None:
        one.cancelled = one.cancelled or one.notes.is_cancelled
        if one.process is None or one.code is not None:
            return
        code = one.process.poll()
        if code is None:
            return
        if code < 0 and not one.cancelled and one.restarts == 0:
            # Killed from outside, most often for memory: once more, then it is the rank's own.
            one.restarts += 1
            one.process = None
        else:
            one.code = code
            one.notes.ended(code)

    def _state(self, task: Task) -> TaskState:
        one = self._ranks.get(task)
        if one is None:
            return _state_elsewhere(task)
        if one.cancelled and one.process is None:
            return TaskState.FAILED
        if one.process is None:
            return TaskState.PENDING
        return TaskState.RUNNING if one.code is None else _state_of(one.code)


def _state_of(code: int) -> TaskState:
    if code == STOPPED_EARLY:
        return TaskState.STOPPED
    return TaskState.SUCCEEDED if code == 0 else TaskState.FAILED


def _state_elsewhere(task: Task) -> TaskState:
    """Return the state of a task that another process of this machine started."""
    notes = notes_of(task)
    code = notes.code()
    if code is not None:
        return _state_of(code)
    process = notes.process()
    if process is not None and process.is_alive:
        return TaskState.RUNNING
    submitter = submitter_of(task)
    if not submitter.is_here:
        return TaskState.UNKNOWN
    if notes.is_cancelled or not submitter.is_alive:
        return TaskState.FAILED
    # Its submitter starts it when a slot is free, or is about to start it again.
    return TaskState.PENDING


def _start(one: _Rank, cores: int) -> None:
    environment = {**os.environ, "TRACKVERSE_EXTRACT__WORKERS": str(cores), **one.job.env}
    path: Path = one.job.log_path(one.rank)
    with path.open("ab") as log:
        one.process = subprocess.Popen(
            one.job.words(one.rank),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
            preexec_fn=_dies_with_parent(),
        )
    one.notes.began(one.process.pid)


def _dies_with_parent() -> Callable[[], None] | None:
    """Return what makes Linux end a rank whose submitter was killed; elsewhere nothing does."""
    if sys.platform != "linux":
        return None
    library = ctypes.CDLL(None)
    parent = os.getpid()

    def ask() -> None:
        library.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            os.kill(os.getpid(), signal.SIGTERM)

    return ask


def _cores() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1


def _slots_that_fit(memory_gib: float) -> int:
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        kib = next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration, ValueError):  # not on macOS
        return _cores()
    return max(1, min(_cores(), int(kib / 2**20 / memory_gib)))
