"""How fast this process may ask, together with all others that leave through the same address."""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING, Final, Protocol, Self

from loguru import logger

from trackverse_cli.clock import Clock, SystemClock
from trackverse_cli.errors import LacksError, StoppedError, TrackverseError
from trackverse_cli.pace.board import read_board
from trackverse_cli.pace.diagnosis import Outcome
from trackverse_cli.pace.folder import Folder, SharedTime
from trackverse_cli.pace.health import BEAT_EVERY_SECONDS, Course, Health, Verdict
from trackverse_cli.pace.line import Line
from trackverse_cli.pace.names import folder_name
from trackverse_cli.pace.terms import broken_sentence
from trackverse_cli.pace.throttle import Throttle
from trackverse_cli.pace.waiter import Grant, Waiter

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from trackverse_cli.pace.folder import TimeSource
    from trackverse_cli.pace.terms import Terms

PAUSE_SECONDS: Final = 3.0
"""How soon a pause is seen to begin or end."""


class Patient(Protocol):
    """Something that waits, and ends the wait by an error of its own when all has to end."""

    def wait(self, seconds: float) -> None:
        """Return after `seconds`, or raise."""
        ...


class Pace:
    """One process's part in an egress's pace; its threads share it.

    Use it as a context manager, or `close` it: a thread of its own tells the others when its last
    turn is over.

    Args:
        directory: the folder of all egresses; every process that shares the address sees it.
        egress: the address's name.
        account: `account_tag` of the cookies, "" for a guest.
        terms: rates and limits.
        mark: returns `mark_of` the current tool and cookies; asked again each time.
        worked_before: returns a video that this dataset's ledger knows to have come, or None.
        clock: what sleeps and measures.
        shared_time: what cool-downs are dated by; the file server's clock unless given.
        background: without the thread, somebody calls `tend`.
    """

    def __init__(
        self,
        directory: Path,
        egress: str,
        account: str,
        terms: Terms,
        *,
        mark: Callable[[], str] = lambda: "0" * 8,
        worked_before: Callable[[], str | None] = lambda: None,
        clock: Clock | None = None,
        shared_time: TimeSource | None = None,
        background: bool = True,
    ) -> None:
        self.name = folder_name(egress, account)
        self.terms = terms
        self._clock = clock or SystemClock()
        self.folder = Folder(directory / self.name)
        time = shared_time or SharedTime(self.folder, self._clock)
        self.throttle = Throttle(self.name, self.folder, time, terms, self._clock)
        self._line = Line(self.folder, terms.rate, self._clock)
        self.health = Health(
            self.folder, time, self._clock, terms.broken_in_a_row, mark, worked_before
        )
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None
        self._background = background

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let the thread go; turns taken stay taken."""
        self._closed.set()
        self._wake.set()

    def take(self, stop: Patient | threading.Event | None = None) -> Grant:
        """Return when one request may go out; send it at once.

        Raises:
            StoppedError: `stop` was set meanwhile.
            TryLaterError: a cool-down longer than a rank waits, or a full disk.
            TrackverseError: the folder cannot be used.
        """
        waiter = Waiter(self._line)
        try:
            while True:
                view = waiter.look()
                pause = self.throttle.pause_seconds(view.board)
                turn = min(pause, PAUSE_SECONDS) if pause > 0 else waiter.step(view)
                if isinstance(turn, Grant):
                    self._tend_later()
                    return turn
                self.wait(turn, stop)
        except TrackverseError:
            self.health.give_up_trial()
            raise
        finally:
            waiter.leave()

    def wait(self, seconds: float, stop: Patient | threading.Event | None) -> None:
        """Return after `seconds`.

        Raises:
            StoppedError: `stop` was set meanwhile.
        """
        if stop is None:
            self._clock.sleep(seconds)
        elif not isinstance(stop, threading.Event):
            stop.wait(seconds)
        elif stop.wait(seconds):
            raise StoppedError(signal.SIGTERM)

    def cool_down_seconds(self) -> float:
        """Return the seconds until the egress's cool-down ends; 0 if there is none.

        Raises:
            TrackverseError: the folder cannot be used.
        """
        return self.throttle.left_seconds(read_board(self.folder.names()))

    def free_in_seconds(self) -> float:
        """Return roughly when a newcomer could send: after the cool-down and those who wait.

        Raises:
            TrackverseError: the folder cannot be used.
        """
        view = self._line.look()
        pause = self.throttle.left_seconds(view.board)
        due = max(0.0, view.due - self._clock.monotonic())
        return max(pause, due) + len(view.alive) * self.terms.rate.interval_seconds

    def throttled(self, retry_after_seconds: float | None = None) -> None:
        """Start a cool-down for all, or lengthen the one in force.

        Raises:
            TrackverseError: the folder cannot be used.
        """
        self.throttle.throttled(retry_after_seconds)

    def note(
        self, outcome: Outcome, video_id: str, retry_after_seconds: float | None = None
    ) -> None:
        """Take down how a request ended.

        Raises:
            TrackverseError: the folder cannot be used.
        """
        if outcome is Outcome.THROTTLED:
            self.throttled(retry_after_seconds)
        elif outcome is Outcome.OK:
            self.throttle.answered()
        self.health.note(outcome, video_id)

    def verdict(self) -> Verdict:
        """Return whether to go on, wait, try a video that worked before, or end.

        Raises:
            TrackverseError: the folder cannot be used.
        """
        verdict = self.health.verdict()
        if verdict.course is Course.PROBE:
            self._tend_later()
        return verdict

    def ready(self, stop: Patient | threading.Event | None = None) -> str | None:
        """Return once the fleet is well: None, or the id of a video that this rank tries first.

        Whoever gets an id must `take` a turn for it and `note` how it ended, like any other.

        Raises:
            LacksError: the video that worked before failed too; the message names what to do.
            StoppedError: `stop` was set meanwhile.
            TrackverseError: the folder cannot be used.
        """
        while True:
            self.wait(0.0, stop)
            verdict = self.verdict()
            if verdict.course is Course.GO:
                return None
            if verdict.course is Course.PROBE:
                return verdict.video_id
            if verdict.course is Course.BROKEN:
                raise LacksError(broken_sentence(verdict))
            self.wait(PAUSE_SECONDS, stop)

    def tend(self) -> float | None:
        """Do what is due for the others; return the seconds until the next time, or None.

        Raises:
            TrackverseError: the folder cannot be used.
        """
        trial = self.health.beat()
        ripe = self._line.ripen()
        waits = [wait for wait in (ripe, BEAT_EVERY_SECONDS if trial else None) if wait is not None]
        return min(waits, default=None)

    def _tend_later(self) -> None:
        if not self._background:
            return
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._tend_on, daemon=True, name="pace")
                self._thread.start()
        self._wake.set()

    def _tend_on(self) -> None:
        while not self._closed.is_set():
            try:
                wait = self.tend()
            except TrackverseError as error:
                logger.debug("pace: {}", error)  # costs the others a wait; `take` will tell
                wait = BEAT_EVERY_SECONDS
            self._wake.wait(wait)
            self._wake.clear()
