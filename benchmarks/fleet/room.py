"""The model of turns, held against the real files of a pace: the same ranks, a clock of our own.

Each rank is a thread that takes turns with the real `Pace` on a real folder. Only one thread runs
at a time, and the clock jumps to the next one that wants to wake, so that hours pass in seconds
and every run gives the same.
"""

from __future__ import annotations

import heapq
import random
import threading
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from benchmarks.fleet.address import Address
from benchmarks.fleet.assumptions import PLAIN
from trackverse_cli.pace import Outcome, Pace, Terms, rate_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

BEGIN = 1_800_000_000.0


class Stage:
    """Threads that play one after the other, in simulated time."""

    def __init__(self) -> None:
        self.now = 0.0
        self._turn = threading.Event()
        self._queue: list[tuple[float, int, threading.Event]] = []
        self._count = 0

    def enter(self, part: Callable[[], None], at: float) -> None:
        """Have a part begin at a time."""
        begin = threading.Event()

        def play() -> None:
            begin.wait()
            try:
                part()
            finally:
                self._turn.set()

        threading.Thread(target=play, daemon=True).start()
        self._push(at, begin)

    def _push(self, at: float, wake: threading.Event) -> None:
        self._count += 1
        heapq.heappush(self._queue, (at, self._count, wake))

    def sleep(self, seconds: float) -> None:
        """Let the others play until then; called by a part."""
        wake = threading.Event()
        self._push(self.now + max(seconds, 1e-4), wake)
        self._turn.set()
        wake.wait()

    def play(self) -> None:
        """Let all parts play to their end."""
        while self._queue:
            at, _, wake = heapq.heappop(self._queue)
            self.now = max(self.now, at)
            self._turn.clear()
            wake.set()
            self._turn.wait()

    def time(self) -> float:
        """Return the wall clock."""
        return BEGIN + self.now

    def monotonic(self) -> float:
        """Return the time that has passed."""
        return self.now

    def now_ms(self) -> int:
        """Return the shared time."""
        return round(self.time() * 1000)


@dataclass(frozen=True, slots=True)
class Seen:
    """What came of one play.

    Attributes:
        turn_seconds: mean distance of two turns.
        wait_seconds: mean wait of a request.
        closest: the least distance of two turns, in intervals.
        operations: file system calls a turn; 0 for the model.
        spread: most and fewest turns of one rank.
    """

    turn_seconds: float
    wait_seconds: float
    closest: float
    operations: float
    spread: tuple[int, int]


def real_turns(
    folder: Path, ranks: int, requests: int, videos_per_hour: float, work: float, seed: int
) -> Seen:
    """Return what ranks see that use the real room, each at work for `work` seconds in between."""
    stage, terms = Stage(), Terms(rate_of(videos_per_hour, 0.1))
    chance = random.Random(seed)
    grants: list[tuple[float, int, float]] = []
    paces = [
        Pace(folder, "fleet", "", terms, clock=stage, shared_time=stage, background=False)
        for _ in range(ranks)
    ]

    def rank(number: int) -> None:
        while len(grants) < requests:
            joined = stage.now
            paces[number].ready()
            paces[number].take()
            grants.append((stage.now, number, stage.now - joined))
            stage.sleep(work)
            paces[number].note(Outcome.OK, f"video-{number}-{len(grants)}")

    def tend(number: int) -> None:
        while len(grants) < requests:
            stage.sleep(min(paces[number].tend() or 1.0, 1.0))

    for number in range(ranks):
        stage.enter(lambda number=number: rank(number), chance.random())  # type: ignore[misc]
        stage.enter(lambda number=number: tend(number), chance.random())  # type: ignore[misc]
    stage.play()
    operations = sum(pace.folder.operations for pace in paces)
    return _seen(grants[:requests], ranks, terms, operations / len(grants))


def model_turns(ranks: int, requests: int, videos_per_hour: float, work: float, seed: int) -> Seen:
    """Return the same of the simulation's model."""
    terms = Terms(rate_of(videos_per_hour, 0.1))
    address, chance = Address(terms, PLAIN, seed), random.Random(seed)
    queue = [(chance.random(), number) for number in range(ranks)]
    heapq.heapify(queue)
    grants: list[tuple[float, int, float]] = []
    while len(grants) < requests:
        joined, number = heapq.heappop(queue)
        at = address.turn(joined)
        address.take(at)
        grants.append((at, number, at - joined))
        heapq.heappush(queue, (at + work, number))
    return _seen(grants, ranks, terms, 0.0)


def _seen(
    grants: list[tuple[float, int, float]], ranks: int, terms: Terms, operations: float
) -> Seen:
    times = [at for at, _, _ in grants]
    gaps = [b - a for a, b in pairwise(times)]
    of_ranks = [0] * ranks
    for _, number, _ in grants:
        of_ranks[number] += 1
    late = grants[ranks:]
    return Seen(
        (times[-1] - times[0]) / len(gaps),
        sum(wait for _, _, wait in late) / len(late),
        min(gaps) / terms.rate.interval_seconds,
        operations,
        (max(of_ranks), min(of_ranks)),
    )
