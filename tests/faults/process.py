"""Commands in forks of this process: a fresh process each, without the time that imports take."""

from __future__ import annotations

import os
import signal
import sys
import time
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

TIMEOUT_SECONDS = 120.0

CRASHED = 99
"""The exit code of a command that ended by an exception which nobody expected."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended.

    Attributes:
        code: its exit code, negative for a signal.
        said: what it printed, both streams.
    """

    code: int
    said: str

    @property
    def killed(self) -> bool:
        """Whether it was killed."""
        return self.code == -signal.SIGKILL

    @property
    def crashed(self) -> bool:
        """Whether a person would have seen a traceback."""
        return self.code == CRASHED or "Traceback (most recent call last)" in self.said


def in_child(work: Callable[[], int], log: Path) -> Ended:
    """Do something in a fork of this process, which leads a process group of its own.

    Args:
        work: returns the exit code.
        log: takes what is printed.
    """
    pid = begin(work, log)
    return end(pid, log)


def begin(work: Callable[[], int], log: Path) -> int:
    """Start a fork of this process and return its number."""
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        return pid
    code = CRASHED
    try:
        os.setsid()
        fd = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for number, own in enumerate((nothing, fd, fd)):
            os.dup2(own, number)
        code = work()
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:  # noqa: BLE001 - it is told, whatever it is
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def end(pid: int, log: Path, timeout_seconds: float = TIMEOUT_SECONDS) -> Ended:
    """Wait for a fork; one that takes too long is killed with its whole group, and says so."""
    late = time.monotonic() + timeout_seconds
    pause = 0.001
    told = ""
    while True:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            break
        if time.monotonic() > late and not told:
            told = f"\nTraceback (most recent call last): none, but it took {timeout_seconds} s\n"
            os.killpg(pid, signal.SIGKILL)
        time.sleep(pause)
        pause = min(0.02, pause * 1.5)
    text = log.read_text(errors="replace") if log.exists() else ""
    return Ended(os.waitstatus_to_exitcode(status), text + told)


def command(words: Sequence[str], folder: Path, env: Mapping[str, str]) -> Callable[[], int]:
    """Return what runs a command line in this process, which must be a fork.

    Args:
        words: the command's.
        folder: the working folder.
        env: added to the environment.
    """

    def run() -> int:
        os.environ.update(env)
        os.chdir(folder)
        from trackverse_cli.app import app

        sys.argv = ["trackverse", *words]
        app(list(words), prog_name="trackverse")
        return 0

    return run
