"""One address: its turns one by one, and the host behind it that throttles now and then."""

from __future__ import annotations

import math
import random
from array import array
from typing import TYPE_CHECKING

from benchmarks.fleet.assumptions import LOOK_LAG
from trackverse_cli.pace.cooldown import CoolDown, Event, after, eases

if TYPE_CHECKING:
    from benchmarks.fleet.assumptions import Trouble
    from trackverse_cli.pace import Terms


class Address:
    """One egress, its line and its cool-downs; times are simulated seconds.

    Who joins the line first goes first, so the turn of each is known when it joins.

    Args:
        terms: the real ones.
        trouble: how often and how long the host throttles.
        seed: of its episodes.

    Attributes:
        grants: when each request went out.
        due: from when the next may.
        until: when the cool-down ends; 0 for none so far.
        struck: when the newest throttle was written down.
        throttles: how many cool-downs there were.
        rests: [begin, end] of each.
    """

    def __init__(self, terms: Terms, trouble: Trouble, seed: int) -> None:
        self.terms = terms
        self.grants = array("d")
        self.due = 0.0
        self.until = 0.0
        self.struck = 0.0
        self.throttles = 0
        self.rests: list[list[float]] = []
        self._lag = LOOK_LAG * terms.rate.poll_seconds
        self._spacing = terms.rate.spacing_seconds
        self._state = CoolDown()
        self._chance = random.Random(seed)
        self._trouble = trouble
        self._bad = (math.inf, math.inf)
        if trouble.throttle_hours < math.inf:
            self._next_episode(0.0)

    def _next_episode(self, after_seconds: float) -> None:
        begin = after_seconds + self._chance.expovariate(1 / (self._trouble.throttle_hours * 3600))
        mean = self._trouble.throttle_minutes * 60
        self._bad = (begin, begin + self._chance.expovariate(1 / mean))

    @property
    def mean_seconds(self) -> float:
        """The mean distance of two requests while somebody waits."""
        rate = self.terms.rate
        return rate.interval_seconds * (1 + rate.jitter / 2) + rate.margin_seconds + self._lag

    def free(self) -> float:
        """Return when a newcomer could send: what `Rotation` compares."""
        return self.due if self.due > self.until else self.until

    def turn(self, joined: float) -> float:
        """Return when the one who joins now gets his turn, or infinity: he has to end instead."""
        at = self.due + self._lag if joined <= self.due else joined
        noticed = max(joined, self.struck)
        if self.until > noticed:
            if self.until - noticed > self.terms.longest_wait_seconds:
                return math.inf
            at = max(at, self.until)
        return at

    def take(self, at: float) -> None:
        """Use the turn that `turn` told."""
        self.grants.append(at)
        self.due = at + self._spacing(len(self.grants))

    def is_throttling(self, at: float) -> bool:
        """Say whether the host refuses a request of this time."""
        while at >= self._bad[1]:
            self._next_episode(self._bad[1])
        return at >= self._bad[0]

    def strike(self, at: float) -> None:
        """Write down a throttle."""
        state = after(self._state, self._event(at, throttled=True))
        if state.name != self._state.name or not self._state.level:
            self.throttles += 1
            self.rests.append([at, at])
        self._state, self.until, self.struck = state, state.until_ms / 1000, at
        self.rests[-1][1] = self.until

    def answered(self, at: float) -> None:
        """Write down an answer: an hour of them takes a doubling back."""
        state = self._state
        if state.level:
            ease = self._event(at, throttled=False)
            if eases(state, ease.at_ms, ease.start_ms):
                self._state = after(state, ease)

    def _event(self, at: float, *, throttled: bool) -> Event:
        start = round(self.terms.cool_down_seconds * 1000)
        most = round(self.terms.longest_cool_down_seconds * 1000)
        at_ms = round(at * 1000)
        return Event(at_ms, throttled, 0, start, most, f"{at_ms}")
