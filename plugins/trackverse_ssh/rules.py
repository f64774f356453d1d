"""What the hosts' answers mean, for the executor and for a person."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from trackverse_cli.interfaces import TaskDetail, TaskState
from trackverse_ssh.record import End

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trackverse_ssh.protocol import Facts
    from trackverse_ssh.record import Record

_STOPPED_EARLY = 75


def told(record: Record, seen: Mapping[str, Facts], rank: int) -> TaskDetail:
    """Return where a rank is and what became of it."""
    attempt, end = record.current(rank), record.ends.get(rank)
    if attempt is None:
        return TaskDetail(note=end.note if end else "waits for a free slot")
    pid = seen.get(attempt.key, {}).get("pid")
    place = f"{attempt.place} ({pid})" if pid and not end else attempt.place
    away = None if end else record.away(attempt.place)
    notes = [end.note] if end and end.note else []
    if away is not None:
        since = time.strftime("%H:%M:%S", time.localtime(away[1]))
        notes.append(f"out of reach since {since}: {away[2]}")
    before = [one for one in record.attempts[rank] if one.number < attempt.number]
    if before and attempt.why == "moved":
        notes.append(f"moved from {before[-1].place}")
    elif before:
        notes.append(f"started again after it vanished on {before[-1].place}")
    return TaskDetail(place, "; ".join(notes))


def end_of(facts: Facts, place: str) -> End | None:
    """Return how an attempt ended, None if something from outside ended it."""
    if facts["is"] != "ended":
        return None
    code = facts["code"]
    if facts.get("cancelled"):
        return End(TaskState.SUCCEEDED) if code == 0 else End(TaskState.FAILED, "cancelled")
    if code == 0:
        return End(TaskState.SUCCEEDED)
    if code == _STOPPED_EARLY:
        return End(TaskState.STOPPED)
    # Killed from outside, most often for memory: once more, then it is the rank's own.
    return End(TaskState.FAILED, f"exit code {code} on {place}") if code > 0 else None


def fate(facts: Facts) -> str:
    """Return, for a person, what ended an attempt from outside."""
    return f"killed by signal {-facts['code']}" if facts["is"] == "ended" else "vanished"
