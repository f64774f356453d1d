"""What an executor plugin implements: it starts the ranks of a job somewhere."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from pydantic import BaseModel


class TaskState(StrEnum):
    """What an executor knows of a task; the ledger, not this, says whether a rank is done."""

    PENDING = "pending"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    STOPPED = "stopped"
    """Ended early with exit code 75: throttled, or storage full; to be run again later."""
    UNKNOWN = "unknown"

    @property
    def ended(self) -> bool:
        """Whether the task will not change by itself any more."""
        return self in (TaskState.SUCCEEDED, TaskState.FAILED, TaskState.STOPPED)


@dataclass(frozen=True, slots=True)
class Job:
    """One submission: the same command for each of several ranks.

    An executor runs `command --rank R --world-size W` for every R of `ranks`, and nothing else;
    any rank can be run again by hand.

    Attributes:
        name: a short name for people and schedulers, of `A-Za-z0-9.-`.
        command: the command without rank and world size, as a list of words.
        world_size: the number of ranks that the whole work is split into.
        ranks: the ranks to run, each in [0, world_size).
        log_dir: an existing folder; the output of rank R goes to `rank-RRRR.log` in it.
        env: variables to add to the environment of every rank.
        root: the dataset folder that the command works on, as this machine sees it; words of
            the command that are this path or lie below it are the same folder elsewhere.
        needs_gpu: whether a rank wants a GPU; a scheduler reserves none otherwise.
        delay_seconds: no rank is to start before so many seconds from now.
    """

    name: str
    command: tuple[str, ...]
    world_size: int
    ranks: tuple[int, ...]
    log_dir: Path
    env: Mapping[str, str] = field(default_factory=dict)
    root: Path | None = None
    needs_gpu: bool = False
    delay_seconds: float = 0.0

    def words(self, rank: int) -> list[str]:
        """Return the whole command of one rank."""
        return [*self.command, "--rank", str(rank), "--world-size", str(self.world_size)]

    def log_path(self, rank: int) -> Path:
        """Return the log file of one rank."""
        return self.log_dir / f"rank-{rank:04d}.log"


@dataclass(frozen=True, slots=True)
class Task:
    """One rank of a submitted job. It can be written as JSON and polled days later.

    Attributes:
        executor: the name of the executor that made it.
        rank: the rank that it runs.
        handle: what the executor needs to find it again, as text of its own.
    """

    executor: str
    rank: int
    handle: str


@dataclass(frozen=True, slots=True)
class TaskDetail:
    """What a person wants to know of a task beside its state.

    Attributes:
        place: the host, or the scheduler's own name of the task; empty if not known.
        note: why it waits or what became of it, in a few words; empty if there is nothing to say.
    """

    place: str = ""
    note: str = ""


@runtime_checkable
class Executor(Protocol):
    """Starts ranks somewhere and says how they fare."""

    def submit(self, job: Job) -> Sequence[Task]:
        """Start, or queue, every rank of `job`; return one task for each, in their order.

        Raises:
            LacksError: what this executor needs is not there.
        """
        ...

    def poll(self, tasks: Sequence[Task]) -> Mapping[Task, TaskState]:
        """Return the state of every given task; also from another process than `submit`."""
        ...

    def cancel(self, tasks: Sequence[Task]) -> None:
        """Stop the given tasks; ended ones are left alone."""
        ...


@runtime_checkable
class DescribesJobs(Protocol):
    """An executor that may also show what it would start; `submit --dry-run` prints it."""

    def describe(self, job: Job) -> str:
        """Return, as text that a person can read and run, what `submit` would start."""
        ...


@runtime_checkable
class DetailsTasks(Protocol):
    """An executor that may also say where tasks are; `status` shows it."""

    def details(self, tasks: Sequence[Task]) -> Mapping[Task, TaskDetail]:
        """Return what is known of the given tasks, as cheaply as `poll`; some may be left out."""
        ...


@runtime_checkable
class CollectsResults(Protocol):
    """An executor whose ranks may work on another folder than the job's root."""

    def collect(self, tasks: Sequence[Task]) -> None:
        """Bring into the job's root what the given tasks have done so far: clips and ledgers.

        Called when tasks have ended, and now and then before; what was brought is not brought
        again.

        Raises:
            LacksError: a place cannot be reached; the next call tries again.
        """
        ...


@dataclass(frozen=True, slots=True)
class ExecutorPlugin:
    """An executor as a plugin offers it.

    Attributes:
        name: what `--executor` and `[submit] executor` call it.
        summary: one line for `trackverse plugins`.
        settings: the pydantic model of `[executor.<name>]`; every field has a default.
        create: makes the executor from its validated settings.
        unavailable: says in one sentence why it cannot work on this machine, or None.
        foreground: whether tasks live only as long as the process that submitted them, so that
            `submit` has to stay.
    """

    name: str
    summary: str
    settings: type[BaseModel]
    create: Callable[[Any], Executor]
    unavailable: Callable[[], str | None] = lambda: None
    foreground: bool = False
