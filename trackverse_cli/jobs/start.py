"""A planned job handed to its executor, and kept."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import msgspec

from trackverse_cli import plugins
from trackverse_cli.clock import Clock, SystemClock
from trackverse_cli.errors import UsageError
from trackverse_cli.files import make_folder
from trackverse_cli.jobs.frozen import freeze
from trackverse_cli.jobs.record import JobRecord, save_job

if TYPE_CHECKING:
    from trackverse_cli.config import Config
    from trackverse_cli.interfaces import Executor, Job, Task
    from trackverse_cli.jobs.plan import Plan


@dataclass(frozen=True, slots=True)
class Started:
    """A job that was handed to its executor.

    Attributes:
        executor: who runs it.
        tasks: one for each rank.
        record: what is kept of it.
    """

    executor: Executor
    tasks: list[Task]
    record: JobRecord


def executor_of(config: Config, name: str) -> Executor:
    """Return the executor of a name with its settings.

    Raises:
        UsageError: there is none, or its settings are wrong.
        LacksError: it does not work on this machine.
    """
    plugin = plugins.choose_executor(name)
    own = plugins.plugin_settings(config, "executor", name, plugin.settings)
    return plugin.create(own)


def start(plan: Plan, config: Config, clock: Clock | None = None) -> Started:
    """Freeze the configuration, hand the job to its executor, and keep what it answered.

    Raises:
        UsageError: a folder cannot be made, or the executor's settings are wrong.
        LacksError: what the executor needs is not there.
    """
    layout = config.layout
    executor = executor_of(config, plan.plugin.name)
    layout.check_own(layout.jobs / plan.id, plan.job.log_dir)
    make_folder(plan.job.log_dir, "the folder of the logs")
    secrets = freeze(config, layout.jobs / plan.id)
    job = replace(plan.job, env=dict(plan.job.env) | secrets)
    record = JobRecord(
        id=plan.id, time=(clock or SystemClock()).time(), stage=plan.stage,
        executor=plan.plugin.name, world_size=job.world_size, key=plan.key,
        metadata=plan.catalog.name, log_dir=str(job.log_dir), command=list(job.command),
        due=plan.due,
    )  # fmt: skip
    # Kept before it is started too: what a killed submitter had started can then be found.
    save_job(layout, record)
    tasks = list(_submitted(executor, job, plan.plugin.name))
    record = msgspec.structs.replace(record, tasks=tasks)
    save_job(layout, record)
    return Started(executor, tasks, record)


def _submitted(executor: Executor, job: Job, name: str) -> list[Task]:
    tasks = list(executor.submit(job))
    if sorted(task.rank for task in tasks) != sorted(job.ranks):
        raise UsageError(
            f"executor '{name}' returned tasks for ranks "
            f"{sorted(task.rank for task in tasks)}, not for those that it was given"
        )
    return tasks
