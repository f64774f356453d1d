"""When the last of many ranks is through, each of which waits for itself and by chance."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_POINTS = 400
_NO_WAIT = 1e-9
_MOST_WAITS = 60
"""More waits of a rank than that are taken to be at their mean together."""


@dataclass(frozen=True, slots=True)
class Lot:
    """What can happen to a rank; hours.

    Attributes:
        run: how long it works until it has to be queued again.
        queue: the mean of one wait, which is exponential.
        start: what each start costs.
        lost: what the loss of a node costs, the wait aside.
        node_every: mean time between two losses.
    """

    run: float
    queue: float
    start: float
    lost: float
    node_every: float


def latest_hours(hours: NDArray[Any]) -> float:
    """Return the most of (n,) hours; 0 for none."""
    return float(hours.max(initial=0.0))


def shortest_waits(number: int, of: int) -> float:
    """Return the mean of the `number`-th shortest of `of` exponential waits, in their mean."""
    return sum(1.0 / (of - place) for place in range(number))


def mean_of_latest(hours: NDArray[Any], lot: Lot) -> float:
    """Return when the last of some ranks is through, on the mean.

    The probability that all are through by t is the product of those of each; its complement,
    integrated, is the mean. A rank of h hours has k = floor(h / run) + 1 waits in the queue; the
    sum of k exponential waits is through by t with 1 - exp(-x) (1 + x + ... + x^(k-1) / (k-1)!),
    x = t / queue.

    Args:
        hours: (n,) work of each rank.
        lot: what can happen.
    """
    own = hours[hours > 0].astype(np.float64)
    if not len(own):
        return 0.0
    ends = np.floor(own / lot.run) if math.isfinite(lot.run) else np.zeros(len(own))
    own = own + (ends + 1) * lot.start
    waits = np.minimum(ends + 1, _MOST_WAITS).astype(np.int64)
    own = own + (ends + 1 - waits) * lot.queue
    lost = 1.0 - np.exp(-own / lot.node_every)
    latest = float(own.max())
    rest = math.log(len(own)) + float(waits.max()) + 8.0
    span = lot.queue * (rest + 8.0 * math.sqrt(float(waits.max()) + 1.0))
    if lost.any():
        span += lot.lost + lot.start + 4 * lot.queue
    if span <= 0:
        return latest
    times = latest + np.linspace(0.0, span, _POINTS)
    chance = np.ones(_POINTS)
    for place in range(0, len(own), 512):
        part = slice(place, place + 512)
        late = times - own[part, None]
        through = _through(late, waits[part], lot.queue)
        if lost.any():
            again = _through(late - lot.lost - lot.start, waits[part] + 1, lot.queue)
            through += lost[part, None] * (again - through)
        chance *= through.prod(axis=0)
    late_share = 1.0 - chance
    return latest + float((late_share[1:] + late_share[:-1]).sum()) * span / (_POINTS - 1) / 2


def _through(late: Floats, waits: NDArray[np.int64], queue: float) -> Floats:
    """Return (n, t) the probability that (n,) numbers of waits together last (n, t) at most."""
    if queue < _NO_WAIT:
        return (late >= 0).astype(np.float64)
    over = np.clip(late / queue, 0.0, 700.0)
    term = np.exp(-over)
    still = np.zeros_like(over)
    for number in range(int(waits.max())):
        still += np.where(number < waits[:, None], term, 0.0)
        term = term * over / (number + 1)
    through: Floats = np.where(late < 0, 0.0, 1.0 - still)
    return through
