"""A job while its ranks run: polled, shown, ended with its submitter."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from loguru import logger

from trackverse_cli.clock import Clock, SystemClock
from trackverse_cli.errors import LacksError
from trackverse_cli.interfaces import CollectsResults, Executor, Task, TaskState
from trackverse_cli.ledger import Followed, LedgerFollower
from trackverse_cli.progress import progress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from trackverse_cli.jobs.plan import Plan
    from trackverse_cli.layout import Layout

POLL_SECONDS = 0.5

FAR_POLL_SECONDS = 5.0
"""The same for an executor of a cluster, whose scheduler serves others too."""

BRING_SECONDS = 60.0
"""Time between two fetches of what ranks did on another machine's disk."""

LOOK_SECONDS = 1.0
"""Time between two looks at the ledger of a running job, and longer where a look takes long."""


def watch(
    executor: Executor,
    tasks: list[Task],
    changed: Callable[[Task, TaskState], None],
    clock: Clock | None = None,
    look: Callable[[], object] | None = None,
    poll_seconds: float = POLL_SECONDS,
    cancels: bool = True,
) -> Mapping[Task, TaskState]:
    """Poll until every task has ended; return their last states.

    Args:
        executor: who runs them.
        tasks: what to wait for.
        changed: is told of each new state.
        clock: what waits.
        look: called after every poll.
        poll_seconds: time between two polls, and longer where a poll takes long.
        cancels: whether an exception (Ctrl-C among them) cancels all tasks before it goes on.
    """
    clock = clock or SystemClock()
    known: dict[Task, TaskState] = {}
    next_bring = clock.monotonic() + BRING_SECONDS
    try:
        while True:
            begun = clock.monotonic()
            states = executor.poll(tasks)
            for task, state in states.items():
                if known.get(task) != state:
                    known[task] = state
                    changed(task, state)
            over = all(states[task].ended for task in tasks)
            if over or begun >= next_bring:
                next_bring = begun + BRING_SECONDS
                bring(executor, tasks)
            if look is not None:
                look()
            if over:
                return states
            clock.sleep(max(poll_seconds, 5 * (clock.monotonic() - begun)))
    except BaseException:
        if cancels:
            executor.cancel(tasks)
        raise


def bring(executor: Executor, tasks: Sequence[Task]) -> None:
    """Bring what ranks did elsewhere into the dataset folder, where the executor has to."""
    if isinstance(executor, CollectsResults):
        try:
            executor.collect(tasks)
        except LacksError as error:
            logger.warning("{}", error)


class JobProgress:
    """How far a job's ranks are, as their ledgers tell.

    Args:
        plan: the job; made before it is started, or what its ranks do first is missed.
        layout: the dataset folder.
        advance: takes the amount done since its last call.
        clock: what to take the time from.
    """

    def __init__(
        self, plan: Plan, layout: Layout, advance: Callable[[float], None], clock: Clock
    ) -> None:
        self._total, self._unit = plan.work
        self._follower = LedgerFollower(layout, plan.id)
        self._advance = advance
        self._clock = clock
        self._next = clock.monotonic()
        self._shown = 0
        self.seen = Followed()

    def look(self, at_once: bool = False) -> Followed:
        """Show what has been done, looking now and then only; return the counts so far."""
        begun = self._clock.monotonic()
        if begun >= self._next or at_once:
            # A file server that stumbles must not end the job; the next look sees more.
            with suppress(OSError):
                self.seen = self._follower.look()
            spent = self._clock.monotonic() - begun
            self._next = begun + max(LOOK_SECONDS, 20 * spent)
        # A video that fails takes its clips along, also those that were there before.
        done = min(self._total, self._done())
        self._advance(done - self._shown)
        self._shown = done
        return self.seen

    def _done(self) -> int:
        if self._unit == "videos":
            return self.seen.videos + self.seen.failed_videos
        return self.seen.clips + self.seen.failed_clips


@contextmanager
def job_progress(plan: Plan, layout: Layout, clock: Clock | None = None) -> Iterator[JobProgress]:
    """Show how far a job is while its ranks run elsewhere; enter it before they are started."""
    clock = clock or SystemClock()
    total, unit = plan.work
    with progress(plan.stage, total, unit, clock) as advance:
        shown = JobProgress(plan, layout, advance, clock)
        yield shown
        shown.look(at_once=True)


def exit_code(states: Mapping[Task, TaskState]) -> int:
    """Return what a job's end means: 75 if a rank stopped early, 1 if one failed, else 0."""
    if any(state is TaskState.STOPPED for state in states.values()):
        return 75
    return 0 if all(state is TaskState.SUCCEEDED for state in states.values()) else 1
