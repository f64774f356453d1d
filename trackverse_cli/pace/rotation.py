"""Several proxies: each is an egress with a pace of its own, and the one that is free soonest goes.

The name of a proxy's egress is the configured one and the proxy's place in the list, so a list
grows at its end.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from trackverse_cli.errors import LacksError, TryLaterError
from trackverse_cli.pace.health import Course
from trackverse_cli.pace.pace import PAUSE_SECONDS
from trackverse_cli.pace.terms import broken_sentence

if TYPE_CHECKING:
    import threading
    from collections.abc import Sequence

    from trackverse_cli.pace.pace import Pace, Patient
    from trackverse_cli.pace.waiter import Grant


def egress_names(egress: str, proxies: int) -> list[str]:
    """Return the egress of each proxy: the name itself for none or one, else `name-0`, `name-1`…"""
    if proxies < 2:
        return [egress]
    return [f"{egress}-{index}" for index in range(proxies)]


@dataclass(frozen=True, slots=True)
class Turn:
    """One request may go out, now, through this proxy.

    Attributes:
        proxy: its URL, or None for none.
        pace: its pace, to `note` on how the request ended.
        grant: the turn.
        probe: a video that worked before and is tried first, or None for the caller's own.
    """

    proxy: str | None
    pace: Pace
    grant: Grant
    probe: str | None = None


class Rotation:
    """Proxies with their paces.

    Args:
        ways: (proxy's URL or None, its pace); at least one.
    """

    def __init__(self, ways: Sequence[tuple[str | None, Pace]]) -> None:
        self._ways = list(ways)

    @property
    def paces(self) -> list[Pace]:
        """The pace of each proxy."""
        return [pace for _, pace in self._ways]

    def take(self, stop: Patient | threading.Event | None = None) -> Turn:
        """Return when a request may go out, and through which proxy.

        Raises:
            StoppedError: `stop` was set meanwhile.
            TryLaterError: every proxy cools down for longer than a rank waits; the message is that
                of the one that is free first.
            LacksError: downloads fail through every proxy; likewise.
            TrackverseError: the folder cannot be used.
        """
        while True:
            turn = self._try_all(stop)
            if turn is not None:
                return turn
            self._ways[0][1].wait(PAUSE_SECONDS, stop)

    def _try_all(self, stop: Patient | threading.Event | None) -> Turn | None:
        refused: list[TryLaterError | LacksError] = []
        for _, proxy, pace in self._by_freedom():
            try:
                verdict = pace.verdict()
                if verdict.course is Course.PAUSE:
                    continue
                if verdict.course is Course.BROKEN:
                    raise LacksError(broken_sentence(verdict))
                return Turn(proxy, pace, pace.take(stop), verdict.video_id or None)
            except (TryLaterError, LacksError) as error:
                refused.append(error)
        if len(refused) < len(self._ways):
            return None
        later = [error for error in refused if isinstance(error, TryLaterError)]
        raise (later or refused)[0]

    def _by_freedom(self) -> list[tuple[float, str | None, Pace]]:
        free = [(pace.free_in_seconds(), proxy, pace) for proxy, pace in self._ways]
        return sorted(free, key=lambda way: way[0])
