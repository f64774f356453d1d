"""How large a video may get, and when room is asked for it, whatever its host states."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from trackverse_cli.download.errors import DownloadError

if TYPE_CHECKING:
    from collections.abc import Callable

    from trackverse_cli.download.floor import SpeedFloor

UNSTATED_BYTES: Final = 64_000_000
"""So much may come of a file whose size nobody stated before room is asked for it."""


class Bounds:
    """Watches over the size of one video after the other.

    Args:
        max_bytes: no video is larger.
        room_bytes: there is never room for more, or None.
        on_total: called with the size of a file once it is known, or guessed; it may wait.
        floor: does not count while that waits: it says nothing about the host.
    """

    def __init__(
        self,
        max_bytes: int,
        room_bytes: int | None,
        on_total: Callable[[int], None] | None,
        floor: SpeedFloor,
    ) -> None:
        self._max_bytes = max_bytes
        self._room_bytes = room_bytes
        self._on_total = on_total
        self._floor = floor
        self._asked = 0

    def start(self) -> None:
        """Begin with another video."""
        self._asked = 0

    def came(self, count: int) -> None:
        """Take note of how many bytes have come; where nobody said how many, ask for more room.

        Raises:
            DownloadError: it is more than can be.
            TrackverseError: there is no room.
        """
        self._check(count)
        if count > max(self._asked, UNSTATED_BYTES):
            self._ask(2 * count)

    def stated(self, total: int) -> None:
        """Take note of the size that the host states.

        Raises:
            DownloadError: it is more than can be.
            TrackverseError: there is no room.
        """
        self._check(total)
        if total > self._asked:
            self._ask(total)

    def _ask(self, total: int) -> None:
        self._asked = total
        if self._on_total is not None:
            self._floor.end()
            self._on_total(total)
            self._floor.start()

    def _check(self, count: int) -> None:
        told = f"the host sends or promises {count} bytes, and the most that can come is"
        if count > self._max_bytes:
            raise DownloadError("ambiguous", f"{told} {self._max_bytes} ([download] max_bytes)")
        if self._room_bytes is not None and count > self._room_bytes:
            # Another budget may do for it tomorrow: no fault of the video.
            raise DownloadError("transient", f"{told} {self._room_bytes} ([pipeline] disk_budget)")
