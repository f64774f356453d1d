"""`trackverse submit`: the ranks that are not done, to an executor."""

from __future__ import annotations

import shlex
from contextlib import nullcontext
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from trackverse_cli.interfaces import Task, TaskState
    from trackverse_cli.jobs import JobProgress, Plan


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command("submit")(submit)


def submit(
    ctx: typer.Context,
    world_size: Annotated[
        int | None,
        typer.Option(help="How many ranks share the work.", min=1, max=4096, metavar="W"),
    ] = None,
    stage: Annotated[
        str | None,
        typer.Option(help="download-tracks, download-videos or extract-tracks.", metavar="STAGE"),
    ] = None,
    executor: Annotated[
        str | None,
        typer.Option(help="The executor plugin (see `trackverse plugins`).", metavar="NAME"),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the commands, start none.")
    ] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Stay until all ranks have ended.")] = False,
) -> None:
    """Start every rank that has something left to do.

    The local executor stays in the foreground: Ctrl-C ends all its ranks, and the same command
    goes on where they were.
    """
    config = ctx.obj.config(submit__stage=stage)
    from loguru import logger

    from trackverse_cli.jobs import exit_code, job_progress, plan_job, start, watch
    from trackverse_cli.signals import CANCEL_GRACE_SECONDS, stop_on_signals

    chosen = config.settings.submit.stage
    usual_executor, usual_size = config.settings.submit.of_stage(chosen)
    plan = plan_job(config, chosen, executor or usual_executor, world_size or usual_size)
    if dry_run:
        _print_commands(plan)
        return
    if not plan.job.ranks:
        logger.info("every rank of {} is done", plan.job.world_size)
        return
    waits = wait or plan.plugin.foreground
    with (
        stop_on_signals(CANCEL_GRACE_SECONDS),
        job_progress(plan, config.layout) if waits else nullcontext() as shown,
    ):
        running, tasks = start(plan, config)
        logger.info(
            "{} of {} ranks by executor {}; their logs: {}",
            len(tasks), plan.job.world_size, plan.plugin.name, plan.job.log_dir,
        )  # fmt: skip
        if shown is None:
            return
        states = watch(running, tasks, _tell, look=shown.look)
    _print_end(plan, shown)
    raise typer.Exit(exit_code(states))


def _print_commands(plan: Plan) -> None:
    for rank in plan.job.ranks:
        typer.echo(shlex.join(plan.job.words(rank)))
    if not plan.job.ranks:
        typer.echo("# every rank is done", err=True)


def _tell(task: Task, state: TaskState) -> None:
    from loguru import logger

    if state != "pending":
        logger.info("rank {}: {}", task.rank, state.value)


def _print_end(plan: Plan, shown: JobProgress) -> None:
    from loguru import logger

    seen, unit = shown.seen, plan.work[1]
    done, failed = (
        (seen.clips, seen.failed_clips) if unit == "clips" else (seen.videos, seen.failed_videos)
    )
    logger.info("{}: {:,} done, {:,} failed", unit, done, failed)
    logger.info("all ranks have ended; `trackverse verify` says what is complete")
    logger.debug("logs: {}", plan.job.log_dir)
