"""What is kept of a submitted job, so that it can be looked at and ended days later."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from trackverse_cli.errors import UsageError
from trackverse_cli.files import atomic_write_bytes, make_folder
from trackverse_cli.interfaces import Task

if TYPE_CHECKING:
    from trackverse_cli.layout import Layout

SCHEMA_VERSION = 1
_ID = re.compile(r"[0-9]{8}T[0-9]{6}Z-[a-z-]+-[0-9]+")
_FILE = "job.json"


class JobRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One submission.

    Attributes:
        id: names it; also its folder below `state/jobs/` and its folder of logs.
        time: when it was submitted, seconds since 1970.
        stage: the command that each rank runs.
        executor: who runs it.
        world_size: how many ranks share the work.
        key: what its ranks are asked for (`fence.work_key`).
        metadata: the names of the metadata files, joined by `+`.
        log_dir: the folder of its logs.
        command: the command without rank and world size.
        due: rank -> (videos, clips) that it had left to win when it was submitted.
        tasks: one for each rank; none while it is being submitted.
        ended: rank -> how its task ended, once all of them have; empty before.
    """

    id: str
    time: float
    stage: str
    executor: str
    world_size: int
    key: str
    metadata: str
    log_dir: str
    command: list[str]
    due: dict[int, tuple[int, int]]
    tasks: list[Task] = []
    ended: dict[int, str] = {}
    schema: int = SCHEMA_VERSION

    def log_path(self, rank: int) -> Path:
        """Return the log of one rank."""
        return Path(self.log_dir) / f"rank-{rank:04d}.log"


def save_job(layout: Layout, record: JobRecord) -> None:
    """Keep a job, replacing what was kept of it.

    Raises:
        UsageError: its folder cannot be made.
        OSError: the disk refused.
    """
    folder = layout.jobs / record.id
    make_folder(folder, "the folder of the job")
    atomic_write_bytes(folder / _FILE, msgspec.json.encode(record) + b"\n")


def load_jobs(layout: Layout) -> list[JobRecord]:
    """Return every job that is kept, oldest first; what cannot be read is left out."""
    try:
        names = sorted(entry.name for entry in layout.jobs.iterdir() if _ID.fullmatch(entry.name))
    except OSError:
        return []
    records = [_load(layout.jobs / name / _FILE) for name in names]
    return sorted((r for r in records if r is not None), key=lambda record: record.time)


def find_job(layout: Layout, job: str | None) -> JobRecord:
    """Return the job whose id is, or begins or ends with, `job`; the newest for None.

    Raises:
        UsageError: there is none, or more than one.
    """
    records = load_jobs(layout)
    if not records:
        raise UsageError(f"no job was submitted from {layout.root}; start one: trackverse submit")
    if job is None:
        return records[-1]
    found = [r for r in records if r.id.startswith(job) or r.id.endswith(job)]
    if len(found) == 1:
        return found[0]
    known = ", ".join(record.id for record in (found or records)[-5:])
    many = "more than one job is" if found else "no job is"
    raise UsageError(f"{many} called '{job}'; known: {known}")


def _load(path: Path) -> JobRecord | None:
    try:
        record = msgspec.json.decode(path.read_bytes(), type=JobRecord)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return None
    return record if record.schema <= SCHEMA_VERSION and record.id == path.parent.name else None
