"""The play: ranks take turns, download, cut, fail and start again, over weeks, in one thread."""

from __future__ import annotations

import heapq
import math
import random
from array import array
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

from benchmarks.fleet import assumptions as known
from benchmarks.fleet.address import Address
from benchmarks.fleet.rank import Later, Rank
from trackverse_cli.outputs.sink import MAX_WAIT_SECONDS
from trackverse_cli.outputs.writer import MAX_CLIPS
from trackverse_cli.pace import Terms, rate_of
from trackverse_cli.plan import Rates
from trackverse_cli.plan.rates import FAILING_SECONDS, PAGE_SECONDS
from trackverse_cli.reasons import Look, next_try_after, settle
from trackverse_cli.shards import assign
from trackverse_cli.stage_work import VIDEOS_AHEAD

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from benchmarks.fleet.assumptions import Setup, Trouble
    from benchmarks.fleet.world import World

WAITING, DONE, GONE = 0, 1, 2
FATES: Final = ("", "permanent", "access", "geo", "ambiguous")


@dataclass(slots=True)
class Tally:
    """What came of it, as far as it is counted on the way; seconds are rank seconds."""

    lines: Counter[str] = field(default_factory=Counter)
    ends: Counter[str] = field(default_factory=Counter)
    submits: set[float] = field(default_factory=set)
    waited: float = 0.0
    downloading: float = 0.0
    down: float = 0.0
    starting: float = 0.0
    cut_again: float = 0.0
    shards: int = 0


