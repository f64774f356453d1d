"""How long work shows itself: a bar on a terminal, a line now and then in a log."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from trackverse_cli.clock import Clock, SystemClock
from trackverse_cli.log import console

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LINE_SECONDS = 30.0
"""Time between two lines in a log."""


@contextmanager
def progress(
    title: str, total: float, unit: str, clock: Clock | None = None
) -> Iterator[Callable[[float], None]]:
    """Show how far some work is; yield a function that takes the amount done since its last call.

    Args:
        title: what is being done, such as "cutting".
        total: how much there is to do.
        unit: what is counted, in the plural, such as "videos"; "bytes" is shown in MB.
        clock: what to take the time from.
    """
    if console().is_terminal:
        with _bar(title, total, unit) as advance:
            yield advance
    else:
        lines = _Lines(title, total, unit, clock or SystemClock())
        yield lines.advance
        lines.last()


@contextmanager
def _bar(title: str, total: float, unit: str) -> Iterator[Callable[[float], None]]:
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    counted = DownloadColumn() if unit == "bytes" else MofNCompleteColumn()
    columns = (TextColumn("{task.description}"), BarColumn(), counted, TimeRemainingColumn())
    with Progress(*columns, console=console(), transient=True) as bar:
        task = bar.add_task(title if unit == "bytes" else f"{title} {unit}", total=total)
        yield lambda amount: bar.advance(task, amount)


class _Lines:
    def __init__(self, title: str, total: float, unit: str, clock: Clock) -> None:
        self._title, self._total, self._unit, self._clock = title, total, unit, clock
        self._done = 0.0
        self._start = self._next = clock.monotonic()
        self._next += LINE_SECONDS
        self._shown = False

    def advance(self, amount: float) -> None:
        self._done += amount
        if self._clock.monotonic() >= self._next:
            self._next = self._clock.monotonic() + LINE_SECONDS
            self._shown = True
            self._line()

    def last(self) -> None:
        if self._shown:
            self._line()

    def _line(self) -> None:
        from loguru import logger

        spent = self._clock.monotonic() - self._start
        left = spent / self._done * max(0.0, self._total - self._done) if self._done else None
        scale, unit = (1e6, "MB") if self._unit == "bytes" else (1.0, self._unit)
        logger.info(
            "{}: {:,.0f} of {:,.0f} {}{}",
            self._title, self._done / scale, self._total / scale, unit,
            "" if left is None else f", about {duration_text(left)} left",
        )  # fmt: skip


def duration_text(seconds: float) -> str:
    """Return a time span as a person says it: `40 s`, `12 min`, `3.5 h`, `9 days`."""
    for limit, divisor, unit, digits in (
        (90, 1, "s", 0),
        (5400, 60, "min", 0),
        (172800, 3600, "h", 1),
    ):
        if seconds < limit:
            return f"{seconds / divisor:.{digits}f} {unit}"
    return f"{seconds / 86400:.1f} days"


@contextmanager
def byte_progress(title: str) -> Iterator[Callable[[int, int], None]]:
    """Show how much of a file is through; yield a function of (bytes so far, bytes in all)."""
    with ExitStack() as stack:
        advance: Callable[[float], None] | None = None
        shown = 0

        def report(so_far: int, total: int) -> None:
            nonlocal advance, shown
            if advance is None:
                advance = stack.enter_context(progress(title, total, "bytes"))
            advance(so_far - shown)
            shown = so_far

        yield report
