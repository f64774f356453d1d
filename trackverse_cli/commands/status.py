"""`trackverse status`: how submitted jobs stand, rank by rank."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from trackverse_cli.commands.options import AsJson, Job, print_json

if TYPE_CHECKING:
    from trackverse_cli.jobs.status import JobWatch

WATCH_SECONDS = 5.0


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command("status")(status)


def status(
    ctx: typer.Context,
    job: Job = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Stay, and look again every few seconds.")
    ] = False,
    every: Annotated[bool, typer.Option("--all", help="Show every rank, and ended jobs.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show how submitted jobs stand, rank by rank.

    Worst ranks first, with their speed and the time left. Without --job, every job that has not
    ended, or the newest one. A rank is done when it found nothing left to win; it has ended when
    another run may win more.
    """
    config = ctx.obj.config()
    from trackverse_cli.clock import SystemClock
    from trackverse_cli.jobs import find_job, load_jobs
    from trackverse_cli.jobs.status import JobWatch

    layout = config.layout
    newest = find_job(layout, job)
    kept = load_jobs(layout)
    chosen = kept if every else [record for record in kept if not record.ended]
    records = [newest] if job or not chosen else chosen
    watches = [JobWatch(config, record, SystemClock()) for record in records]
    if as_json:
        print_json({"schema": 1, "jobs": [one.look().to_json() for one in watches]})
        return
    _show(watches, watch, every)


def _show(watches: list[JobWatch], stay: bool, every: bool) -> None:
    from rich.console import Console, Group
    from rich.live import Live

    from trackverse_cli.jobs.table import RANKS_SHOWN, job_table

    limit = None if every else RANKS_SHOWN
    screen = Console()
    states = [one.look() for one in watches]
    if not stay:
        for one in states:
            screen.print(job_table(one, limit))
        return
    with Live(console=screen, auto_refresh=False) as live:
        while True:
            live.update(Group(*(job_table(one, limit) for one in states)), refresh=True)
            if all(one.ended for one in states):
                return
            time.sleep(WATCH_SECONDS)
            states = [one.look() for one in watches]
