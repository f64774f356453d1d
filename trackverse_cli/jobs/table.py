"""A job as a table: worst ranks first, the rest folded into one line."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING

from rich.console import Group
from rich.table import Table
from rich.text import Text

from trackverse_cli.jobs.status import STATES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from trackverse_cli.jobs.status import JobStatus, RankStatus

RANKS_SHOWN = 20
_COLOURS = {
    "failed": "red", "stopped": "yellow", "unknown": "yellow", "running": "green",
    "pending": "", "ended": "", "done": "dim",
}  # fmt: skip


def job_table(status: JobStatus, ranks_shown: int | None = RANKS_SHOWN) -> RenderableType:
    """Return what a person wants to see of a job.

    Args:
        status: how it stands.
        ranks_shown: fold all ranks but so many; None for no folding.
    """
    ordered = sorted(status.ranks, key=_urgency)
    shown = ordered if ranks_shown is None else ordered[:ranks_shown]
    folded = ordered[len(shown) :]
    if len(folded) == 1:
        shown, folded = ordered, []
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("rank", justify="right")
    table.add_column("state")
    table.add_column("where", overflow="fold", max_width=18)
    downloads = status.record.stage != "extract-tracks"
    if downloads:
        table.add_column("videos", justify="right", no_wrap=True)
    if status.unit == "clips":
        table.add_column("clips", justify="right", no_wrap=True)
    table.add_column("an hour", justify="right", no_wrap=True)
    table.add_column("", ratio=1, no_wrap=True, overflow="ellipsis")
    for one in sorted(shown, key=lambda one: (STATES.index(one.state), one.rank)):
        table.add_row(*_row(one, status.unit, downloads))
    parts: list[RenderableType] = [_head(status), table]
    if folded:
        states = Counter(one.state for one in folded)
        told = ", ".join(f"{states[state]} {state}" for state in STATES if states[state])
        parts.append(Text(f"{len(folded)} more ranks: {told} (--all shows them)", style="dim"))
    parts += [Text(note, style="yellow") for note in status.notes]
    return Group(*parts)


def _urgency(one: RankStatus) -> tuple[int, float, int]:
    """Return what sorts the worst rank first: its state, then how far it is."""
    due = one.clips_due or one.videos_due
    share = (one.clips + one.failed if one.clips_due else one.videos) / due if due else 1.0
    return STATES.index(one.state), share, one.rank


def _row(one: RankStatus, unit: str, downloads: bool) -> Sequence[RenderableType]:
    rate = one.videos_per_hour if unit == "videos" else one.clips_per_hour
    row: list[RenderableType] = [
        str(one.rank),
        Text(one.state, style=_COLOURS[one.state]),
        Text(one.place),
    ]
    if downloads:
        row.append(f"{one.videos:,}/{one.videos_due:,}")
    if unit == "clips":
        row.append(f"{one.clips:,}/{one.clips_due:,}")
    return [*row, f"{rate:,.0f}" if rate else "", Text(one.note)]


def _head(status: JobStatus) -> Text:
    record, states = status.record, status.states
    told = ", ".join(f"{states[state]} {state}" for state in STATES if states[state])
    share = f" ({100 * status.done / status.due:.0f} %)" if status.due else ""
    lines = [
        f"job {record.id}",
        f"{record.stage} by {record.executor}, {len(status.ranks)} of {record.world_size} ranks: "
        f"{told}",
        f"{status.done:,} of {status.due:,} {status.unit}{share}{_pace(status)}",
    ]
    return Text("\n".join(lines))


def _pace(status: JobStatus) -> str:
    if status.ended:
        return "; every rank has ended: `trackverse verify` says what is complete"
    if status.seconds_left is None:
        return ""
    end = time.strftime("%a %H:%M", time.localtime(time.time() + status.seconds_left))
    return f", {status.per_hour:,.0f} an hour, done {_told(status.seconds_left)} from now ({end})"


def _told(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 172_800 else f"{seconds / 86_400:.1f} days"
