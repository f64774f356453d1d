"""Time that a test can replace: weeks are simulated by handing in another `Clock`."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """What the rest of the program asks for the time and for a pause."""

    def time(self) -> float:
        """Return the wall clock in seconds since 1970, UTC."""
        ...

    def monotonic(self) -> float:
        """Return seconds that only ever grow, from an unspecified start."""
        ...

    def sleep(self, seconds: float) -> None:
        """Return after `seconds`."""
        ...


class SystemClock:
    """The machine's own clock."""

    def time(self) -> float:
        """Return the wall clock in seconds since 1970, UTC."""
        return time.time()

    def monotonic(self) -> float:
        """Return seconds that only ever grow, from an unspecified start."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Return after `seconds`."""
        time.sleep(seconds)


def local_text(seconds: float) -> str:
    """Return a wall-clock time in seconds as a person here reads it: `Sun 2026-11-22 15:30`."""
    return datetime.fromtimestamp(seconds, UTC).astimezone().strftime("%a %Y-%m-%d %H:%M")


def utc_text(seconds: float) -> str:
    """Return a wall-clock time in seconds as `2026-11-22T15:30:00Z`."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
