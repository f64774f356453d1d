"""`trackverse cancel`: stops what was submitted."""

from __future__ import annotations

from typing import Annotated

import typer

from trackverse_cli.commands.options import Job


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command("cancel")(cancel)


def cancel(
    ctx: typer.Context,
    ranks: Annotated[
        list[int] | None, typer.Argument(help="Only these ranks.", metavar="[RANK]...")
    ] = None,
    job: Job = None,
) -> None:
    """Stop what was submitted.

    Also days later and from another shell. Without --job, every job that has not ended. What was
    finished stays; `submit` goes on with the rest.
    """
    config = ctx.obj.config()
    from loguru import logger

    from trackverse_cli.errors import UsageError
    from trackverse_cli.jobs import executor_of, find_job, load_jobs

    newest = find_job(config.layout, job)
    going = [record for record in load_jobs(config.layout) if not record.ended]
    records = [newest] if job else going
    if not records:
        logger.info("every job has ended")
    for record in records:
        unknown = sorted(set(ranks or ()) - set(record.due))
        if unknown:
            raise UsageError(f"job {record.id} has no rank {unknown[0]}; see `trackverse status`")
        tasks = [task for task in record.tasks if not ranks or task.rank in ranks]
        executor_of(config, record.executor).cancel(tasks)
        logger.info("job {}: {} ranks cancelled", record.id, len(tasks))
