"""What the time of a played fleet is made of, beside what `plan` says of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from benchmarks.fleet.address import Address
    from benchmarks.fleet.report import Played

LEAST_GAP_SECONDS: Final = 360.0
"""An address that sends nothing for less is not called idle."""

PARTS_HEAD: Final = (
    "setup", "trouble", "last clip", "`plan`", "work", "`plan`", "asked again", "`plan`",
    "cool-downs", "`plan`", "nobody at work", "`plan`: next submit", "the rest",
    "`plan`: queue, restarts",
)  # fmt: skip


def parts_row(one: Played) -> str:
    """Return the row of one fleet; all in hours, those of the addresses on their mean.

    Work is all requests once at the mean distance of two, or what `plan` has where nothing is
    asked for. The rest is what is left: queues, addresses with too few ranks, and the way of the
    last video from its request to its clips.
    """
    counts, setup, plan = one.counts, one.fleet.setup, one.plan.times
    last = counts.last_clip_hours
    addresses = one.fleet.addresses
    work, again, cool, idle = plan.work_hours, 0.0, 0.0, 0.0
    if addresses:
        mean = addresses[0].mean_seconds / 3600
        sent = sum(int(np.searchsorted(_times(one), last * 3600)) for one in addresses)
        work = one.fleet.world.videos * mean / len(addresses)
        again = (sent - one.fleet.world.videos) * mean / len(addresses)
        rests = [_rests(one, last * 3600) for one in addresses]
        cool = sum(seconds for seconds, _ in rests) / len(rests) / 3600
        idle = sum(seconds for _, seconds in rests) / len(rests) / 3600
    rest = last - work - again - cool - idle
    waits = plan.waits
    cells = (
        last, plan.makespan_hours, work, plan.work_hours, again, waits.again, cool,
        waits.cool_downs, idle, waits.turns, rest, waits.queue + waits.restarts,
    )  # fmt: skip
    told = " | ".join(f"{hours:,.2f}" for hours in cells)
    return f"| {setup.name} | {'yes' if one.trouble else 'no'} | {told} |"


def _times(address: Address) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.frombuffer(address.grants, dtype=np.float64)


def _rests(address: Address, last: float) -> tuple[float, float]:
    """Return (seconds in a cool-down, other seconds without a request) until the last clip."""
    rests = [(begin, min(end, last)) for begin, end in address.rests if begin < last]
    times = _times(address)
    times = np.append(times[times < last], last)
    idle = 0.0
    for place in np.flatnonzero(np.diff(times) >= LEAST_GAP_SECONDS).tolist():
        begin, end = float(times[place]), float(times[place + 1])
        inside = sum(max(0.0, min(end, b) - max(begin, a)) for a, b in rests)
        idle += end - begin - inside
    return sum(end - begin for begin, end in rests), idle
