"""How much of a video some stretches cover together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

LATEST_SECONDS: Final = 1e6
"""Times beyond are taken to be wrong."""


def covered_seconds(rows: NDArray[np.int32], first: Floats, last: Floats, videos: int) -> Floats:
    """Return (videos,) how much of each video some stretches cover together.

    Args:
        rows: (n,) the video of each stretch.
        first: (n,) their beginnings, seconds, from 0.
        last: (n,) their ends.
        videos: how many there are.
    """
    if not len(rows):
        return np.zeros(videos)
    order = np.lexsort((first, rows))
    # Videos laid end to end on one axis, so that one running maximum serves them all.
    shift = rows[order].astype(np.float64) * (2 * LATEST_SECONDS)
    begin, end = first[order] + shift, last[order] + shift
    reached = np.maximum.accumulate(end)
    before = np.concatenate((begin[:1], reached[:-1]))
    new = np.maximum(end - np.maximum(begin, before), 0.0)
    covered: Floats = np.bincount(rows[order], new, videos).astype(np.float64)
    return covered
