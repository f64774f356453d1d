"""What is handed to sbatch, as words and text: nothing here runs anything."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from trackverse_cli.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from trackverse_cli.interfaces import Job
    from trackverse_slurm.settings import SlurmSettings

WORKERS = "TRACKVERSE_EXTRACT__WORKERS"
SCRIPT_NAME = "slurm.sh"


@dataclass(frozen=True, slots=True)
class Call:
    """One call of sbatch.

    Attributes:
        offset: what a task adds to its array index to get its (first) rank.
        indexes: the array indexes, in order.
        throttle: how many of them may run at a time; 0: all.
    """

    offset: int
    indexes: tuple[int, ...]
    throttle: int

    @property
    def array(self) -> str:
        """The value of `--array`."""
        return ranges(self.indexes) + (f"%{self.throttle}" if self.throttle else "")


def ranges(numbers: Iterable[int]) -> str:
    """Return distinct numbers in order as Slurm writes them: `2,5,7-9`."""
    parts: list[list[int]] = []
    for number in sorted(numbers):
        if parts and number == parts[-1][-1] + 1:
            parts[-1][1:] = [number]
        else:
            parts.append([number])
    return ",".join("-".join(map(str, part)) for part in parts)


def numbers_of(text: str) -> list[int]:
    """Return the numbers that `ranges` wrote."""
    found: list[int] = []
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        found += range(int(first), int(last or first) + 1)
    return found


def groups(ranks: Iterable[int], size: int) -> list[tuple[int, ...]]:
    """Return the ranks of each task: `size` neighbours in order, the last may be fewer."""
    ordered = sorted(ranks)
    return [tuple(ordered[i : i + size]) for i in range(0, len(ordered), size)]


def calls(firsts: Sequence[int], max_array_size: int, throttle: int) -> list[Call]:
    """Return as few calls as an array index below `max_array_size` allows.

    Args:
        firsts: the first rank of every task, in order; it is the array index where it can be.
        max_array_size: Slurm's MaxArraySize.
        throttle: tasks at a time over all calls; each call has its share, one at least.
    """
    parts: list[list[int]] = []
    for first in firsts:
        if not parts or first - parts[-1][0] >= max_array_size:
            parts.append([])
        parts[-1].append(first)
    share, rest = divmod(throttle, max(1, len(parts)))
    found = []
    for number, part in enumerate(parts):
        offset = 0 if part[-1] < max_array_size else part[0]
        at_a_time = max(1, share + (number < rest)) if throttle else 0
        found.append(Call(offset, tuple(first - offset for first in part), at_a_time))
    return found


def quote(word: str) -> str:
    """Return a word so that bash reads it as it is; sbatch refuses a bare carriage return."""
    return shlex.quote(word).replace("\r", "'$'\\r''")


def script(job: Job, settings: SlurmSettings, python: str) -> str:
    """Return the batch script, the same for every task of the job; `$1` is the offset.

    Args:
        job: what to run.
        settings: of the executor.
        python: the interpreter that has this package, as the nodes call it.

    Raises:
        UsageError: a variable of the job has a name that no shell can set.
    """
    cores = max(1, settings.cpus_per_task // settings.ranks_per_task)
    helper = [
        python, "-P", "-m", "trackverse_slurm.task",
        "--log-dir", str(job.log_dir), "--ranks", ranges(job.ranks),
        "--ranks-per-task", str(settings.ranks_per_task), "--world-size", str(job.world_size),
        "--max-requeues", str(settings.max_requeues),
        "--requeue-delay", str(settings.requeue_delay_seconds),
    ]  # fmt: skip
    by_hand = " ".join(map(quote, job.command)).replace("\n", " ").replace("\r", " ")
    return "\n".join([
        "#!/bin/bash",
        "# Run by Slurm, once for each rank. One rank by hand, on any machine:",
        f"#   {by_hand} --rank R --world-size {job.world_size}",
        *settings.setup,
        *(_export(name, value) for name, value in {WORKERS: str(cores), **job.env}.items()),
        " ".join(["exec", *map(quote, helper), '--offset "${1:-0}"', "--",
                  *map(quote, job.command)]),
        "",
    ])  # fmt: skip


def _export(name: str, value: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        raise UsageError(f"the variable {name!r} of the job cannot be set by a shell; rename it")
    return f"export {name}={quote(value)}"


def sbatch_words(job: Job, settings: SlurmSettings, call: Call) -> list[str]:
    """Return the whole command line of one call of sbatch."""
    gpus = settings.gpus or int(job.needs_gpu)
    asked = {
        "job-name": settings.job_name or job.name,
        "output": _output(str(job.log_dir)),
        "signal": f"B:USR1@{settings.signal_seconds}",
        "time": settings.time,
        "cpus-per-task": str(settings.cpus_per_task),
        "mem": settings.memory,
        "gres": f"gpu:{gpus}" if gpus else "",
        "partition": settings.partition,
        "account": settings.account,
        "qos": settings.qos,
        "constraint": settings.constraint,
        "nodelist": settings.nodelist,
        "exclude": settings.exclude,
        "begin": f"now+{round(job.delay_seconds)}" if job.delay_seconds >= 1 else "",
    }
    return [
        "sbatch", "--parsable", "--requeue", "--open-mode=append", "--nodes=1", "--ntasks=1",
        f"--array={call.array}",
        *(f"--{name}={value}" for name, value in asked.items() if value),
        *settings.options, str(script_path(job)), str(call.offset),
    ]  # fmt: skip


def _output(folder: str) -> str:
    """Return the pattern of the file that takes what is said outside of the ranks."""
    if "\\" in folder:  # in such a path Slurm replaces nothing and takes away every second one
        return folder.replace("\\", "\\\\") + "/slurm.out"
    return folder.replace("%", "%%") + "/slurm-%A_%a.out"


def script_path(job: Job) -> Path:
    """Return where the batch script is kept, for people and for Slurm."""
    return Path(job.log_dir) / SCRIPT_NAME


def description(job: Job, settings: SlurmSettings, python: str, max_array_size: int) -> str:
    """Return what `submit` does as text that a shell could run."""
    folder, target = quote(str(job.log_dir)), quote(str(script_path(job)))
    firsts = [group[0] for group in groups(job.ranks, settings.ranks_per_task)]
    return "\n".join([
        f"mkdir -p {folder}",
        f"cat > {target} <<'END_OF_SCRIPT'",
        script(job, settings, python) + "END_OF_SCRIPT",
        *(" ".join(map(quote, sbatch_words(job, settings, call)))
          for call in calls(firsts, max_array_size, settings.throttle)),
        "",
    ])  # fmt: skip
