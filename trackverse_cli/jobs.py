"""From `submit` to an executor: which ranks are not done, and the command that each runs."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trackverse_cli import plugins
from trackverse_cli.audit import audit, due_ranks
from trackverse_cli.catalog import FROZEN_VARIABLE, Catalog, open_catalog
from trackverse_cli.clock import Clock, SystemClock, utc_text
from trackverse_cli.errors import UsageError
from trackverse_cli.files import make_folder
from trackverse_cli.interfaces import Executor, ExecutorPlugin, Job, Task, TaskState
from trackverse_cli.probe import Level

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from trackverse_cli.config import Config
    from trackverse_cli.settings import Stage

POLL_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Plan:
    """What `submit` would start.

    Attributes:
        job: the job; its ranks are those that are not done.
        plugin: the executor that would run it.
    """

    job: Job
    plugin: ExecutorPlugin


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
    return Plan(job, plugin)


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
) -> Mapping[Task, TaskState]:
    """Poll until every task has ended; return their last states.

    An exception (Ctrl-C among them) cancels all tasks before it goes on.
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
            if all(states[task].ended for task in tasks):
                return states
            clock.sleep(POLL_SECONDS)
    except BaseException:
        executor.cancel(tasks)
        raise


def exit_code(states: Mapping[Task, TaskState]) -> int:
    """Return what a job's end means: 75 if a rank stopped early, 1 if one failed, else 0."""
    if any(state is TaskState.STOPPED for state in states.values()):
        return 75
    return 0 if all(state is TaskState.SUCCEEDED for state in states.values()) else 1
