"""What a task on a node leaves in the log folder: how each rank ended, how often it came back."""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_CANCELLED = "slurm.cancelled"


@dataclass(frozen=True, slots=True)
class ExitRecord:
    """How a rank ended, as the task that ran it saw it.

    Attributes:
        job: the task's name in Slurm, `<array job>_<index>`.
        restart: how often Slurm had restarted the task before.
        code: the exit code; 128 + number after a signal.
        requeued: whether the task was queued again afterwards.
        host: the node.
        time: seconds since 1970.
    """

    job: str
    restart: int
    code: int
    requeued: bool
    host: str
    time: float


def record_path(log_dir: Path, rank: int) -> Path:
    """Return the file of a rank's exit record, beside its log."""
    return log_dir / f"rank-{rank:04d}.exit"


def read_record(log_dir: Path, rank: int, job: str) -> ExitRecord | None:
    """Return the record of a rank; None if there is none, or it is of another job."""
    value = _read(record_path(log_dir, rank))
    try:
        record = ExitRecord(
            str(value["job"]), int(value["restart"]), int(value["code"]),
            value["requeued"] is True, str(value["host"]), float(value["time"]),
        )  # fmt: skip
    except (KeyError, TypeError, ValueError):
        return None
    return record if record.job == job else None


def write_record(log_dir: Path, rank: int, record: ExitRecord) -> None:
    """Write a rank's record, unless a later start of the same task has already left one.

    Raises:
        OSError: the folder cannot be written.
    """
    there = read_record(log_dir, rank, record.job)
    if there is None or there.restart <= record.restart:
        _write(record_path(log_dir, rank), asdict(record))


def _counter(log_dir: Path, rank: int) -> Path:
    return log_dir / f"rank-{rank:04d}.requeues"


def requeues(log_dir: Path, rank: int, job: str) -> int:
    """Return how often the task of this rank has queued itself again."""
    value = _read(_counter(log_dir, rank))
    count = value.get("count")
    return count if value.get("job") == job and isinstance(count, int) else 0


def count_requeue(log_dir: Path, rank: int, job: str, count: int) -> None:
    """Note that the task of this rank has queued itself again so often.

    Raises:
        OSError: the folder cannot be written.
    """
    _write(_counter(log_dir, rank), {"job": job, "count": count})


def note_cancelled(log_dir: Path, jobs: Iterable[str]) -> None:
    """Note that tasks were cancelled: Slurm forgets at once those that had not started.

    Raises:
        OSError: the folder cannot be written.
    """
    with (log_dir / _CANCELLED).open("a", encoding="ascii") as file:
        file.write("".join(f"{job}\n" for job in sorted(jobs)))


def cancelled(log_dir: Path) -> frozenset[str]:
    """Return the tasks that were cancelled by this executor, from whatever process."""
    try:
        return frozenset((log_dir / _CANCELLED).read_text(encoding="ascii").split())
    except (OSError, ValueError):
        return frozenset()


def _read(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def _write(path: Path, value: dict[str, object]) -> None:
    temporary = path.with_name(f".tv-{secrets.token_hex(8)}.tmp")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            json.dump(value, file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
