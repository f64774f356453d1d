"""How far a part of the requests goes: clips and classes, in one order or another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from trackverse_cli.plan.survey import DONE, DUE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from trackverse_cli.plan.survey import Survey

    Ints = NDArray[np.int64]

SHARES: Final = (0.1, 0.25, 0.5, 1.0)
MANY_CLIPS: Final = 10


@dataclass(frozen=True, slots=True)
class Reach:
    """What there is after some requests, if all that is asked for comes.

    Attributes:
        order: `cost` or `coverage`.
        requests: how many were made.
        hours: after which time.
        clips: clips that are there then, those of today too.
        classes: classes with at least one of them.
        classes_many: classes with at least `MANY_CLIPS`.
    """

    order: str
    requests: int
    hours: float
    clips: int
    classes: int
    classes_many: int

    def to_json(self) -> dict[str, Any]:
        """Return it as `plan --json` prints it."""
        return {
            "order": self.order,
            "requests": self.requests,
            "hours": round(self.hours, 2),
            "clips": self.clips,
            "classes": self.classes,
            "classes_with_10": self.classes_many,
        }


def request_turns(asked: NDArray[np.bool_], ranks: Ints, order: Ints) -> Ints:
    """Return (v,) the how-manieth request of its rank each video is: 0, 1, ...; -1 for none.

    Args:
        asked: (v,) whether a video is asked for at all.
        ranks: (v,) the rank of each.
        order: (v,) all rows in the order in which each rank takes its own.
    """
    rows = order[asked[order]]
    rows = rows[np.argsort(ranks[rows], kind="stable")]
    counts = np.bincount(ranks[rows], minlength=1)
    turns = np.full(len(asked), -1, dtype=np.int64)
    turns[rows] = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
    return turns


def request_places(turns: Ints, ranks: Ints) -> Ints:
    """Return (v,) when each video is asked for, over all ranks, which take turns; -1 for never.

    Args:
        turns: (v,) as `request_turns` gives them.
        ranks: (v,) the rank of each.
    """
    rows = np.flatnonzero(turns >= 0)
    places = np.full(len(turns), -1, dtype=np.int64)
    places[rows[np.lexsort((ranks[rows], turns[rows]))]] = np.arange(len(rows))
    return places


def reach(
    found: Survey, places: Ints, order: str, requests: Sequence[int], hours_each: float
) -> list[Reach]:
    """Return what is there after so many requests, for each of `requests`.

    Args:
        found: where everything stands.
        places: (v,) as `request_places` gives them.
        order: what they are called.
        requests: after how many.
        hours_each: how long one request takes on average.
    """
    when = places[found.rows]
    states = found.states
    nameless = found.names.index("") if "" in found.names else -1
    told = []
    for number in requests:
        held = (states == DONE) | ((states == DUE) & (when < number))
        counts = np.bincount(found.classes[held], minlength=max(1, len(found.names)))
        clips = int(counts.sum())
        if nameless >= 0:
            counts[nameless] = 0
        at_least = [int(np.count_nonzero(counts >= least)) for least in (1, MANY_CLIPS)]
        told.append(Reach(order, number, number * hours_each, clips, *at_least))
    return told
