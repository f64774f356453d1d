"""How far apart requests must be: arithmetic alone.

Two requests are never closer than `3600 / videos_per_hour` seconds, so any window of T seconds
holds at most `floor(T / interval) + 1` of them. Jitter only ever stretches the distance.
"""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass, replace
from typing import Final

GUEST_VIDEOS_PER_HOUR: Final = 280.0
"""YouTube's wiki page names about 300 an hour for a guest session; this stays under it."""

ACCOUNT_VIDEOS_PER_HOUR: Final = 1000.0
"""About 2,000 an hour are named for an account; half of it, since accounts get banned."""


@dataclass(frozen=True, slots=True)
class Rate:
    """What one process was told about the pace.

    Attributes:
        interval_seconds: the least distance of two requests.
        jitter: up to this share of the interval is added, another amount for each request.
    """

    interval_seconds: float
    jitter: float = 0.0

    @property
    def margin_seconds(self) -> float:
        """The longest that taking a turn may last; a turn that took longer is not used."""
        return min(0.1, max(0.002, 0.03 * self.interval_seconds))

    @property
    def poll_seconds(self) -> float:
        """How often the first in the line looks when somebody's turn is due to appear."""
        return min(0.25, max(0.005, self.interval_seconds / 50))

    def widened(self, interval_seconds: float) -> Rate:
        """Return this rate, or that of somebody who keeps a wider interval."""
        return replace(self, interval_seconds=max(self.interval_seconds, interval_seconds))

    def spacing_seconds(self, turn: int) -> float:
        """Return how long turn number `turn` must have been seen before the next is taken.

        All processes stretch the same number alike, so that a short stretch is no way past
        somebody who waited longer.
        """
        stretch = 1.0 + self.jitter * zlib.crc32(b"%d" % turn) / 2**32
        return self.interval_seconds * stretch + self.margin_seconds


def rate_of(videos_per_hour: float, jitter: float = 0.0, share: int = 0) -> Rate:
    """Return the rate of a process.

    Args:
        videos_per_hour: of the whole address.
        jitter: share of the interval, 0 to 1.
        share: 0, or the number of hosts that cannot see each other's state and divide the address.
    """
    return Rate(3600.0 / videos_per_hour * max(1, share), jitter)


def allowed_requests(window_seconds: float, interval_seconds: float) -> int:
    """Return how many requests any window of this length may hold."""
    return math.floor(window_seconds / interval_seconds) + 1
