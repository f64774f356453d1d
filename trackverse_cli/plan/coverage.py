"""In which order to ask for videos, so that a run that ends early is worth most. Pure arithmetic.

The worth of some videos is the sum over all classes of `1 + 1/2 + ... + 1/n`, where n is how many
clips of the class they give: the first clip of a class counts most, and many clips of one class
count ever less. Every request costs the same, whatever comes of it.

What is promised: the first k videos are worth at least 0.59 of the best k that there are, for
every k at once. (Taking what gains at least 0.9 of the best gain each time gives 1 - exp(-0.9).)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Ints = NDArray[np.int64]

PROMISED_SHARE: Final = 0.59
"""What a prefix is worth at least, of the best choice of as many videos."""

_UNIT: Final = 1 << 40
"""Worth is counted in whole parts, so that every machine comes to the same order."""


def coverage_order(rows: Ints, classes: Ints, videos: int) -> Ints:
    """Return the videos in the order in which to ask for them.

    Args:
        rows: (c,) the video of each clip, 0 <= row < videos.
        classes: (c,) the class of each clip, from 0; which number a class has does not matter.
        videos: how many there are.

    Returns:
        (videos,) a permutation of their rows; of equals the earlier row comes first, and videos
        without a clip come last.
    """
    pairs = _Pairs(rows, classes, videos)
    worth = _worths(int(np.bincount(pairs.classes, pairs.counts).max()) if len(rows) else 0)
    have = np.zeros(int(pairs.classes.max()) + 1 if len(rows) else 0, dtype=np.int64)
    bounds = pairs.gains(np.arange(videos), have, worth)
    order: list[int] = []
    least = int(bounds.max(initial=0))
    while least > 0:
        near = np.flatnonzero(bounds >= least)
        # Gains only ever shrink, so an old one is an upper bound and seldom needs a new look.
        bounds[near] = pairs.gains(near, have, worth)
        near = near[bounds[near] >= least]
        for row in near[np.argsort(-bounds[near], kind="stable")].tolist():
            own, counts = pairs.of(row)
            now = have[own]
            gain = int((worth[now + counts] - worth[now]).sum())
            if gain >= least:
                have[own] = now + counts
                order.append(row)
                gain = 0
            bounds[row] = gain
        # Rounded up, so that it never falls below 0.9 of what it was.
        least = min(-(-least * 9 // 10), least - 1, int(bounds.max()))
    taken = np.zeros(videos, dtype=bool)
    taken[order] = True
    return np.concatenate((np.array(order, dtype=np.int64), np.flatnonzero(~taken)))


def worth_of(counts: Sequence[int] | Ints) -> float:
    """Return what so many clips of each class are worth together."""
    found = np.asarray(counts, dtype=np.int64)
    return float(_worths(int(found.max(initial=0)))[found].sum()) / _UNIT


def _worths(most: int) -> Ints:
    """Return (most + 1,) what 0, 1, 2, ... clips of one class are worth, in whole parts."""
    worth = np.zeros(most + 1, dtype=np.int64)
    np.cumsum(_UNIT // np.arange(1, most + 1), out=worth[1:])
    return worth


class _Pairs:
    """The classes of each video, with how many clips of each."""

    def __init__(self, rows: Ints, classes: Ints, videos: int) -> None:
        span = int(classes.max(initial=0)) + 1
        keys, counts = np.unique(
            rows.astype(np.int64, copy=False) * span + classes, return_counts=True
        )
        self.classes: Ints = keys % span
        self.counts: Ints = counts.astype(np.int64, copy=False)
        self._ends = np.searchsorted(keys, np.arange(videos + 1, dtype=np.int64) * span)

    def of(self, row: int) -> tuple[Ints, Ints]:
        """Return the classes of a video and how many clips it has of each."""
        begin, end = self._ends[row], self._ends[row + 1]
        return self.classes[begin:end], self.counts[begin:end]

    def gains(self, rows: Ints, have: Ints, worth: Ints) -> Ints:
        """Return (n,) what each of some videos would add to what there is."""
        begins, lengths = self._ends[rows], self._ends[rows + 1] - self._ends[rows]
        places = np.arange(int(lengths.sum())) + np.repeat(
            begins - (np.cumsum(lengths) - lengths), lengths
        )
        now = have[self.classes[places]]
        # The sum of all may run over; the difference of two of them is right all the same.
        sums = np.append(0, np.cumsum(worth[now + self.counts[places]] - worth[now]))
        ends = np.cumsum(lengths)
        gained: Ints = sums[ends] - sums[ends - lengths]
        return gained
