"""One process's part in the cool-downs of an egress: starting, seeing and easing them."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from loguru import logger

from trackverse_cli.errors import TryLaterError
from trackverse_cli.pace.board import new_owner, read_board
from trackverse_cli.pace.cooldown import FORGET_MS, CoolDown, Event, eases, fold, retry_after_ms
from trackverse_cli.pace.fleet import time_text
from trackverse_cli.pace.terms import come_back_sentence

if TYPE_CHECKING:
    from trackverse_cli.clock import Clock
    from trackverse_cli.pace.board import Board
    from trackverse_cli.pace.folder import Folder, TimeSource
    from trackverse_cli.pace.terms import Terms


class Throttle:
    """What one process knows of an egress's cool-downs; its threads share it.

    Args:
        name: the egress's name, for messages.
        folder: its folder.
        time: the shared time.
        terms: lengths and limits.
        clock: its monotonic side bounds a wait where shared time cannot be trusted.
    """

    def __init__(
        self, name: str, folder: Folder, time: TimeSource, terms: Terms, clock: Clock
    ) -> None:
        self._name = name
        self._folder = folder
        self._time = time
        self._terms = terms
        self._clock = clock
        self._lock = threading.Lock()
        self._first_seen: dict[str, float] = {}
        self._throttled: set[str] = set()

    def pause_seconds(self, board: Board) -> float:
        """Return the seconds that everybody still waits.

        Raises:
            TryLaterError: longer than a rank waits, or throttled too often in a row.
            TrackverseError: the folder cannot be used.
        """
        if not board.events:
            return 0.0
        pause = self.left_seconds(board)
        in_a_row = len(self._throttled)
        if pause > self._terms.longest_wait_seconds:
            raise TryLaterError(self._come_back(pause, "the host asked to slow down"))
        if in_a_row >= self._terms.throttled_in_a_row:
            raise TryLaterError(
                self._come_back(pause, f"the host asked {in_a_row} times in a row to slow down")
            )
        return pause

    def left_seconds(self, board: Board) -> float:
        """Return the seconds until the cool-down ends; 0 if there is none.

        Raises:
            TrackverseError: the folder cannot be used.
        """
        return self._remaining(fold(board.events)) if board.events else 0.0

    def _remaining(self, state: CoolDown) -> float:
        """Return the seconds left; never more than its length since this process first saw it."""
        if not state.level:
            return 0.0
        left = (state.until_ms - self._time.now_ms()) / 1000
        now = self._clock.monotonic()
        with self._lock:
            seen = self._first_seen.setdefault(f"{state.name} {state.length_ms}", now)
        return max(0.0, min(left, seen + state.length_ms / 1000 - now))

    def _come_back(self, seconds: float, why: str) -> str:
        return come_back_sentence(self._name, why, self._clock.time(), seconds)

    def throttled(self, retry_after_seconds: float | None = None) -> None:
        """Start a cool-down for all, or lengthen the one in force.

        Args:
            retry_after_seconds: what the host asked for; it is obeyed, also where it is shorter
                than the configured start.

        Raises:
            TrackverseError: the folder cannot be used.
        """
        board = read_board(self._folder.names())
        now_ms = self._time.now_ms()
        event = self._event(now_ms, throttled=True, retry_ms=retry_after_ms(retry_after_seconds))
        self._folder.create(event.name)
        state = fold((*board.events, event))
        with self._lock:
            self._throttled.add(state.name)
        for old in board.events:
            if old.at_ms < now_ms - FORGET_MS:
                self._folder.remove(old.name)
        logger.warning(
            "egress {}: throttled; everybody waits {}",
            self._name,
            time_text(self._remaining(state)),
        )

    def _event(self, at_ms: int, *, throttled: bool, retry_ms: int = 0) -> Event:
        start_ms = round(self._terms.cool_down_seconds * 1000)
        most_ms = round(max(self._terms.longest_cool_down_seconds * 1000, start_ms))
        event = Event(at_ms, throttled, retry_ms, start_ms, most_ms)
        return Event(at_ms, throttled, retry_ms, start_ms, most_ms, event.name_of(new_owner()))

    def answered(self) -> None:
        """Take down that the host answered: that ends a row of throttles, and eases the next.

        Raises:
            TrackverseError: the folder cannot be used.
        """
        with self._lock:
            self._throttled.clear()
        events = read_board(self._folder.names()).events
        state = fold(events)
        if not state.level:
            return
        ease = self._event(self._time.now_ms(), throttled=False)
        if eases(state, ease.at_ms, ease.start_ms):
            self._folder.create(ease.name)
