"""From `submit` to an executor: which ranks are not done, and the command that each runs."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from trackverse_cli import plugins
from trackverse_cli.audit import audit, due_ranks
from trackverse_cli.catalog import FROZEN_VARIABLE, Catalog, open_catalog
from trackverse_cli.clock import Clock, SystemClock, utc_text
from trackverse_cli.errors import UsageError
from trackverse_cli.files import make_folder
from trackverse_cli.interfaces import Executor, ExecutorPlugin, Job, Task, TaskState
from trackverse_cli.ledger import Followed, LedgerFollower
from trackverse_cli.probe import Level
from trackverse_cli.progress import progress
from trackverse_cli.worklist import State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from trackverse_cli.config import Config
    from trackverse_cli.layout import Layout
    from trackverse_cli.settings import Stage

POLL_SECONDS = 0.5

LOOK_SECONDS = 1.0
"""Time between two looks at the ledger of a running job, and longer where a look takes long."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What `submit` would start.

    Attributes:
        job: the job; its ranks are those that are not done.
        plugin: the executor that would run it.
        stage: the command that each rank runs.
        catalog: what the job works on.
        rows: the videos that have something left to win, by row of the catalogue.
        clips: the clips that have not been won yet.
    """

    job: Job
    plugin: ExecutorPlugin
    stage: Stage
    catalog: Catalog
    rows: frozenset[int]
    clips: int

    @property
    def work(self) -> tuple[int, str]:
        """How much there is to do, and of what: `clips`, or `videos` where none are cut."""
        if self.stage == "download-videos":
            return len(self.rows), "videos"
        return self.clips, "clips"

    def clips_by_video(self) -> dict[str, int]:
        """Return video id -> its selected clips, for the videos of the job."""
        counts: dict[str, int] = {}
        for table in self.catalog.clips(np.array(sorted(self.rows), dtype=np.int64)):
            rows, numbers = np.unique(table["video_row"].to_numpy(), return_counts=True)
            for row, number in zip(rows.tolist(), numbers.tolist(), strict=True):
                video_id = self.catalog.video_ids[row]
                counts[video_id] = counts.get(video_id, 0) + number
        return counts


def plan_job(
    config: Config, stage: Stage, executor: str, world_size: int, clock: Clock | None = None
) -> Plan:
    """Find the ranks that have something left to win, and the command for them.

    Raises:
        UsageError: no usable index, or no such executor.
        LacksError: the executor does not work on this machine.
    """
    plugin = plugins.choose_executor(executor)
    layout = config.layout
    catalog = open_catalog(config)
    found = audit(config, Level.PRESENCE)
    rows = found.due_rows
    if stage == "download-videos":
        rows = {row for row in rows if layout.find_video(catalog.video_ids[row]) is None}
    ranks = tuple(due_ranks(catalog, rows, world_size))
    stamp = utc_text((clock or SystemClock()).time()).replace("-", "").replace(":", "")
    log_dir = layout.logs / f"{stamp}-{stage}-{os.getpid()}"
    words = [sys.executable, "-m", "trackverse_cli"]
    if config.file is not None:
        words += ["--config", str(config.file.absolute())]
    words += ["--root", str(layout.root), *catalog_words(config, catalog), stage]
    env = {FROZEN_VARIABLE: catalog.key} if catalog.key else {}
    if config.settings.extract.workers:
        env["TRACKVERSE_EXTRACT__WORKERS"] = str(config.settings.extract.workers)
    job = Job(f"trackverse-{stage}", tuple(words), world_size, ranks, log_dir, env)
    due = found.clips.states[State.MISSING] + found.clips.states[State.DAMAGED]
    return Plan(job, plugin, stage, catalog, frozenset(rows), due)


def catalog_words(config: Config, catalog: Catalog) -> list[str]:
    """Return the options by which another process opens the same catalogue."""
    words = [word for name in catalog.names for word in ("--meta", name)]
    if config.settings.dataset.select:
        words += ["--select", config.settings.dataset.select]
    for key, value in config.selection_flags.items():
        option = "--" + key.replace("_", "-")
        if value is True:
            words.append(option)
        else:
            words += [option, ",".join(value) if isinstance(value, list) else str(value)]
    return words


def start(plan: Plan, config: Config) -> tuple[Executor, list[Task]]:
    """Hand the job to its executor; return the executor and a task for each rank.

    Raises:
        UsageError: the log folder cannot be made, or the executor's settings are wrong.
        LacksError: what the executor needs is not there.
    """
    own = plugins.plugin_settings(config, "executor", plan.plugin.name, plan.plugin.settings)
    executor = plan.plugin.create(own)
    make_folder(plan.job.log_dir, "the folder of the logs")
    tasks = list(executor.submit(plan.job))
    if sorted(task.rank for task in tasks) != sorted(plan.job.ranks):
        raise UsageError(
            f"executor '{plan.plugin.name}' returned tasks for ranks "
            f"{sorted(task.rank for task in tasks)}, not for those that it was given"
        )
    return executor, tasks


def watch(
    executor: Executor,
    tasks: list[Task],
    changed: Callable[[Task, TaskState], None],
    clock: Clock | None = None,
    look: Callable[[], object] | None = None,
) -> Mapping[Task, TaskState]:
    """Poll until every task has ended; return their last states.

    `look` is called after every poll. An exception (Ctrl-C among them) cancels all tasks before
    it goes on.
    """
    clock = clock or SystemClock()
    known: dict[Task, TaskState] = {}
    try:
        while True:
            states = executor.poll(tasks)
            for task, state in states.items():
                if known.get(task) != state:
                    known[task] = state
                    changed(task, state)
            if look is not None:
                look()
            if all(states[task].ended for task in tasks):
                return states
            clock.sleep(POLL_SECONDS)
    except BaseException:
        executor.cancel(tasks)
        raise


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
        counts = plan.clips_by_video() if self._unit == "clips" else {}
        self._follower = LedgerFollower(layout, plan.stage, plan.job.world_size, counts)
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
