"""The executor `ssh`: jobs on hosts, looked after by whichever process asks for them."""

from __future__ import annotations

import json
import secrets
import shlex
import shutil
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from trackverse_cli.errors import ConfigError, LacksError
from trackverse_cli.interfaces import Task, TaskDetail, TaskState
from trackverse_ssh.board import Board
from trackverse_ssh.checks import fit_places
from trackverse_ssh.line import Line
from trackverse_ssh.places import Place
from trackverse_ssh.record import Record
from trackverse_ssh.transfer import fetch

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from trackverse_cli.interfaces import Job
    from trackverse_ssh.settings import SSHSettings


@dataclass(slots=True)
class SSHExecutor:
    """Runs ranks on hosts; each call of `poll` starts the next ones where slots are free.

    Attributes:
        settings: `[executor.ssh]`.
    """

    settings: SSHSettings
    _boards: dict[str, Board] = field(default_factory=dict)

    def submit(self, job: Job) -> Sequence[Task]:
        """Check the hosts and start as many ranks as have room.

        Raises:
            ConfigError: no hosts are configured.
            LacksError: none of them can run the job; the reason of each is told.
        """
        folder = job.log_dir.absolute() / f"ssh-{secrets.token_hex(4)}"
        places, line = self._places(job, folder), Line.of(self.settings)
        folder.mkdir()
        try:
            fit, unfit = fit_places(line, places, job, folder)
            if not fit:
                raise LacksError(_none_fits(unfit))
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        _tell_unfit(unfit)
        record = Record(folder, job, fit, time.time() + job.delay_seconds)
        record.save()
        self._boards[str(folder)] = Board(record, line, self.settings)
        self._boards_of([str(folder)])[0].turn()
        return [Task("ssh", rank, json.dumps({"folder": str(folder)})) for rank in job.ranks]

    def poll(self, tasks: Sequence[Task]) -> Mapping[Task, TaskState]:
        """Return every task's state as of a look that is at most `poll_seconds` old."""
        for board in self._boards_of(_folder(task) for task in tasks):
            board.turn()
        return {task: self._state(task) for task in tasks}

    def cancel(self, tasks: Sequence[Task]) -> None:
        """End the given ranks with all their processes; those that do not listen are killed."""
        by_folder: dict[str, list[int]] = {}
        for task in tasks:
            by_folder.setdefault(_folder(task), []).append(task.rank)
        for folder, ranks in by_folder.items():
            for board in self._boards_of([folder]):
                board.cancel(ranks)

    def details(self, tasks: Sequence[Task]) -> Mapping[Task, TaskDetail]:
        """Return host, process and what became of tasks, from what was seen last."""
        found = {}
        for task in tasks:
            board = self._board(_folder(task))
            if board is not None:
                found[task] = board.detail(task.rank)
        return found

    def collect(self, tasks: Sequence[Task]) -> None:
        """Bring clips and ledgers from hosts with a root of their own.

        Raises:
            LacksError: a host cannot be reached; the others' results have been brought.
        """
        problems: list[str] = []
        for board in self._boards_of(_folder(task) for task in tasks):
            root, how = board.record.job.root, self.settings.bring
            board.record.refresh()
            tried = {a.place for tries in board.record.attempts.values() for a in tries}
            own = [p for p in board.record.places.values() if p.root and p.name in tried]
            if root is None:
                continue
            videos = self.settings.bring_videos
            calls = {p.name: partial(fetch, board.line, p, root, how, videos) for p in own}
            for name, answer in board.line.each(calls).items():
                if isinstance(answer, LacksError):
                    problems.append(f"{name}: {answer}")
        if problems:
            raise LacksError(
                "not all results have been brought, the next try goes on: " + "; ".join(problems)
            )

    def describe(self, job: Job) -> str:
        """Return the commands that would run on each host, without asking any host."""
        places = self._places(job, job.log_dir / "ssh")
        first: dict[str, list[int]] = {place.name: [] for place in places}
        waiting = list(job.ranks)
        while waiting:
            free = [p for p in places if len(first[p.name]) < p.slots]
            if not free:
                break
            place = max(free, key=lambda p: (p.slots - len(first[p.name])) / p.slots)
            first[place.name].append(waiting.pop(0))
        line, text = Line.of(self.settings), []
        for place in places:
            where = place.root or "the submitter's folder"
            text.append(f"# {place.name}: {place.slots} at a time, on {where}")
            text += [_shown(line, place, job, rank) for rank in first[place.name]]
        if waiting:
            ranks = ", ".join(map(str, waiting))
            text.append(f"# as slots become free: ranks {ranks}")
        return "\n".join(text) + "\n"

    def _places(self, job: Job, folder: Path) -> list[Place]:
        if not self.settings.hosts:
            raise ConfigError(
                "[executor.ssh] hosts is empty; name the machines that ranks are to run on there"
            )
        return [Place.of_job(host, self.settings, job, folder) for host in self.settings.hosts]

    def _state(self, task: Task) -> TaskState:
        board = self._board(_folder(task))
        return TaskState.UNKNOWN if board is None else board.state(task.rank)

    def _boards_of(self, folders: Iterable[str]) -> list[Board]:
        boards = (self._board(folder) for folder in dict.fromkeys(folders))
        return [board for board in boards if board is not None]

    def _board(self, folder: str) -> Board | None:
        """Return the board of a job, also of one that another process submitted."""
        if folder not in self._boards:
            try:
                record = Record.load(Path(folder))
                record.refresh()
            except (OSError, ValueError, KeyError, TypeError):
                return None  # its logs were removed
            self._boards[folder] = Board(record, Line.of(self.settings), self.settings)
        return self._boards[folder]


def _folder(task: Task) -> str:
    try:
        return str(json.loads(task.handle)["folder"])
    except (ValueError, KeyError, TypeError):
        return ""


def _none_fits(unfit: Mapping[str, str]) -> str:
    reasons = "; ".join(f"{name}: {reason}" for name, reason in unfit.items())
    return f"no host of [executor.ssh] hosts can run the job: {reasons}"


def _tell_unfit(unfit: Mapping[str, str]) -> None:
    from loguru import logger

    for name, reason in unfit.items():
        logger.warning("host {} is left out: {}", name, reason)


def _shown(line: Line, place: Place, job: Job, rank: int) -> str:
    """Return a shell line that runs one rank by hand, its output on the terminal."""
    variables = [f"{name}={value}" for name, value in place.env(job).items()]
    words = ["env", *variables, *place.words(job, rank)] if variables else place.words(job, rank)
    there = [f"cd {shlex.quote(place.cwd(job))}", *place.setup, f"exec {shlex.join(words)}"]
    return shlex.join([*line.command, "--", place.name, " && ".join(there)])
