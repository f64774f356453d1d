"""What runs on a node in front of the ranks of one task: `python -m trackverse_slurm.task`.

It starts the ranks, hands signals on, notes how they ended, and queues the task again where time
was short or a rank asked for a later try. It is the batch shell itself (`exec`), for only that
process gets the signal before the time limit.
"""

from __future__ import annotations

import argparse
import ctypes
import errno
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from trackverse_slurm import records
from trackverse_slurm.again import queue_again
from trackverse_slurm.script import groups, numbers_of

if TYPE_CHECKING:
    from collections.abc import Sequence

STOPPED_EARLY = 75
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, slots=True)
class Here:
    """Which task this is, from the options of the script and Slurm's variables.

    Attributes:
        job: `<array job>_<index>`.
        restart: how often Slurm has restarted it.
        ranks: the ranks of this task.
    """

    job: str
    restart: int
    ranks: tuple[int, ...]
    log_dir: Path
    world_size: int
    max_requeues: int
    requeue_delay: int
    command: tuple[str, ...]

    def say(self, rank: int, text: str) -> None:
        """Add a line to a rank's log; Slurm's own file has it where that cannot be written."""
        line = f"slurm task {self.job}: {text}\n"
        try:
            with (self.log_dir / f"rank-{rank:04d}.log").open("a", encoding="utf-8") as log:
                log.write(line)
        except OSError:
            sys.stderr.write(line)


@dataclass(slots=True)
class Signals:
    """What Slurm has told this task; every rank that runs hears it as TERM."""

    limit_near: bool = False
    asked_to_end: bool = False
    running: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def listen(self) -> None:
        """Take SIGTERM (cancelled, preempted, out of time) and SIGUSR1 (nearly out of time)."""
        signal.signal(signal.SIGTERM, self._handle)
        signal.signal(signal.SIGUSR1, self._handle)

    def started(self, process: subprocess.Popen[bytes]) -> None:
        """Hand on to this process whatever arrives, and what has arrived already."""
        self.running.append(process)
        if self.limit_near or self.asked_to_end:
            process.terminate()

    def _handle(self, signum: int, _frame: object) -> None:
        if signum == signal.SIGUSR1:
            self.limit_near = True
        else:
            self.asked_to_end = True
        for process in self.running:
            # No poll: it could reap what the main thread waits for at this moment.
            with suppress(ProcessLookupError):
                if process.returncode is None:
                    os.kill(process.pid, signal.SIGTERM)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one task; return its exit code: 0, 75 if a rank asked for a later try, or a failure's."""
    here = _here(argv)
    signals = Signals()
    signals.listen()
    due = [rank for rank in here.ranks if not _done_before(here, rank)]
    for rank in due:
        records.record_path(here.log_dir, rank).unlink(missing_ok=True)
    codes = _run(here, due, signals)
    requeued = False
    if not signals.asked_to_end:
        if signals.limit_near and any(code >= 128 for code in codes.values()):
            requeued = _requeue(here, codes, 0, "its time limit was near")
        elif STOPPED_EARLY in codes.values():
            requeued = _requeue(here, codes, here.requeue_delay, "it stopped early (75)")
    for rank, code in codes.items():
        _note(here, rank, code, requeued and code != 0)
    failures = sorted(code for code in codes.values() if code not in (0, STOPPED_EARLY))
    return failures[0] if failures else max(codes.values(), default=0)


def _here(argv: Sequence[str] | None) -> Here:
    parser = argparse.ArgumentParser(prog="trackverse_slurm.task", description=__doc__)
    parser.add_argument("--log-dir", type=Path, required=True)
    parser.add_argument("--ranks", type=numbers_of, required=True)
    for name in ("ranks-per-task", "world-size", "max-requeues", "requeue-delay", "offset"):
        parser.add_argument(f"--{name}", type=int, required=True)
    words = list(sys.argv[1:] if argv is None else argv)
    if "--" not in words[:-1]:
        parser.error("no command after --")
    own = words.index("--")
    given = parser.parse_args(words[:own])
    array, index = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    if not array or not index:
        parser.error("this runs as a task of a job array; start it by `sbatch --array=RANK`")
    first = given.offset + int(index)
    mine = [g for g in groups(given.ranks, given.ranks_per_task) if g[0] == first]
    if not mine:
        parser.error(f"no task of this job begins with rank {first}; see --ranks in the script")
    return Here(
        f"{array}_{index}", int(os.environ.get("SLURM_RESTART_COUNT") or 0), mine[0],
        given.log_dir, given.world_size, given.max_requeues, given.requeue_delay,
        tuple(words[own + 1 :]),
    )  # fmt: skip


def _done_before(here: Here, rank: int) -> bool:
    """Say whether a rank ended well before others of its task made Slurm start it again."""
    record = records.read_record(here.log_dir, rank, here.job)
    return len(here.ranks) > 1 and record is not None and record.code == 0


def _run(here: Here, ranks: Sequence[int], signals: Signals) -> dict[int, int]:
    """Run the given ranks beside each other; return the exit code of each."""
    codes: dict[int, int] = {}
    started: dict[int, subprocess.Popen[bytes]] = {}
    for number, rank in enumerate(ranks):
        try:
            started[rank] = _start(here, rank, _gpu(number, len(ranks)))
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            codes[rank] = STOPPED_EARLY if full else 127
            here.say(rank, f"rank {rank} cannot be started: {error}")
        else:
            signals.started(started[rank])
    for rank, process in started.items():
        code = process.wait()
        codes[rank] = code if code >= 0 else 128 - code
        if len(here.ranks) > 1 and codes[rank] == 0:
            _note(here, rank, 0, requeued=False)  # seen by `status` before its neighbours end
    return codes


def _gpu(number: int, count: int) -> dict[str, str]:
    """Return the variables that give one of several ranks its GPU of those of the task."""
    devices = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    if count == 1 or not devices[0]:
        return {}
    return {"CUDA_VISIBLE_DEVICES": devices[number % len(devices)]}


def _start(here: Here, rank: int, more: dict[str, str]) -> subprocess.Popen[bytes]:
    words = [*here.command, "--rank", str(rank), "--world-size", str(here.world_size)]
    library = ctypes.CDLL(None)
    with (here.log_dir / f"rank-{rank:04d}.log").open("ab") as log:
        return subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, **more},
            # Slurm may lose sight of a rank whose parent was killed; it ends by itself.
            preexec_fn=lambda: library.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM),
        )


def _note(here: Here, rank: int, code: int, requeued: bool) -> None:
    record = records.ExitRecord(
        here.job, here.restart, code, requeued, socket.gethostname(), time.time()
    )
    try:
        records.write_record(here.log_dir, rank, record)
    except OSError as error:
        here.say(rank, f"how the rank ended ({code}) cannot be noted: {error}")


def _requeue(here: Here, codes: dict[int, int], delay: int, why: str) -> bool:
    """Queue this task again, if it may; return whether Slurm agreed."""
    told = [rank for rank, code in codes.items() if code != 0]
    for rank in told:  # first, so that `status` never takes these codes for the end
        _note(here, rank, codes[rank], requeued=True)

    def say(text: str) -> None:
        for rank in told:
            here.say(rank, text)

    allowed, counter = (here.max_requeues, here.restart), (here.log_dir, here.ranks[0])
    return queue_again(here.job, why, delay, allowed, counter, say)


if __name__ == "__main__":
    sys.exit(main())
