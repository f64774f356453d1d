"""How much was there when, by the times in the ledger, as points of a chart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

POINTS = 200
"""Places at which a line is drawn."""

LATEST = 4e9
"""Seconds since 1970; a time after it, or before 1970, is no time of a run."""

DAY_SECONDS = 86_400.0


@dataclass(frozen=True, slots=True)
class Line:
    """One growing line.

    Attributes:
        shares: (POINTS,) how much of what is expected was there, 0 to 1.
        known: how many items have a time.
        half: when half of those were there, in seconds since 1970; None if there are none.
        last: when the last one came.
        last_day: how many came in the 24 hours before that.
    """

    shares: NDArray[np.float64]
    known: int
    half: float | None
    last: float | None
    last_day: int


@dataclass(frozen=True, slots=True)
class Timeline:
    """Clips and videos over the time from the first record to the last, in seconds since 1970."""

    begin: float
    end: float
    clips: Line
    videos: Line


def timeline(
    clip_times: Iterable[float], clips: int, video_times: Iterable[float], videos: int
) -> Timeline | None:
    """Return both lines, or None where no time is known.

    Args:
        clip_times: when each clip was recorded, in any order.
        clips: how many are expected.
        video_times: when each video was.
        videos: how many are expected.
    """
    ours, theirs = _sorted(clip_times), _sorted(video_times)
    both = [one for one in (ours, theirs) if len(one)]
    if not both:
        return None
    begin = min(float(one[0]) for one in both)
    end = max(max(float(one[-1]) for one in both), begin + 1)
    return Timeline(begin, end, _line(ours, clips, begin, end), _line(theirs, videos, begin, end))


def _sorted(times: Iterable[float]) -> NDArray[np.float64]:
    known = np.fromiter(times, dtype=np.float64)
    ordered: NDArray[np.float64] = np.sort(known[(known > 0) & (known < LATEST)])
    return ordered


def _line(times: NDArray[np.float64], expected: int, begin: float, end: float) -> Line:
    places = np.linspace(begin, end, POINTS)
    counts = np.searchsorted(times, places, side="right")
    counts[-1] = len(times)
    half = float(times[(len(times) - 1) // 2]) if len(times) else None
    last = float(times[-1]) if len(times) else None
    last_day = len(times) - int(np.searchsorted(times, (last or 0.0) - DAY_SECONDS))
    shares = np.minimum(1.0, counts / max(1, expected))
    return Line(shares, len(times), half, last, last_day)
