"""A task that queues itself again, from inside, as long as it may."""

from __future__ import annotations

import shlex
import signal
import subprocess
import time
from typing import TYPE_CHECKING

from trackverse_slurm import records

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

COMMAND_SECONDS = 60.0


def queue_again(
    job: str,
    why: str,
    delay_seconds: int,
    allowed: tuple[int, int],
    counter: tuple[Path, int],
    say: Callable[[str], None],
) -> bool:
    """Queue the task in which this runs again; return whether Slurm agreed.

    Slurm then ends everything in the task within some seconds, this process included, unless it
    ends by itself.

    Args:
        job: the task's name, `<array job>_<index>`.
        why: for the log.
        delay_seconds: it is not to start again before.
        allowed: how often it may do so, and how often Slurm has restarted it for any reason.
        counter: the log folder and the first rank of the task.
        say: takes a line for the logs.
    """
    most, restarts = allowed
    count = records.requeues(*counter, job) + 1
    if count > most:
        say(f"{why}; not queued again after {count - 1} times (max_requeues)")
        return False
    try:
        records.count_requeue(*counter, job, count)
    except OSError:  # a full disk may be why it stopped; Slurm's own count bounds it then
        if restarts >= most:
            return False
    again = ["scontrol", "requeue", job]
    later = ["scontrol", "update", f"JobId={job}", f"StartTime=now+{delay_seconds}"]
    refused = _scontrol(again)
    if refused:
        line = shlex.join(again) + (f" && {shlex.join(later)}" if delay_seconds else "")
        say(f"{why}, but cannot be queued again ({refused}); run: {line}")
        return False
    refused = _scontrol(later, tries=3) if delay_seconds else ""
    when = f" to start in {delay_seconds} s" if delay_seconds and not refused else ""
    say(f"{why}; queued again{when} ({count} of {most})")
    if refused:
        say(f"it starts at once ({refused}); to delay it: {shlex.join(later)}")
    return True


def _scontrol(words: Sequence[str], tries: int = 1) -> str:
    """Run a command of Slurm; return why it failed, or nothing."""
    try:
        done = subprocess.run(
            words, capture_output=True, text=True, check=False, timeout=COMMAND_SECONDS,
            stdin=subprocess.DEVNULL,
            # A requeue sends TERM to everything in this task, this command included.
            preexec_fn=lambda: signal.signal(signal.SIGTERM, signal.SIG_IGN),
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    if done.returncode == 0:
        return ""
    if tries > 1:
        time.sleep(1)
        return _scontrol(words, tries - 1)
    return done.stderr.strip() or f"exit code {done.returncode}"
