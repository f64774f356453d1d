"""A table on the terminal that follows a job."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from trackverse_cli.clock import SystemClock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from trackverse_cli.config import Config
    from trackverse_cli.jobs import Started

LOOK_SECONDS = 1.0


@contextmanager
def live_table(config: Config, running: Started) -> Iterator[Callable[[], None]]:
    """Show a job's table while its ranks run; yield a function that brings it up to date."""
    from rich.live import Live

    from trackverse_cli.jobs.status import JobWatch
    from trackverse_cli.jobs.table import job_table
    from trackverse_cli.log import console

    clock = SystemClock()
    job = JobWatch(config, running.record, clock, running.executor)
    looked = clock.monotonic()

    with Live(console=console(), auto_refresh=False) as live:

        def look(at_once: bool = False) -> None:
            nonlocal looked
            if at_once or clock.monotonic() - looked >= LOOK_SECONDS:
                live.update(job_table(job.look()), refresh=True)
                looked = clock.monotonic()

        look(at_once=True)
        yield look
        look(at_once=True)
