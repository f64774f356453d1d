"""The pause after a throttle: a pure fold over what happened, so that all ranks compute the same.

The first throttle starts a cool-down. Whatever is throttled while it lasts was on its way already
and can only make it longer. A throttle after its end doubles the length, up to the most allowed;
an answer that came well after its end takes one doubling back.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

LONGEST_RETRY_AFTER_SECONDS: Final = 7 * 86_400.0
"""A host that asks for more is asked again after a week."""

FORGET_MS: Final = 8 * 86_400_000
"""An event this old counts for nothing and its file may go."""


@dataclass(frozen=True, slots=True)
class Event:
    """One throttle, or one answer that eases the next.

    Attributes:
        at_ms: the shared time, in milliseconds since 1970.
        throttled: a throttle; else an answer.
        retry_ms: what the host asked for; 0 if nothing.
        start_ms: the first cool-down's length.
        most_ms: the longest cool-down.
        name: the file's name.
    """

    at_ms: int
    throttled: bool
    retry_ms: int
    start_ms: int
    most_ms: int
    name: str = ""

    def name_of(self, owner: str) -> str:
        """Return the name of this event's file."""
        kind = "t" if self.throttled else "e"
        return f"c{self.at_ms:015d}.{kind}.{self.retry_ms}.{self.start_ms}.{self.most_ms}.{owner}"


@dataclass(frozen=True, slots=True)
class CoolDown:
    """Where an egress stands.

    Attributes:
        until_ms: when requests may go on, shared time.
        length_ms: how long the newest cool-down is.
        level: how many cool-downs followed each other closely; 0 after long peace.
        eased_ms: when the level last fell.
        name: the event that began it.
    """

    until_ms: int = 0
    length_ms: int = 0
    level: int = 0
    eased_ms: int = 0
    name: str = ""


def fold(events: Iterable[Event]) -> CoolDown:
    """Return where the events lead, oldest first."""
    state = CoolDown()
    for event in events:
        state = after(state, event)
    return state


def after(state: CoolDown, event: Event) -> CoolDown:
    """Return where one more event leads."""
    if not event.throttled:
        return _eased(state, event)
    begun = state.until_ms - state.length_ms
    if state.level and event.at_ms < state.until_ms:
        until = max(state.until_ms, event.at_ms + event.retry_ms)
        return CoolDown(until, until - begun, state.level, state.eased_ms, state.name)
    long_ago = event.at_ms >= state.until_ms + event.most_ms
    level = 1 if long_ago else state.level + 1
    base = event.retry_ms or event.start_ms
    length = max(event.retry_ms, min(base * 2 ** min(level - 1, 40), event.most_ms))
    until = event.at_ms + length
    return CoolDown(until, length, level, until, event.name)


def _eased(state: CoolDown, event: Event) -> CoolDown:
    if not eases(state, event.at_ms, event.start_ms):
        return state
    return CoolDown(state.until_ms, state.length_ms, state.level - 1, event.at_ms, state.name)


def eases(state: CoolDown, at_ms: int, start_ms: int) -> bool:
    """Say whether an answer at this time takes a doubling back."""
    return state.level > 0 and at_ms - max(state.until_ms, state.eased_ms) >= start_ms


def retry_after_ms(seconds: float | None) -> int:
    """Return a host's `Retry-After` in milliseconds; 0 for none or one that makes no sense."""
    if seconds is None or not seconds > 0:
        return 0
    return round(min(seconds, LONGEST_RETRY_AFTER_SECONDS) * 1000)
