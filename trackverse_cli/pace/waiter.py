"""One request's wait in the line: first come first, and one who died in front costs moments."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from trackverse_cli.pace.board import Ticket, new_owner, read_board

if TYPE_CHECKING:
    from trackverse_cli.pace.line import Line, View
    from trackverse_cli.pace.spacing import Rate

BEAT_SECONDS: Final = 5.0
"""Whoever waits looks at least so often."""

_MOST_AHEAD = 8


@dataclass(frozen=True, slots=True)
class Grant:
    """One request may go out, now.

    Attributes:
        turn: its number.
        at: the monotonic time at which it was granted; distances are kept between these.
        waited_seconds: since the line was joined.
    """

    turn: int
    at: float
    waited_seconds: float


class Waiter:
    """One request's wait; `step` until it returns a `Grant`, then or otherwise `leave`.

    Args:
        line: where to stand.
    """

    def __init__(self, line: Line) -> None:
        self._line = line
        self._owner = new_owner()
        self._ticket: Ticket | None = None
        self._joined = line.clock.monotonic()

    def look(self) -> View:
        """Show that one lives, and look.

        Raises:
            TrackverseError: the folder cannot be used.
        """
        folder, old = self._line.folder, self._ticket
        if old is None:
            waiting = read_board(folder.names()).tickets
            order = 1 + max((ticket.order for ticket in waiting), default=0)
            interval_ms = int(self._line.rate.interval_seconds * 1000)
            self._ticket = Ticket(order, interval_ms, self._owner, 1)
            folder.create(self._ticket.name)
        else:
            self._ticket = Ticket(old.order, old.interval_ms, old.owner, old.beat + 1)
            if not folder.rename(old.name, self._ticket.name):
                folder.create(self._ticket.name)  # taken for dead: the place is still ours
        return self._line.look()

    def step(self, view: View) -> Grant | float:
        """Take a turn if it is ours, else return how many seconds to wait before the next look.

        Raises:
            TrackverseError: the folder cannot be used.
        """
        line, rate = self._line, view.rate
        line.bury(view)
        ahead = sum(1 for t in view.alive if self._ticket and t.key < self._ticket.key)
        now = line.clock.monotonic()
        due = view.due + min(ahead, _MOST_AHEAD) * 2 * rate.poll_seconds
        if now < due:
            return self._pause(rate, ahead, view.others_due - now, due - now)
        taken = line.take(view)
        if taken is None:
            return rate.poll_seconds
        return Grant(*taken, taken[1] - self._joined)

    def _pause(self, rate: Rate, ahead: int, others_due: float, own_due: float) -> float:
        """Return when the next look is worth it: the first few must see a new turn at once."""
        wait = min(own_due, max(others_due, rate.poll_seconds))
        if ahead > 2:
            wait = max(wait, rate.interval_seconds / 2)
        return min(wait, BEAT_SECONDS)

    def leave(self) -> None:
        """Give the place back."""
        if self._ticket is not None:
            self._line.folder.remove(self._ticket.name)
            self._ticket = None
