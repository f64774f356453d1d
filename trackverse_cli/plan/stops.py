"""What throttling takes from an address, and how long a rank's run and its job last. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trackverse_cli.plan.trouble import START_HOURS

if TYPE_CHECKING:
    from trackverse_cli.plan.trouble import Trouble

_LEAST_CHANCE = 1e-6
"""Doublings that are less likely are not looked at."""

_NEVER = 1e-7
"""Stops an hour: less than one in a thousand years."""


@dataclass(frozen=True, slots=True)
class Throttling:
    """What throttling does to the addresses together.

    Attributes:
        share: of the time in which an address rests.
        square_an_hour: mean square of those rests, in hours squared, for each hour.
        stops_an_hour: how often all addresses rest at once, which ends the ranks.
        restarts: how often a rank is queued again for one such stop.
    """

    share: float = 0.0
    square_an_hour: float = 0.0
    stops_an_hour: float = 0.0
    restarts: float = 0.0


@dataclass(frozen=True, slots=True)
class Runs:
    """How long a rank goes on.

    Attributes:
        hours: one run of it, on the mean.
        job_hours: until it has used up its requeues.
        job_spread: the standard deviation of that.
        stops_an_hour: how often something but the limit ends it.
    """

    hours: float
    job_hours: float
    job_spread: float
    stops_an_hour: float = 0.0


def throttling_of(trouble: Trouble, addresses: int) -> Throttling:
    """Return what throttling takes.

    One throttling lasts D hours on the mean, the next begins E hours after its end. Its first
    request starts a cool-down of C hours; where it still goes on then, which happens with
    exp(-C / D), it doubles, and so on. One cycle, E and that, therefore costs

        C + exp(-C / D) * 2 C + exp(-3 C / D) * 4 C + ...

    It doubles as well where the next throttling begins within C of its end, u = 1 - exp(-C / E).
    After k such in a row it is 2^k as long, which happens with (1 - u) u^k: all of it is longer
    by (1 - u) / (1 - 2 u), as far as the longest cool-down lets it.

    With one address all ranks end, where the cool-down is longer than they wait, and come back
    after the delay of a requeue, or several. With n addresses all of them rest at once only now
    and then: n / cycle * share ** (n - 1) times an hour.
    """
    if not addresses or math.isinf(trouble.throttled_every):
        return Throttling()
    cycle = trouble.throttled_every + trouble.throttled
    length, passed, chance = trouble.cool_down, 0.0, 1.0
    rests = squares = restarts = 0.0
    while chance > _LEAST_CHANCE:
        number = _restarts(trouble, length)
        rest = length
        if addresses == 1 and trouble.requeues:
            rest = max(length, number * trouble.requeue_delay)
        rests += chance * rest
        squares += chance * rest * rest
        restarts += chance * number
        passed += rest
        length = min(2 * length, trouble.longest_cool_down)
        chance = math.exp(-passed / trouble.throttled) if trouble.throttled else 0.0
    close = -math.expm1(-trouble.cool_down / trouble.throttled_every)
    most = max(1.0, trouble.longest_cool_down / trouble.cool_down)
    longer = min(most, (1.0 - close) / (1.0 - 2.0 * close)) if close < 0.5 else most
    rests, squares = rests * longer, squares * longer**2
    cycle += max(0.0, rests - trouble.throttled)
    share = rests / cycle
    stops = addresses / cycle * share ** (addresses - 1) if restarts else 0.0
    return Throttling(share, squares / cycle, stops, restarts)


def _restarts(trouble: Trouble, length: float) -> int:
    """Return how often a rank comes back before what is left of a cool-down is short enough."""
    if length <= trouble.longest_wait:
        return 0
    each = max(trouble.requeue_delay + trouble.queue, START_HOURS)
    return min(trouble.requeues + 1, math.ceil((length - trouble.longest_wait) / each))


def runs_of(trouble: Trouble, throttling: Throttling) -> Runs:
    """Return how long a rank goes on.

    A run ends by its limit L, or before it by one of the stops, s an hour: on the mean after
    (1 - exp(-s L)) / s. The last of `requeues` + 1 ends finds no requeue left.
    """
    stops, limit = throttling.stops_an_hour, trouble.limit
    if stops < _NEVER:
        stops = 0.0
    if not stops and math.isinf(limit):
        return Runs(math.inf, math.inf, 0.0)
    in_full = math.exp(-stops * limit) if stops else 1.0
    hours, square = limit, limit * limit
    if stops:
        hours = -math.expm1(-stops * limit) / stops
        late = in_full * (1.0 + stops * limit) if in_full else 0.0
        square = 2.0 / stops**2 * (1.0 - late)
    uses = in_full + (1.0 - in_full) * max(1.0, throttling.restarts)
    number = trouble.requeues / uses + 1.0
    job = number * (hours + in_full * trouble.queue)
    if stops:
        job += number * (1.0 - in_full) * throttling.share / stops
    spread = math.sqrt(number * (max(0.0, square - hours**2) + in_full * trouble.queue**2))
    return Runs(hours, job, spread, stops)
