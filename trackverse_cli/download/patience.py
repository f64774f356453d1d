"""Waiting that ends when it is told to: between attempts, and for a host that says nothing."""

from __future__ import annotations

import random
import signal
import threading
from typing import TYPE_CHECKING, Final, TypeVar

from trackverse_cli.errors import StoppedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from trackverse_cli.clock import Clock

FIRST_WAIT_SECONDS: Final = 1.0
LONGEST_WAIT_SECONDS: Final = 60.0
"""A host that asks for more than this is not waited for; the error says how long it asked."""

_JITTER_SHARE = 0.5
_STEP_SECONDS = 0.25
_GRACE_SECONDS = 1.5

T = TypeVar("T")


def backoff_seconds(attempt: int) -> float:
    """Return the wait after a failed attempt, counted from 1: 1 s, doubling, up to half more."""
    wait = FIRST_WAIT_SECONDS * 2.0 ** (attempt - 1)
    jitter = random.uniform(1.0, 1.0 + _JITTER_SHARE)  # noqa: S311 - so that ranks do not march in step
    return min(LONGEST_WAIT_SECONDS, wait * jitter)


class Patience:
    """Waits that see `stop` within a quarter of a second.

    Args:
        clock: what sleeps.
        stop: set by somebody else when all has to end, or None.
    """

    def __init__(self, clock: Clock, stop: threading.Event | None) -> None:
        self.clock = clock
        self._stop = stop

    def check(self) -> None:
        """Go on, or not.

        Raises:
            StoppedError: `stop` is set.
        """
        if self._stop is not None and self._stop.is_set():
            raise StoppedError(signal.SIGTERM)

    def wait(self, seconds: float) -> None:
        """Return after `seconds`.

        Raises:
            StoppedError: `stop` was set meanwhile.
        """
        while seconds > 0:
            self.check()
            step = min(seconds, _STEP_SECONDS)
            self.clock.sleep(step)
            seconds -= step
        self.check()

    def do(
        self, work: Callable[[], T], left_behind: Callable[[], None], watch: Callable[[], None]
    ) -> T:
        """Return what `work` returns, or raise what it raises.

        Args:
            work: done on a thread of its own, for a read from a silent host cannot be interrupted.
            left_behind: called if that thread could not end in time; it still uses what it used.
            watch: called four times a second meanwhile.

        Raises:
            StoppedError: `stop` was set, and `work` did not end within two seconds.
        """
        results: list[T] = []
        errors: list[BaseException] = []

        def run() -> None:
            try:
                results.append(work())
            except BaseException as error:  # noqa: BLE001 - raised again by the thread that waits
                errors.append(error)

        thread = threading.Thread(target=run, daemon=True, name="download")
        thread.start()
        while thread.is_alive() and not (self._stop is not None and self._stop.is_set()):
            thread.join(_STEP_SECONDS)
            watch()
        thread.join(_GRACE_SECONDS)
        if thread.is_alive():
            left_behind()
            raise StoppedError(signal.SIGTERM)
        if errors:
            raise errors[0]
        return results[0]
