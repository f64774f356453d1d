"""The contract of executors."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from trackverse_cli.interfaces import Executor, Job, Task, TaskState

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

_RANK = """
import json, os, sys, time
plan, rank = json.loads(sys.argv[1]), sys.argv[sys.argv.index("--rank") + 1]
seconds, code = plan.get(rank, [0, 0])
first = {"words": sys.argv[2:], "env": os.environ.get("CONTRACT_WORD"), "pid": os.getpid()}
print(json.dumps(first), flush=True)
end = time.monotonic() + seconds
while time.monotonic() < end:
    print("at work", flush=True)
    time.sleep(0.1)
sys.exit(code)
"""

# Words that a shell would change if it were given them bare.
ODD_WORDS = ("two words", "it's", 'say "so"', "$HOME", "a;b", "*", "back\\slash", "", "ü")


def _said_something(log: Path) -> bool:
    return log.is_file() and "{" in log.read_text(encoding="utf-8")


class ExecutorContract:
    """What every executor does.

    Attributes:
        limit_seconds: how long a job of a few short ranks may take; a scheduler needs more.
        python: the interpreter, as the place where ranks run calls it.
    """

    limit_seconds = 60.0
    python = sys.executable

    def make_executor(self) -> Executor:
        """Return a new executor; called anew for every test, and to poll as a later process."""
        raise NotImplementedError("a suite says how its executor is made")

    def job(
        self,
        folder: Path,
        ranks: Sequence[int],
        plan: Mapping[int, tuple[float, int]] | None = None,
        words: Sequence[str] = (),
    ) -> Job:
        """Return a job whose rank R stays for plan[R][0] seconds and exits with plan[R][1]."""
        log_dir = folder / "logs of a job"
        log_dir.mkdir()
        command = (self.python, "-c", _RANK, json.dumps(dict(plan or {})), *words)
        return Job("contract", command, 5, tuple(ranks), log_dir, {"CONTRACT_WORD": "it's $HOME"})

    def ended(self, executor: Executor, tasks: Sequence[Task]) -> Mapping[Task, TaskState]:
        """Poll until every task has ended; return the states."""
        self.until(lambda: all(state.ended for state in executor.poll(tasks).values()))
        return executor.poll(tasks)

    def until(self, true: Callable[[], bool]) -> None:
        """Wait until something is true; fail after `limit_seconds`."""
        deadline = time.monotonic() + self.limit_seconds
        while not true():
            assert time.monotonic() < deadline, f"not so after {self.limit_seconds} s"
            time.sleep(0.05)

    def said(self, job: Job, rank: int) -> dict[str, Any]:
        """Return what a rank printed first: its words and the variable of the job."""
        log = job.log_path(rank).read_text(encoding="utf-8")
        lines = [line for line in log.splitlines() if line.startswith("{")]
        assert len(lines) == 1, f"rank {rank} ran {len(lines)} times"
        return dict(json.loads(lines[0]))

    def test_runs_every_rank_with_its_words_and_its_log(self, tmp_path: Path) -> None:
        """Each given rank runs `command --rank R --world-size W` once, and no other rank does."""
        executor, job = self.make_executor(), self.job(tmp_path, [0, 1, 4])
        tasks = executor.submit(job)
        assert [task.rank for task in tasks] == [0, 1, 4]
        assert set(self.ended(executor, tasks).values()) == {TaskState.SUCCEEDED}
        for rank in job.ranks:
            said = self.said(job, rank)
            assert said["words"] == ["--rank", str(rank), "--world-size", "5"]
            assert said["env"] == "it's $HOME"
        assert not job.log_path(2).exists()

    def test_hands_odd_words_on_unchanged(self, tmp_path: Path) -> None:
        """Spaces, quotes, dollars and empty words arrive as they were given."""
        executor, job = self.make_executor(), self.job(tmp_path, [0], words=ODD_WORDS)
        self.ended(executor, executor.submit(job))
        assert self.said(job, 0)["words"][: len(ODD_WORDS)] == list(ODD_WORDS)

    def test_reports_how_each_rank_ended(self, tmp_path: Path) -> None:
        """Exit code 0 is succeeded, 75 stopped, any other failed."""
        executor, plan = self.make_executor(), {1: (0, 1), 2: (0, 75)}
        tasks = executor.submit(self.job(tmp_path, [0, 1, 2], plan))
        assert [self.ended(executor, tasks)[task] for task in tasks] == [
            "succeeded",
            "failed",
            "stopped",
        ]

    def test_tasks_survive_json(self, tmp_path: Path) -> None:
        """A task that was written as JSON and read again is the same task."""
        executor = self.make_executor()
        tasks = executor.submit(self.job(tmp_path, [0, 1]))
        assert len(set(tasks)) == 2
        again = [Task(**json.loads(json.dumps(asdict(task)))) for task in tasks]
        assert again == list(tasks)
        assert set(self.ended(executor, again).values()) == {TaskState.SUCCEEDED}

    def test_cancel_ends_what_runs(self, tmp_path: Path) -> None:
        """Cancelled ranks end and write no more; ended ones keep their state."""
        executor, job = self.make_executor(), self.job(tmp_path, [0, 1], {1: (3600, 0)})
        tasks = executor.submit(job)
        self.until(lambda: executor.poll(tasks)[tasks[0]].ended and job.log_path(1).is_file())
        executor.cancel(tasks)
        states = self.ended(executor, tasks)
        assert [states[task] is TaskState.SUCCEEDED for task in tasks] == [True, False]
        written = job.log_path(1).read_bytes()
        time.sleep(0.5)
        assert job.log_path(1).read_bytes() == written

    def test_another_process_polls_and_cancels(self, tmp_path: Path) -> None:
        """What was submitted here can be looked at, and ended, by an executor made elsewhere."""
        executor = self.make_executor()
        job = self.job(tmp_path, [0, 1, 2], {1: (3600, 0), 2: (0, 75)})
        tasks = executor.submit(job)
        self.until(lambda: executor.poll(tasks)[tasks[0]].ended and job.log_path(1).is_file())
        self.until(lambda: executor.poll(tasks)[tasks[2]].ended)
        other = self.make_executor()
        assert [other.poll(tasks)[task] for task in tasks] == ["succeeded", "running", "stopped"]
        other.cancel(tasks[1:2])
        self.until(
            lambda: other.poll(tasks)[tasks[1]].ended or executor.poll(tasks)[tasks[1]].ended
        )
        self.until(lambda: other.poll(tasks)[tasks[1]] == TaskState.FAILED)

    def test_a_killed_rank_ends(self, tmp_path: Path) -> None:
        """A rank that is killed is run again or has failed; it never hangs, and never succeeds."""
        executor, job = self.make_executor(), self.job(tmp_path, [0], {0: (3600, 0)})
        tasks = executor.submit(job)
        self.until(lambda: bool(executor.poll(tasks)) and _said_something(job.log_path(0)))
        killed: set[int] = set()

        def is_over() -> bool:
            for line in job.log_path(0).read_text(encoding="utf-8").splitlines():
                pid = json.loads(line)["pid"] if line.startswith("{") else 0
                if pid and pid not in killed:
                    killed.add(pid)
                    self.kill(pid)
            return executor.poll(tasks)[tasks[0]].ended

        self.until(is_over)
        assert executor.poll(tasks)[tasks[0]] is TaskState.FAILED

    def kill(self, pid: int) -> None:
        """Kill the process of a rank at once; of another machine, by other means."""
        os.kill(pid, signal.SIGKILL)
