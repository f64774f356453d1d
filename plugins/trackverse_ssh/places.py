"""A host as one job uses it: which folders, which words, how many ranks at a time."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trackverse_ssh.line import Door

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trackverse_cli.interfaces import Job
    from trackverse_ssh.settings import Host, SSHSettings

SHARE_VARIABLE = "TRACKVERSE_PACE__SHARE"


@dataclass(frozen=True, slots=True)
class Place:
    """One host of one job.

    Attributes:
        name: the host, as ssh knows it.
        slots: ranks at a time.
        python: its interpreter.
        setup: lines of sh that run before a rank.
        root: the dataset folder of its own, empty if it sees the submitter's.
        log_dir: where ranks write their logs there.
        folder: where attempts are kept there.
        rsync: whether it has rsync.
        moves: (path here, path there) of files outside the root that the command names.
        apart: how many hosts have a folder of their own, and so see nothing of each other.
    """

    name: str
    slots: int
    python: str
    setup: tuple[str, ...]
    root: str
    log_dir: str
    folder: str
    rsync: bool = False
    moves: tuple[tuple[str, str], ...] = ()
    apart: int = 0

    @property
    def door(self) -> Door:
        """How it is entered."""
        return Door(self.name, self.python)

    @classmethod
    def of_job(cls, host: Host, settings: SSHSettings, job: Job, folder: Path) -> Place:
        """Return the place that a host is for a job whose record is kept in `folder`."""
        log_dir = str(job.log_dir)
        if host.root:
            inside = job.root is not None and job.log_dir.is_relative_to(job.root)
            below = f"{host.root}/logs/{job.log_dir.name}"
            log_dir = moved(log_dir, str(job.root), host.root) if inside else below
        there = f"{log_dir}/{folder.name}/{host.name}"
        files = _files_outside(job) if host.root else []
        return cls(
            name=host.name,
            slots=host.slots or settings.slots,
            python=host.python or settings.python or sys.executable,
            setup=(*settings.setup, *host.setup),
            root=host.root,
            log_dir=log_dir,
            folder=there,
            apart=sum(1 for one in settings.hosts if one.root),
            moves=tuple((path, f"{there}/{n}-{Path(path).name}") for n, path in enumerate(files)),
        )

    @classmethod
    def of_json(cls, facts: Mapping[str, Any]) -> Place:
        """Return the place that was written as JSON."""
        setup = tuple(facts["setup"])
        return cls(**{**facts, "setup": setup, "moves": tuple(map(tuple, facts["moves"]))})

    def words(self, job: Job, rank: int) -> list[str]:
        """Return the whole command of a rank there."""
        first, *rest = job.words(rank)
        if first == sys.executable:
            first = self.python
        return [self._moved(word, job) for word in (first, *rest)]

    def env(self, job: Job) -> dict[str, str]:
        """Return the variables of a rank there."""
        there = {name: self._moved(value, job) for name, value in job.env.items()}
        if self.root and self.apart > 1:
            # They cannot share a pace, so each keeps to its part of it.
            there.setdefault(SHARE_VARIABLE, str(self.apart))
        return there

    def cwd(self, job: Job) -> str:
        """Return the folder that a rank begins in there."""
        return self.root or str(job.root or job.log_dir)

    def _moved(self, word: str, job: Job) -> str:
        if not self.root:
            return word
        there = dict(self.moves).get(word)
        if there is not None or job.root is None:
            return there or word
        return moved(word, str(job.root), self.root)


def moved(word: str, old: str, new: str) -> str:
    """Return `word` with the folder `old` replaced by `new`, if it is that folder or below it."""
    if word == old or word.startswith(old.rstrip("/") + "/"):
        return new + word[len(old.rstrip("/")) :]
    return word


def _files_outside(job: Job) -> list[str]:
    """Return the configuration files outside the root that the command names."""
    root = f"{job.root}{os.sep}"
    words = [w for w in job.command if w.endswith(".toml") and not w.startswith(root)]
    return sorted({word for word in words if os.path.isabs(word) and Path(word).is_file()})  # noqa: PTH117 - text in, text out
