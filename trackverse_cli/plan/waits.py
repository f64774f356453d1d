"""What the troubles of a plan cost in hours, on the mean. Pure arithmetic; nothing is played.

Times in which nobody fails and nobody waits for the scheduler come in; the parts that have to be
added come out. How each part is come by stands with the function that gives it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import TYPE_CHECKING

from trackverse_cli.plan.stops import Runs, Throttling, runs_of, throttling_of
from trackverse_cli.plan.trouble import NODE_NOTICED_HOURS, SECOND_LOOK_HOURS, START_HOURS
from trackverse_cli.plan.unlucky import Lot, latest_hours, mean_of_latest, shortest_waits

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from trackverse_cli.plan.trouble import Trouble


@dataclass(frozen=True, slots=True)
class Waits:
    """What comes on top, in hours; their sum is what all troubles together cost.

    Attributes:
        again: requests that are made a second time, and slots that nobody used for them.
        cool_downs: addresses that rest after a throttle.
        queue: ranks that wait in the scheduler's queue, as far as nobody works instead.
        restarts: starts of ranks and nodes that are lost, likewise.
        turns: until somebody runs `submit` again.
        last: what of all that is for the last few videos, after all others.
    """

    again: float = 0.0
    cool_downs: float = 0.0
    queue: float = 0.0
    restarts: float = 0.0
    turns: float = 0.0
    last: float = 0.0

    @property
    def hours(self) -> float:
        """All of them together; `last` is a part of the others."""
        return self.again + self.cool_downs + self.queue + self.restarts + self.turns


@dataclass(frozen=True, slots=True)
class Fleet:
    """Who does the work.

    Attributes:
        addresses: that requests leave through; 0 where nothing is asked for.
        ranks: how many there are.
        fed: how many of them it takes to keep the pace.
        pace: requests an hour through all addresses.
    """

    addresses: int
    ranks: int
    fed: int
    pace: float


def repeated_share(trouble: Trouble, hours: float, fleet: Fleet) -> float:
    """Return how many requests are made again, for each that is made.

    A request that fails for a moment is made again until it does not: f / (1 - f) more. A video
    whose host does not say why it is not there is asked for again by the first run that begins a
    day later; as far as that is before the end, it costs a turn.

    Args:
        trouble: what goes wrong.
        hours: how long the first requests take.
        fleet: who makes them.
    """
    runs = runs_of(trouble, throttling_of(trouble, fleet.addresses))
    second = SECOND_LOOK_HOURS + runs.hours / 2
    in_time = max(0.0, 1.0 - second / hours) if hours > 0 else 0.0
    return (1.0 + trouble.unclear * in_time) / (1.0 - trouble.failing) - 1.0


def line_waits(trouble: Trouble, hours: float, fleet: Fleet) -> Waits:
    """Return what is added to work that all ranks do from one line, `again` aside.

    Whoever is there does it, so a rank that waits costs nothing while enough others are at work.

    - Cool-downs: `Throttling.share` of the time, of each address alike.
    - Queue: all ranks begin at once, and begin anew after each stop of all addresses. The line is
      short of hands until `fed` of them are through: of n waits with mean q the k-th shortest is
      q * (1/n + 1/(n-1) + ... ), k terms.
    - Turns: see `_used_up`, and after the last request `left_over`.

    Args:
        trouble: what goes wrong.
        hours: how long the requests take, those that are made again included.
        fleet: who makes them.
    """
    throttling = throttling_of(trouble, fleet.addresses)
    runs = runs_of(trouble, throttling)
    cool = hours * throttling.share / (1.0 - throttling.share)
    busy = hours + cool
    idle, jobs, worked = _used_up(trouble, busy, runs, throttling, fleet)
    begins = 1.0 + jobs + busy * throttling.stops_an_hour * throttling.restarts
    queue = begins * trouble.queue * shortest_waits(min(fleet.fed, fleet.ranks), fleet.ranks)
    waits = Waits(cool_downs=cool, queue=queue, restarts=begins * START_HOURS, turns=idle)
    age = (busy - worked) * (hours / busy if busy else 1.0)
    return left_over(trouble, hours + waits.hours, runs, fleet, waits, age)


def own_waits(trouble: Trouble, hours: NDArray[np.float64], fleet: Fleet) -> Waits:
    """Return what is added to work of which every rank has a part of its own.

    A rank has to wait itself: in the queue at its start and after each time limit. The job lasts
    until the unluckiest is through, so what counts is the mean of the latest of all, from the
    distribution of each (`mean_of_latest`): waits are exponential, and a node is lost with
    1 - exp(-hours / node_every), which costs a new start and one more wait.

    Args:
        trouble: what goes wrong.
        hours: (ranks,) work of each, alone.
        fleet: who does it.
    """
    longest = latest_hours(hours)
    if longest <= 0:
        return Waits()
    none = throttling_of(trouble, 0)
    runs = runs_of(trouble, none)
    idle, _, _ = _used_up(trouble, longest, runs, none, replace(fleet, fed=10**9))
    lot = Lot(runs.hours, trouble.queue, START_HOURS, NODE_NOTICED_HOURS, trouble.node_every)
    calm = Lot(runs.hours, 0.0, START_HOURS, NODE_NOTICED_HOURS, math.inf)
    unlucky = Lot(runs.hours, trouble.queue, START_HOURS, NODE_NOTICED_HOURS, math.inf)
    starts = mean_of_latest(hours, calm) - longest
    queue = mean_of_latest(hours, unlucky) - longest - starts
    nodes = mean_of_latest(hours, lot) - longest - starts - queue
    return Waits(queue=queue, restarts=starts + max(0.0, nodes), turns=idle)


def left_over(
    trouble: Trouble, end: float, runs: Runs, fleet: Fleet, waits: Waits, age: float
) -> Waits:
    """Return the waits with that for the last videos.

    A request that fails for a moment is made once more at the end of the run. Where that fails
    too, the rank ends and its video waits for the next `submit`. Of the requests of the runs that
    are under way at the end f * f fail twice and could have come, some with 1 - exp(-number).
    Of these as many fail twice in the next run, and so on: a whole turn each time.
    Such a run is as old as the last time limit, the ranks' own waits considered; or, where a stop
    came in between, half a run.

    Args:
        trouble: what goes wrong.
        end: when the last request but those is made.
        runs: how long ranks go on.
        fleet: who does the work.
        waits: what there is so far.
        age: hours since all ranks were submitted last, without the cool-downs.
    """
    unbroken = math.exp(-runs.stops_an_hour * age)
    whole = _age_without_stops(trouble, age)
    age = unbroken * whole + (1.0 - unbroken) * min(age, runs.hours) / 2
    twice = age * fleet.pace * trouble.failing**2 * (1.0 - trouble.gone)
    some = 1.0 - math.exp(-twice)
    if not some:
        return waits
    spread = _spread(trouble, end, runs, fleet)
    wait = until_turn(end, spread, trouble.submit_every)
    wait += trouble.submit_every * _turns_more(twice, trouble.failing**2) / some
    waiting = math.ceil(min(max(twice, 1.0), fleet.ranks))
    queue = trouble.queue * shortest_waits(waiting, waiting)
    return replace(
        waits,
        turns=waits.turns + some * wait,
        queue=waits.queue + some * queue,
        restarts=waits.restarts + some * START_HOURS,
        last=some * (wait + queue + START_HOURS),
    )


def until_turn(end: float, spread: float, every: float) -> float:
    """Return the mean wait for the next of the times `every`, 2 `every`, ... after the first.

    Args:
        end: when the wait begins, on the mean.
        spread: its standard deviation.
        every: hours.
    """
    if spread >= every / 2:
        return every / 2
    if spread <= 0:
        return every - end % every
    law = NormalDist(max(end, 1e-9), spread)
    points = [law.inv_cdf((place + 0.5) / 200) for place in range(200)]
    return sum(every - max(0.0, point) % every for point in points) / len(points)


def _turns_more(number: float, share: float) -> float:
    """Return how often, on the mean, some are left again of which a share is each time."""
    turns = 0.0
    while number * share > 1e-6:
        number *= share
        turns += 1.0 - math.exp(-number)
    return turns


def _age_without_stops(trouble: Trouble, hours: float) -> float:
    """Return the mean age of the ranks' runs so long after they were submitted together."""
    if math.isinf(trouble.limit):
        return hours
    period, points = trouble.limit + trouble.queue, 50
    first = (-trouble.queue * math.log((place + 0.5) / points) for place in range(points))
    return sum(max(0.0, hours - wait) % period for wait in first) / points