class Fleet:
    """One run of a whole job.

    Args:
        world: the videos.
        setup: ranks, cores, addresses.
        trouble: what goes wrong.
        seed: of all that is left to chance.
        horizon: seconds after which nothing is begun any more.

    Attributes:
        state: (v,) WAITING, DONE or GONE.
        settled: (v,) when.
        asked: (v,) how many requests each took.
        addresses: with all their requests.
        ranks: with what they had to do.
        tally: the counts.
    """

    def __init__(
        self, world: World, setup: Setup, trouble: Trouble, seed: int, horizon: float = math.inf
    ) -> None:
        self.world, self.setup, self.trouble = world, setup, trouble
        self._horizon = horizon
        self._chance = random.Random(seed)
        self.state = bytearray(world.videos)
        self.settled = array("d", bytes(8 * world.videos))
        self.asked = bytearray(world.videos)
        self.here = bytearray([not setup.addresses]) * world.videos
        rates = Rates()
        decode = rates.decode * world.decoded
        self.work = decode + rates.cut * world.encoded
        # All cores of a rank are at one video; its decoding is on one of them.
        self._share = array("d", (self.work / setup.cores).tobytes())
        self._least = array("d", decode.tobytes())
        seconds = PAGE_SECONDS + world.length * rates.video / rates.line
        self._download = array("d", seconds.tobytes())
        self._tracks = array("q", world.tracks.astype(np.int64).tobytes())
        self._fate = self._fates(seed) if setup.addresses else bytes(world.videos)
        terms = Terms(rate_of(setup.videos_per_hour, setup.jitter))
        self.addresses = [
            Address(terms, trouble, seed * 1000 + number) for number in range(setup.addresses)
        ]
        ranks = assign(world.costs, setup.world_size)
        rows = np.argsort(ranks, kind="stable")
        edges = np.cumsum(np.bincount(ranks, minlength=setup.world_size))
        parts = np.split(rows, edges[:-1])
        self.ranks = [Rank(number, part.tolist()) for number, part in enumerate(parts)]
        self.of_ranks: NDArray[np.int64] = ranks
        self.tally = Tally()
        self._events: list[tuple[float, int, bool]] = []

    def _fates(self, seed: int) -> bytes:
        shares = [getattr(self.trouble, fate) for fate in FATES[1:]]
        edges = np.cumsum(shares)
        drawn = np.random.default_rng([seed, 2]).random(self.world.videos)
        fate = np.searchsorted(edges, drawn, side="right") + 1
        return (fate % len(FATES)).astype(np.uint8).tobytes()

    def play(self) -> None:
        """Let it all happen."""
        for rank in self.ranks:
            self._again(rank, 0.0, self._queued())
        while self._events:
            now, number, starts = heapq.heappop(self._events)
            if now > self._horizon:
                continue
            rank = self.ranks[number]
            if starts:
                self._start(rank, now)
            else:
                self._go(rank, now)

    def _queued(self) -> float:
        mean = self.trouble.queue_seconds
        return self._chance.expovariate(1 / mean) if mean else 0.0

    def _again(self, rank: Rank, ended: float, at: float) -> None:
        self.tally.down += at - ended
        heapq.heappush(self._events, (at, rank.number, True))

    def _start(self, rank: Rank, now: float) -> None:
        trouble = self.trouble
        limit = now + trouble.limit_seconds - known.SIGNAL_SECONDS
        fails = math.inf
        if trouble.node_hours < math.inf:
            fails = now + self._chance.expovariate(1 / (trouble.node_hours * 3600))
        rank.until, rank.why = (limit, "limit") if limit <= fails else (fails, "node")
        cost = known.START_SECONDS + rank.clips_done * known.RESUME_SECONDS_PER_CLIP
        if rank.died:
            cost += known.STANDSTILL_SECONDS
        rank.died = False
        rank.free = now + cost
        rank.begin(now + cost)
        self.tally.starting += cost
        self.tally.lines["run"] += 1
        heapq.heappush(self._events, (now + cost, rank.number, False))

    def _go(self, rank: Rank, now: float) -> None:
        """Go on with the next video that has to be asked for; cut what is on disk before it."""
        while True:
            if now >= rank.until:
                self._end(rank, rank.until, rank.why)
                return
            row = rank.next_row()
            if row < 0:
                self._through(rank, now)
                return
            if self.state[row]:
                continue
            if not self.here[row]:
                self._request(rank, row, now)
                return
            now = self._cut(rank, row, now)

    def _request(self, rank: Rank, row: int, now: float) -> None:
        address = self.addresses[0]
        if len(self.addresses) > 1:
            address = min(self.addresses, key=Address.free)
        at = address.turn(now)
        if at == math.inf:
            rank.front.appendleft(row)
            self._end(rank, max(now, address.struck), "cool-down")
            return
        if at >= rank.until:
            rank.front.appendleft(row)
            self._end(rank, rank.until, rank.why)
            return
        address.take(at)
        self.tally.waited += at - now
        self.asked[row] += 1
        then = self._answer(rank, row, at, address)
        if then >= rank.until:
            self._end(rank, rank.until, rank.why)
        else:
            heapq.heappush(self._events, (then, rank.number, False))

    def _answer(self, rank: Rank, row: int, at: float, address: Address) -> float:
        """Return when the rank goes on after a request."""
        if address.is_throttling(at):
            address.strike(at + known.REFUSED_SECONDS)
            self._moment(rank, row, "throttled", at + known.REFUSED_SECONDS)
            return at + known.REFUSED_SECONDS
        if self.trouble.transient and self._chance.random() < self.trouble.transient:
            self._moment(rank, row, "transient", at + FAILING_SECONDS)
            return at + FAILING_SECONDS
        if self._fate[row]:
            then = at + PAGE_SECONDS
            self._failed(rank, row, FATES[self._fate[row]], then)
            return then
        came = at + self._download[row]
        if came >= rank.until:
            rank.front.appendleft(row)
            return came
        address.answered(came)
        self.tally.downloading += came - at
        self.tally.lines["present"] += 1
        rank.later.pop(row, None)
        self.here[row] = True
        return self._cut(rank, row, came)

    def _moment(self, rank: Rank, row: int, reason: str, at: float) -> None:
        """A failure of a moment: once more at the end of the run, the second time it counts."""
        if row in rank.tried:
            self._failed(rank, row, reason, at)
        else:
            rank.tried.add(row)
            rank.put_off.append(row)

    def _failed(self, rank: Rank, row: int, reason: str, at: float) -> None:
        before = rank.later.pop(row, None)
        tries, since = 1, at
        if before is not None and before.reason == reason:
            tries, since = before.tries + 1, before.since
        settled = settle(reason, [Look(since, reason)], at)
        self.tally.lines[f"failed {settled}"] += 1
        again = next_try_after(settled, tries, at)
        if again == math.inf:
            self.state[row], self.settled[row] = GONE, at
        else:
            rank.later[row] = Later(tries, since, again, settled)

    def _cut(self, rank: Rank, row: int, now: float) -> float:
        """Give a video to the cores; return when the rank may go on to the next."""
        began = max(now, rank.free)
        rank.free = began + self._share[row]
        rank.pending.append((max(rank.free, now + self._least[row]), row))
        most = self.setup.cores + VIDEOS_AHEAD
        while rank.pending:
            end, first = rank.pending[0]
            if end > now:
                if len(rank.pending) < most:
                    break
                now = end
            if now >= rank.until:
                break
            rank.pending.popleft()
            self._finished(rank, end, first)
        return now

    def _finished(self, rank: Rank, end: float, row: int) -> None:
        if not self.setup.webdataset:
            self._done(rank, end, row)
            return
        if rank.gathered and end - rank.gathered[0][0] >= MAX_WAIT_SECONDS:
            self._publish(rank, end)
        rank.gathered.append((end, row))
        rank.clips += self._tracks[row]
        if rank.clips >= MAX_CLIPS:
            self._publish(rank, end)

    def _publish(self, rank: Rank, at: float) -> None:
        for _, row in rank.gathered:
            self._done(rank, at, row)
        self.tally.shards += -(-rank.clips // MAX_CLIPS)
        rank.gathered, rank.clips = [], 0

    def _done(self, rank: Rank, at: float, row: int) -> None:
        self.state[row], self.settled[row] = DONE, at
        rank.clips_done += self._tracks[row]
        self.tally.lines["clips"] += 1

    def _end(self, rank: Rank, at: float, why: str) -> None:
        """End a run; what is not finished is left to the next."""
        tally = self.tally
        tally.ends[why] += 1
        lost = []
        for end, row in rank.pending:
            if end <= at or why == "cool-down":
                self._finished(rank, end, row)
            else:
                lost.append(row)
                # Clips that ended stand; what was decoded for the others is done again.
                won = max(0.0, at - (end - self._share[row])) / 2
                self._share[row] -= won
                tally.cut_again += won
        rank.pending.clear()
        if why == "node":
            lost += [row for _, row in rank.gathered]
            tally.cut_again += sum(self._share[row] for _, row in rank.gathered)
            rank.gathered, rank.clips = [], 0
        elif rank.gathered:
            self._publish(rank, at)
        rank.lose(lost)
        if why != "node":
            tally.lines["end"] += 1
        rank.died = why == "node"
        self._again(rank, at, self._next_start(rank, at, why))

    def _next_start(self, rank: Rank, at: float, why: str) -> float:
        if why == "node":
            return at + known.SLURM_NOTICES_SECONDS + self._queued()
        if why != "left" and rank.requeues < self.trouble.max_requeues:
            rank.requeues += 1
            delay = known.REQUEUE_DELAY_SECONDS if why == "cool-down" else 0.0
            return at + delay + self._queued()
        rank.requeues = 0
        every = self.trouble.submit_seconds
        day = (at // every + 1) * every
        self.tally.submits.add(day)
        return day + self._queued()

    def _through(self, rank: Rank, now: float) -> None:
        """No video is left in this run: wait for the cores, then end or leave the rest."""
        end = max((end for end, _ in rank.pending), default=now)
        if end > rank.until:
            self._end(rank, rank.until, rank.why)
        elif rank.later:
            for at, row in rank.pending:
                self._finished(rank, at, row)
            rank.pending.clear()
            self._end(rank, end, "left")
        else:
            for at, row in rank.pending:
                self._finished(rank, at, row)
            rank.pending.clear()
            self._publish(rank, end)
            self.tally.ends["nothing left"] += 1
            self.tally.lines["end"] += 1
            rank.ended = end
