"""Turns in a line that many processes on many hosts stand in, without a server and without a lock.

Turn n + 1 is an exclusive create, and nobody tries it before having watched turn n stand there for
a whole interval on a monotonic clock of his own. So no clock is compared with another's, and a dead
holder has nothing that he could hold back. Who took a turn says after the interval that it is over,
which spares those who were not watching the wait.

Who waits has a ticket whose name he changes with every look: that is his heartbeat, and it makes a
network file system drop its cached listing. First come goes first; those behind go a moment later
each, so that one who died in front costs moments, and is passed over once his ticket stands still.
"""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from trackverse_cli.errors import LacksError
from trackverse_cli.pace.board import read_board, ripe_name, turn_name

if TYPE_CHECKING:
    from trackverse_cli.clock import Clock
    from trackverse_cli.pace.board import Board, Ticket
    from trackverse_cli.pace.folder import Folder
    from trackverse_cli.pace.spacing import Rate

SILENT_SECONDS: Final = 20.0
"""A ticket that stands still for so long belongs to nobody."""

KEPT_TURNS: Final = 256
"""So many old turns stay, so that nobody takes one again out of a stale listing."""

_TIDY_EVERY = 64
_STALE_LOOK_SECONDS = 5.0
_MOST_SLOW = 20


@dataclass(frozen=True, slots=True)
class View:
    """What one look showed.

    Attributes:
        board: the listing.
        at: the monotonic time after it.
        last: the newest turn.
        due: the monotonic time from which the first in the line may take the next turn.
        others_due: the earliest that it can be for somebody who saw more.
        alive: the tickets of those who live, first come first.
        rate: the own rate, or a wider one that somebody in the line keeps.
    """

    board: Board
    at: float
    last: int
    due: float
    others_due: float
    alive: tuple[Ticket, ...]
    rate: Rate


class Line:
    """What one process knows of one egress's line; its threads share it.

    Args:
        folder: the egress's folder.
        rate: the distance that this process keeps.
        clock: only its monotonic side is used.
    """

    def __init__(self, folder: Folder, rate: Rate, clock: Clock) -> None:
        self.folder = folder
        self.rate = rate
        self.clock = clock
        self._lock = threading.Lock()
        self._last = 0
        self._since: float | None = None
        self._looked = self._not_before = -math.inf
        self._beats: dict[tuple[int, str], tuple[int, float]] = {}
        self._unripe: tuple[int, float] | None = None
        self._ripened = ""
        self._ripe_seen = (-1, 0.0)
        self._slow = 0

    def look(self) -> View:
        """List the folder once and return what it says.

        Raises:
            TrackverseError: the folder cannot be used.
        """
        board = read_board(self.folder.names())
        at = self.clock.monotonic()
        with self._lock:
            known = self._last
        if board.last < known and self.folder.exists(turn_name(known)):
            newest = known  # a cached listing; this turn was seen with own eyes
        else:
            newest = board.last
        with self._lock:
            if newest != self._last or self._since is None:
                self._last, self._since, self._not_before = newest, at, self._looked
            since, not_before = self._since, self._not_before
            self._looked = at
            alive = self._living(board, at)
        widest = max((ticket.interval_ms for ticket in alive), default=0) / 1000
        rate = self.rate.widened(widest)
        spacing = rate.spacing_seconds(newest)
        due = since + spacing
        if any(n == newest and ms >= int(spacing * 1000) for n, ms in board.ripe_ms):
            due = min(due, self._first_ripe(newest, at))
        return View(board, at, newest, due, not_before + spacing, alive, rate)

    def _first_ripe(self, turn: int, at: float) -> float:
        with self._lock:
            if self._ripe_seen[0] != turn:
                self._ripe_seen = (turn, at)
            return self._ripe_seen[1]

    def _living(self, board: Board, at: float) -> tuple[Ticket, ...]:
        beats = {}
        for ticket in board.tickets:
            beat, since = self._beats.get(ticket.key, (-1, at))
            beats[ticket.key] = (beat, since) if beat == ticket.beat else (ticket.beat, at)
        self._beats = beats
        return tuple(t for t in board.tickets if at - beats[t.key][1] < SILENT_SECONDS)

    def bury(self, view: View) -> None:
        """Remove the tickets of the dead."""
        if len(view.alive) == len(view.board.tickets):
            return
        alive = {ticket.key for ticket in view.alive}
        for ticket in view.board.tickets:
            if ticket.key not in alive:
                self.folder.remove(ticket.name)

    def take(self, view: View) -> tuple[int, float] | None:
        """Take the turn after `view.last`; None if somebody else did, or if it took too long.

        Raises:
            LacksError: the file system is too slow to keep this distance.
            TrackverseError: the folder cannot be used.
        """
        turn = view.last + 1
        before = self.clock.monotonic()
        if before - view.at > _STALE_LOOK_SECONDS:
            return None
        mine = self.folder.create(turn_name(turn))
        at = self.clock.monotonic()
        with self._lock:
            self._last, self._since, self._not_before = turn, at, before
            if mine:
                self._unripe = (turn, at)
        if not mine:
            return None
        if at - before > self.rate.margin_seconds:
            self._too_slow(at - before)
            return None
        self._slow = 0
        if turn % _TIDY_EVERY == 0:
            self._tidy(view.board, turn)
        return turn, at

    def _too_slow(self, seconds: float) -> None:
        self._slow += 1
        if self._slow >= _MOST_SLOW:
            raise LacksError(
                f"the file system of {self.folder.path} needs {seconds:.2f} s to create an empty "
                "file, too long to keep a pace by; set [pace] dir to a folder on a faster one"
            )

    def _tidy(self, board: Board, turn: int) -> None:
        for old in board.turns:
            if old <= turn - KEPT_TURNS:
                self.folder.remove(turn_name(old))
        for old, waited_ms in board.ripe_ms:
            if old < turn - 1:
                self.folder.remove(ripe_name(old, waited_ms))

    def ripen(self) -> float | None:
        """Say of the own last turn that its interval is over, once it is.

        Returns:
            Seconds until it is, or None if there is nothing to say.

        Raises:
            TrackverseError: the folder cannot be used.
        """
        with self._lock:
            if self._unripe is None:
                return None
            turn, at = self._unripe
            if turn != self._last:
                self._unripe = None
                return None
            spacing = self.rate.spacing_seconds(turn)
            missing = at + spacing - self.clock.monotonic()
            if missing > 0:
                return missing
            self._unripe = None
            name, stale = ripe_name(turn, int(spacing * 1000)), self._ripened
            self._ripened = name
        self.folder.create(name)
        if stale:
            self.folder.remove(stale)
        return None
