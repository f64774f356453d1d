"""What a plan says of its waits, in sentences for a person."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trackverse_cli.plan.forecast import Plan
    from trackverse_cli.plan.times import Times
    from trackverse_cli.plan.trouble import Trouble

_LEAST_HOURS = 0.5 / 60

_BOUNDS = {
    "nothing": "nothing has to wait",
    "pace": "the pace decides",
    "bringing": "the downloads decide, of which a rank has one at a time",
    "cutting": "the cutting decides",
    "share": "the share of the pace decides",
}


def hours_text(hours: float) -> str:
    """Return hours for a person, in days where they are many."""
    if hours >= 48:
        return f"{hours / 24:,.1f} days"
    if hours >= 1:
        return f"{hours:.1f} h"
    return f"{hours * 60:.0f} min"


def bound_text(times: Times) -> str:
    """Return what decides how long it takes."""
    return _BOUNDS[times.bound]


def waits_text(times: Times) -> str:
    """Return the parts that come on top, those that are too short to tell left out."""
    waits = times.waits
    parts = (
        ("asking again", waits.again),
        ("cool-downs", waits.cool_downs),
        ("the queue", waits.queue),
        ("restarts", waits.restarts),
        ("waiting for the next submit", waits.turns),
    )
    told = [f"{name} {hours_text(hours)}" for name, hours in parts if hours >= _LEAST_HOURS]
    return f"{hours_text(waits.hours)} on the mean: {', '.join(told)}" if told else "none"


def assumed_text(plan: Plan) -> str:
    """Return what the waits are reckoned from."""
    trouble, asks = plan.terms.trouble, plan.requests > 0
    told = [*_of_the_host(trouble), *_of_the_line(plan)] if asks else []
    if not math.isinf(trouble.node_every):
        told.append(f"a node lost every {hours_text(trouble.node_every)}")
    if trouble.queue:
        told.append(f"{hours_text(trouble.queue)} in the queue")
    if not math.isinf(trouble.limit):
        again = f"{trouble.requeues} requeues" if trouble.requeues else "no requeue"
        told.append(f"runs of {hours_text(trouble.limit)}, {again}")
    told.append(f"submit run again every {hours_text(trouble.submit_every)}")
    return "; ".join(told)


def _of_the_host(trouble: Trouble) -> list[str]:
    told = []
    if trouble.gone or trouble.gone_source != "assumed":
        source = " as so far" if trouble.gone_source == "measured" else ""
        told.append(f"{trouble.gone:.0%} of the videos gone{source}")
    if trouble.failing:
        told.append(f"{trouble.failing:.0%} of the requests fail for a moment")
    if not math.isinf(trouble.throttled_every):
        told.append(
            f"each address throttled every {hours_text(trouble.throttled_every)} for "
            f"{hours_text(trouble.throttled)}"
        )
    return told


def _of_the_line(plan: Plan) -> list[str]:
    return [f"a download gets {plan.rates.line * 8 / 1e6:,.0f} Mbit/s"]
