"""Which ranks are at work already, so that submitting twice does nothing twice."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loguru import logger

from trackverse_cli.errors import TrackverseError
from trackverse_cli.interfaces import TaskState
from trackverse_cli.jobs.record import load_jobs
from trackverse_cli.jobs.start import executor_of
from trackverse_cli.leases import read_attempts

if TYPE_CHECKING:
    from collections.abc import Collection

    from trackverse_cli.config import Config
    from trackverse_cli.jobs.record import JobRecord

_AT_WORK = (TaskState.PENDING, TaskState.RUNNING)


def busy_ranks(config: Config, key: str, ranks: Collection[int]) -> dict[int, str]:
    """Return those of some ranks that a job of the same key runs or will run, with its id.

    A job whose executor cannot be asked is taken at the word of its runs: those that give signs
    of life are at work.

    Args:
        config: the configuration in force.
        key: what the ranks would be asked for.
        ranks: the ranks that have something left to win.
    """
    busy: dict[int, str] = {}
    if not ranks:
        return busy
    alive = {(info.job, info.rank) for info in read_attempts(config.layout.runs)}
    for record in load_jobs(config.layout):
        if record.ended:
            continue
        same = record.key == key
        for rank in _at_work(config, record, alive):
            if same and rank in ranks:
                busy[rank] = record.id
        if not same and any(job == record.id for job, _ in alive):
            logger.info("job {} is at work too; videos that it is at are left to it", record.id)
    return busy


def _at_work(config: Config, record: JobRecord, alive: set[tuple[str, int]]) -> set[int]:
    found = {rank for job, rank in alive if job == record.id}
    try:
        states = executor_of(config, record.executor).poll(record.tasks)
    except (TrackverseError, OSError) as error:
        logger.warning("job {} cannot be asked how it is: {}", record.id, error)
        return found
    return found | {task.rank for task, state in states.items() if state in _AT_WORK}
