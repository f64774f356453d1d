"""`trackverse submit`: the ranks that are not done, to an executor."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Annotated

import typer

from trackverse_cli.commands.options import Order, Retry, split_reasons

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trackverse_cli.config import Config
    from trackverse_cli.interfaces import Task, TaskState
    from trackverse_cli.jobs import JobProgress, Plan, Started


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
    order: Order = None,
    retry: Retry = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the commands, start none.")
    ] = False,
    wait: Annotated[
        bool, typer.Option("--wait", help="Stay until all ranks have ended, then verify.")
    ] = False,
    follow: Annotated[
        bool | None,
        typer.Option("--follow", help="extract-tracks takes videos as another job brings them."),
    ] = None,
) -> None:
    """Start every rank that has something left to do.

    Ranks that are at work already are left to it. The local executor stays in the foreground:
    Ctrl-C ends all its ranks, and the same command goes on where they were. With others the
    command returns; `status` shows how they fare. --wait shows that too, and ends with the exit
    code of `verify`.
    """
    config = ctx.obj.config(
        submit__stage=stage,
        download__order=order,
        download__retry=split_reasons(retry),
        **{"submit__extract-tracks__follow": follow},
    )
    from loguru import logger

    from trackverse_cli.jobs import exit_code, plan_job, start
    from trackverse_cli.jobs.plan import tell_busy
    from trackverse_cli.signals import CANCEL_GRACE_SECONDS, stop_on_signals

    chosen = config.settings.submit.stage
    usual_executor, usual_size = config.settings.submit.of_stage(chosen)
    plan = plan_job(
        config, chosen, executor or usual_executor, world_size or usual_size, dry_run=dry_run
    )
    tell_busy(plan)
    _tell_pace(plan, config)
    if dry_run:
        _print_commands(plan, config)
        return
    if not plan.job.ranks:
        if not plan.busy:
            logger.info("every rank of {} is done", plan.job.world_size)
        raise typer.Exit(_verified(config) if wait and not plan.busy else 0)
    waits = wait or plan.plugin.foreground
    with stop_on_signals(CANCEL_GRACE_SECONDS):
        running = start(plan, config)
        logger.info(
            "{} of {} ranks by executor {}; their logs: {}",
            len(running.tasks), plan.job.world_size, plan.plugin.name, plan.job.log_dir,
        )  # fmt: skip
        if not waits:
            logger.info("`trackverse status --watch` shows how they fare")
            return
        states = _wait(plan, config, running)
        if wait:
            raise typer.Exit(_verified(config))
    raise typer.Exit(exit_code(states))


def _wait(plan: Plan, config: Config, running: Started) -> Mapping[Task, TaskState]:
    """Show how the job is until every rank has ended."""
    from trackverse_cli.jobs import job_progress, watch
    from trackverse_cli.jobs.follow import FAR_POLL_SECONDS, POLL_SECONDS
    from trackverse_cli.jobs.live import live_table
    from trackverse_cli.log import console

    near = plan.plugin.foreground
    poll_seconds = POLL_SECONDS if near else FAR_POLL_SECONDS
    if console().is_terminal:
        with live_table(config, running) as look:
            return watch(
                running.executor, running.tasks, _tell, look=look, poll_seconds=poll_seconds,
                cancels=near,
            )  # fmt: skip
    with job_progress(plan, config.layout) as shown:
        states = watch(
            running.executor, running.tasks, _tell, look=shown.look, poll_seconds=poll_seconds,
            cancels=near,
        )  # fmt: skip
    _print_end(plan, shown)
    return states


def _verified(config: Config) -> int:
    """Print what `verify` finds and return its exit code."""
    from trackverse_cli.audit import audit, record_damage
    from trackverse_cli.commands.reports import print_audit
    from trackverse_cli.probe import Level

    found = audit(config, Level.PROBE)
    record_damage(config, found)
    print_audit(found, config, None, None)
    return 0 if found.complete else 1


def _tell_pace(plan: Plan, config: Config) -> None:
    """Say how many ranks the pace can feed, if it is fewer than there are."""
    from loguru import logger

    from trackverse_cli.pacing import UNPACED_VIDEOS_PER_HOUR, proxies_of, videos_per_hour

    hourly = videos_per_hour(config) * len(proxies_of(config))
    videos = sum(videos for videos, _ in plan.due.values())
    if plan.stage == "extract-tracks" or not videos or hourly >= UNPACED_VIDEOS_PER_HOUR:
        return
    from trackverse_cli.machine import usable_cores
    from trackverse_cli.pace import feeding_sentence

    cost = plan.catalog.costs[sorted(plan.rows)].mean()
    cores = config.settings.extract.workers or usable_cores()
    logger.info("{}", feeding_sentence(hourly, float(cost), cores, len(plan.job.ranks)))


def _print_commands(plan: Plan, config: Config) -> None:
    from trackverse_cli.interfaces import DescribesJobs
    from trackverse_cli.jobs import executor_of

    if not plan.job.ranks:
        typer.echo("# every rank is done or at work", err=True)
        return
    executor = executor_of(config, plan.plugin.name)
    if isinstance(executor, DescribesJobs):
        typer.echo(executor.describe(plan.job).rstrip("\n"))
        return
    for rank in plan.job.ranks:
        typer.echo(shlex.join(plan.job.words(rank)))


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