def _used_up(
    trouble: Trouble, busy: float, runs: Runs, throttling: Throttling, fleet: Fleet
) -> tuple[float, int, float]:
    """Return (hours in which nobody works, how often, hours worked before the last of them).

    A rank queues itself again `requeues` times and then waits for the next `submit`. All began
    together and all see the same, so they are used up together, after `Runs.job_hours`. Only
    those go on that were put back by a node of their own (half of the wait on the mean), or were
    down when the others stopped and so saved a restart; they count against the `fed` that keep
    the pace.
    """
    job, spread = runs.job_hours, runs.job_spread
    if busy <= job:
        return 0.0, 0, 0.0
    wait = until_turn(job, spread, trouble.submit_every)
    down = trouble.queue / (runs.hours + trouble.queue)
    odd = job / trouble.node_every / 2 + job * throttling.stops_an_hour * down
    covered = min(1.0, odd * fleet.ranks / fleet.fed)
    each = job + wait * covered
    jobs = math.ceil(busy / each) - 1
    return jobs * wait * (1.0 - covered), jobs, jobs * each


def _spread(trouble: Trouble, end: float, runs: Runs, fleet: Fleet) -> float:
    """Return the standard deviation of the end: throttles come by chance, and so do late turns."""
    throttling = throttling_of(trouble, fleet.addresses)
    square = end * throttling.square_an_hour / max(1, fleet.addresses)
    if runs.job_spread >= trouble.submit_every / 2:
        square += end / runs.job_hours * trouble.submit_every**2 / 12
    return math.sqrt(square)
