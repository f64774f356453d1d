"""A floor under the speed of a download: a slow drip never times out by itself."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

from trackverse_cli.download.errors import DownloadError

if TYPE_CHECKING:
    from collections.abc import Callable

FLOOR_BYTES_PER_SECOND: Final = 16 * 1024
"""A video of an hour comes in a day at this speed; no host that means well is slower."""

FLOOR_SECONDS: Final = 60.0
"""The speed is the average over so long."""


class SpeedFloor:
    """Says whether the bytes of a download have come too slowly; two threads may use it.

    Args:
        bytes_per_second: the slowest average that is borne; 0 for any.
        seconds: over how long it is taken.
        now: seconds of a clock that never goes back.

    Attributes:
        said: how slowly they came, once they did; empty before.
    """

    def __init__(self, bytes_per_second: float, seconds: float, now: Callable[[], float]) -> None:
        self._least = bytes_per_second
        self._seconds = seconds
        self._now = now
        self._lock = threading.Lock()
        self._since: float | None = None
        self._bytes = 0
        self.said = ""

    def start(self) -> None:
        """Measure from now on."""
        with self._lock:
            self._since, self._bytes, self.said = self._now(), 0, ""

    def end(self) -> None:
        """Measure no more: nothing is expected to come."""
        with self._lock:
            self._since, self.said = None, ""

    def add(self, count: int) -> None:
        """Take note of new bytes."""
        with self._lock:
            self._bytes += count

    def is_too_slow(self) -> bool:
        """Say whether it is time to end the attempt; it stays so until `start` or `end`."""
        with self._lock:
            if self.said:
                return True
            if self._since is None or self._least <= 0:
                return False
            seconds = self._now() - self._since
            if seconds < self._seconds:
                return False
            if self._bytes / seconds < self._least:
                self.said = (
                    f"the host sends too slowly: only {self._bytes} bytes came in {seconds:.0f} s"
                )
                return True
            self._since, self._bytes = self._now(), 0
            return False

    def check(self) -> None:
        """Go on, or not.

        Raises:
            DownloadError: `transient`, the bytes come too slowly.
        """
        if self.is_too_slow():
            raise DownloadError("transient", self.said)
