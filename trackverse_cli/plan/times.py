"""How long it takes: the pace, the bringing and the cutting, and what troubles add to them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from trackverse_cli.pace import feeding_sentence, hours_for, ranks_fed
from trackverse_cli.pace.fleet import SECONDS_OF_WORK_PER_VIDEO, SECONDS_TO_BRING
from trackverse_cli.plan.rates import FAILING_SECONDS
from trackverse_cli.plan.reach import request_places
from trackverse_cli.plan.waits import Fleet, Waits, line_waits, own_waits, repeated_share

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from trackverse_cli.plan.rates import Rates
    from trackverse_cli.plan.survey import Survey
    from trackverse_cli.plan.terms import PlanTerms

    Ints = NDArray[np.int64]
    Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Times:
    """How long it takes, on the mean.

    Attributes:
        pace_hours: the requests at the pace.
        bringing_hours: the downloads, of which each rank has one at a time.
        cpu_hours: core hours of decoding, cropping and encoding, over all ranks.
        slowest_cut_hours: the cutting of the rank that has most of it, on its cores.
        slowest_share_hours: the requests of the rank that has most, where hosts divide an address;
            else 0.
        last_clip_hours: from the first request to the last clip: a video is cut once it is there.
        waits: what troubles add.
        ranks_fed: how many ranks the pace keeps busy.
        feeding: the same in a sentence, against the ranks that are meant.
    """

    pace_hours: float
    bringing_hours: float
    cpu_hours: float
    slowest_cut_hours: float
    slowest_share_hours: float
    last_clip_hours: float
    waits: Waits
    ranks_fed: int
    feeding: str

    @property
    def work_hours(self) -> float:
        """From the first request to the last clip, if nothing goes wrong."""
        return max(
            self.pace_hours,
            self.bringing_hours,
            self.slowest_share_hours,
            self.slowest_cut_hours,
            self.last_clip_hours,
        )

    @property
    def makespan_hours(self) -> float:
        """From the first `submit` to the last clip."""
        return self.work_hours + self.waits.hours

    @property
    def bound(self) -> str:
        """What decides: `pace`, `bringing`, `cutting`, `share`, or `nothing`."""
        if self.work_hours <= 0:
            return "nothing"
        others = max(self.pace_hours, self.slowest_cut_hours)
        if self.slowest_share_hours > max(others, self.bringing_hours):
            return "share"
        # A round of all ranks is never quicker than the pace, so a little more says nothing.
        if self.bringing_hours > 1.05 * others:
            return "bringing"
        return "pace" if self.pace_hours >= self.slowest_cut_hours else "cutting"


def times_of(
    found: Survey, rates: Rates, work: Floats, ranks: Ints, turns: Ints, terms: PlanTerms
) -> Times:
    """Return how long it takes.

    Args:
        found: where everything stands.
        rates: what a second costs.
        work: (v,) core seconds of each video, if it comes.
        ranks: (v,) the rank of each.
        turns: (v,) as `reach.request_turns` gives them.
        terms: the pace, the ranks and the troubles.
    """
    trouble, size = terms.trouble, terms.world_size
    work = np.where(found.asked, work * (1.0 - trouble.gone), work)
    requests, videos = int(found.asked.sum()), len(found.due_rows)
    addresses = len(terms.egresses)
    decoding = rates.decode * found.decoded_seconds
    cutting = _cutting_hours(work, decoding, ranks, terms)
    asked = np.bincount(ranks[found.asked], minlength=size)
    share = hours_for(int(asked.max(initial=0)) * terms.share, terms.kept_pace, addresses)
    pace = hours_for(requests, terms.kept_pace, addresses)
    bringing, alone, mean = _bringing(found, rates, ranks, terms)
    each = float(work.sum()) / videos if videos else SECONDS_OF_WORK_PER_VIDEO
    feeding = (terms.whole_pace, each, terms.cores_per_rank)
    fed = ranks_fed(*feeding, mean)
    calm = Times(
        pace,
        max(bringing, float(alone.max(initial=0.0))),
        float(work.sum()) / 3600,
        float(cutting.max(initial=0.0)),
        share,
        _last_clip_hours(work, ranks, turns, terms),
        Waits(),
        fed,
        feeding_sentence(*feeding, size, mean),
    )
    return _with_waits(calm, np.maximum(cutting, alone), requests, terms)


def _with_waits(calm: Times, own: Floats, requests: int, terms: PlanTerms) -> Times:
    """Return the times with their waits: those of the line, or of the ranks if these end later."""
    trouble, work = terms.trouble, calm.work_hours
    if not requests:
        waits = own_waits(trouble, own, Fleet(0, terms.world_size, 1, 0.0))
        return replace(calm, waits=waits)
    addresses = len(terms.egresses)
    fleet = Fleet(addresses, terms.world_size, calm.ranks_fed, terms.kept_pace * addresses)
    asking = max(calm.pace_hours, calm.bringing_hours, calm.slowest_share_hours)
    again = asking * repeated_share(trouble, asking, fleet)
    line = replace(line_waits(trouble, asking + again, fleet), again=again)
    alone = own_waits(trouble, own, fleet)
    if fleet.ranks <= fleet.fed:
        # Nobody works instead of a rank that waits.
        line = replace(
            line,
            queue=max(line.queue, alone.queue),
            restarts=max(line.restarts, alone.restarts),
        )
    # Whichever ends first has its waits in the time of the other.
    cutting = work if calm.slowest_cut_hours > asking else float(own.max(initial=0.0))
    if cutting + alone.hours > asking + line.hours:
        return replace(calm, waits=_shrunk(alone, work - cutting))
    return replace(calm, waits=_shrunk(line, work - asking))


def _shrunk(waits: Waits, hidden: float) -> Waits:
    """Return waits of which so many hours fall into the time of something that takes longer."""
    part = max(0.0, 1.0 - hidden / waits.hours) if waits.hours > 0 else 0.0
    return Waits(
        waits.again * part,
        waits.cool_downs * part,
        waits.queue * part,
        waits.restarts * part,
        waits.turns * part,
        waits.last * part,
    )


def _bringing(
    found: Survey, rates: Rates, ranks: Ints, terms: PlanTerms
) -> tuple[float, Floats, float]:
    """Return (hours of all together, (ranks,) hours of each alone, mean seconds of a video).

    A rank brings one video after the other: a page and the bytes at the line's speed, for those
    that come; a page for those that are gone; and three attempts where the request fails for a
    moment. Ranks take turns, so each goes on when it has brought its video and its turn has come
    round, after as many turns as there are ranks: the sum over all videos of the longer of the
    two, shared by the ranks. One rank with many videos cannot be faster than its own sum.
    """
    rows = np.flatnonzero(found.asked)
    alone = np.zeros(terms.world_size)
    if not len(rows):
        return 0.0, alone, SECONDS_TO_BRING
    gone, failing = terms.trouble.gone, terms.trouble.failing
    here = rates.page + found.length_seconds[rows] * rates.video / rates.line
    turn = 3600 / (terms.kept_pace * len(terms.egresses))
    ranks_asking = len(np.unique(ranks[rows]))
    round_seconds = turn * max(1, ranks_asking)
    took = (1 - gone) * here + gone * rates.page + failing * FAILING_SECONDS
    alone = np.bincount(ranks[rows], took, terms.world_size) / 3600
    if terms.share:
        return 0.0, alone, float(took.mean())
    waited = (1 - gone) * np.maximum(here, round_seconds) + gone * max(rates.page, round_seconds)
    return float(waited.sum()) / ranks_asking / 3600, alone, float(took.mean())


def _cutting_hours(work: Floats, decoding: Floats, ranks: Ints, terms: PlanTerms) -> Floats:
    """Return (ranks,) hours that each cuts where all its videos are there.

    All cores are at one video each time, but it is decoded on one of them: that begins once the
    video may be begun, some videos ahead, and can last longer than all that is left.
    """
    rows = np.argsort(ranks, kind="stable")
    own, hours = ranks[rows], work[rows] / terms.cores_per_rank / 3600
    counts = np.bincount(own, minlength=terms.world_size)
    firsts = np.repeat(np.cumsum(counts) - counts, counts)
    before = np.cumsum(hours) - hours
    ahead = np.maximum(firsts, np.arange(len(rows)) - terms.cores_per_rank)
    begins = before[ahead] - before[firsts]
    cutting = np.bincount(own, hours, terms.world_size).astype(np.float64)
    np.maximum.at(cutting, own, np.where(hours > 0, begins + decoding[rows] / 3600, 0.0))
    return cutting


def _last_clip_hours(work: Floats, ranks: Ints, turns: Ints, terms: PlanTerms) -> float:
    """Return when the last rank has cut its last video, all cores of a rank at one video each time.

    A rank has done from its k-th video on no sooner than that video came and the work of it and
    of all later ones is done; the latest of these, over k, is when it ends.
    """
    came = (request_places(turns, ranks) + 1).astype(np.float64)
    if terms.share:
        came = np.maximum(came, (turns + 1) * float(terms.share))
    came /= terms.kept_pace * len(terms.egresses)
    rows = np.lexsort((came, ranks))
    hours = work[rows] / terms.cores_per_rank / 3600
    own = ranks[rows]
    ends = np.cumsum(np.bincount(own, hours, terms.world_size))
    still = ends[own] - (np.cumsum(hours) - hours)
    return float((came[rows] + still).max(initial=0.0))
