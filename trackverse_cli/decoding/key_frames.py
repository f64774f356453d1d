"""Where a video's key frames are, as far as its container's index tells."""

from __future__ import annotations

from bisect import bisect_right
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fractions import Fraction

    from av.video.stream import VideoStream

INDEX_SECONDS = 1.0
"""What lies so long after the last entry of a container's index is not indexed."""


class KeyFrames:
    """The key frames of one video stream; its index is read when it is first asked.

    Args:
        stream: of an open container.
        base: seconds of one unit of its times.
    """

    def __init__(self, stream: VideoStream, base: Fraction) -> None:
        self._stream = stream
        self._base = base

    def before(self, seconds: float) -> float | None:
        """Return the time of the last one at or before `seconds`, or None if not indexed."""
        keys, end = self._index
        place = bisect_right(keys, seconds)
        if place == len(keys) and seconds > end + INDEX_SECONDS:
            return None  # a fragmented file's index ends with its first fragment
        return keys[place - 1] if place else None

    @cached_property
    def _index(self) -> tuple[list[float], float]:
        """The times of all that are indexed, and where the index ends, in seconds."""
        entries = self._stream.index_entries
        times = [(float(entry.timestamp * self._base), entry.is_keyframe) for entry in entries]
        end = max((at for at, _ in times), default=0.0)
        return sorted(at for at, is_key in times if is_key), end
