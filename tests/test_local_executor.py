"""Ranks as processes of this machine: the contract, and what can go wrong with processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from trackverse_cli.interfaces import Executor, Job, Task, TaskState
from trackverse_cli.plugins import choose_executor
from trackverse_cli.testing import ExecutorContract
from trackverse_local.notes import process_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from tests.project import Project

linux = pytest.mark.skipif(sys.platform != "linux", reason="asks the kernel of Linux")


def executor(slots: int) -> Executor:
    plugin = choose_executor("local")
    return plugin.create(plugin.settings.model_validate({"slots": slots}))


def job(folder: Path, script: str, ranks: int, env: dict[str, str] | None = None) -> Job:
    """A job of `ranks` ranks that run a Python script, in `folder`."""
    command = (sys.executable, "-c", script, str(folder))
    return Job("test", command, ranks, tuple(range(ranks)), folder, env or {})


def ended(running: Executor, tasks: list[Task]) -> list[TaskState]:
    states = ExecutorContract().ended(running, tasks)
    return [states[task] for task in tasks]


def until(true: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"not so after {seconds} s"
        time.sleep(0.02)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def pids(folder: Path, count: int) -> list[int]:
    """Wait until `count` ranks have written their process ids; return them."""
    found: list[int] = []

    def there() -> bool:
        found[:] = [int(text) for p in folder.glob("*.pid") if (text := p.read_text())]
        return len(found) == count

    until(there)
    return found


SLEEPS = """
import os, sys, time, pathlib
folder, rank = pathlib.Path(sys.argv[1]), sys.argv[sys.argv.index("--rank") + 1]
(folder / f"{rank}.pid").write_text(str(os.getpid()))
time.sleep(60)
"""


class TestContract(ExecutorContract):
    def make_executor(self) -> Executor:
        return executor(2)


def test_runs_at_most_its_slots_at_a_time(tmp_path: Path) -> None:
    script = """
import sys, time, pathlib
folder, rank = pathlib.Path(sys.argv[1]), sys.argv[sys.argv.index("--rank") + 1]
mark = folder / f"{rank}.on"
mark.touch()
at_once = len(list(folder.glob("*.on")))
end = time.monotonic() + 30
# The first two wait for each other; a third would show in the time that follows.
while rank in "01" and at_once < 2 and time.monotonic() < end:
    time.sleep(0.01)
    at_once = max(at_once, len(list(folder.glob("*.on"))))
time.sleep(0.15)
at_once = max(at_once, len(list(folder.glob("*.on"))))
(folder / f"{rank}.most").write_text(str(at_once))
mark.unlink()
"""
    running = executor(2)
    tasks = list(running.submit(job(tmp_path, script, 5)))
    assert [running.poll(tasks)[t] for t in tasks[2:]] == [TaskState.PENDING] * 3
    assert ended(running, tasks) == [TaskState.SUCCEEDED] * 5
    most = [int(p.read_text()) for p in tmp_path.glob("*.most")]
    assert len(most) == 5
    assert max(most) == 2


def test_shares_the_cores_unless_the_job_says_otherwise(tmp_path: Path) -> None:
    script = "import os; print(os.environ['TRACKVERSE_EXTRACT__WORKERS'])"
    for env, expected in (
        ({}, str(max(1, len(os.sched_getaffinity(0)) // 2))),
        ({"TRACKVERSE_EXTRACT__WORKERS": "7"}, "7"),
    ):
        folder = tmp_path / expected
        folder.mkdir()
        running = executor(2)
        wanted = job(folder, script, 2, env)
        ended(running, list(running.submit(wanted)))
        assert wanted.log_path(0).read_text().strip() == expected


@pytest.mark.parametrize(("kills", "state"), [(1, TaskState.SUCCEEDED), (9, TaskState.FAILED)])
def test_restarts_a_killed_rank_once(tmp_path: Path, kills: int, state: TaskState) -> None:
    script = f"""
import os, sys, pathlib
runs = pathlib.Path(sys.argv[1]) / "runs"
with runs.open("a") as file:
    file.write("x")
if runs.stat().st_size <= {kills}:
    os.kill(os.getpid(), 9)
"""
    running = executor(1)
    assert ended(running, list(running.submit(job(tmp_path, script, 1)))) == [state]
    assert len((tmp_path / "runs").read_text()) == 2


def test_does_not_restart_a_failing_rank(tmp_path: Path) -> None:
    script = "import sys; print('once'); sys.exit(3)"
    running, wanted = executor(1), job(tmp_path, script, 1)
    assert ended(running, list(running.submit(wanted))) == [TaskState.FAILED]
    assert wanted.log_path(0).read_text() == "once\n"


@linux
def test_cancel_leaves_no_process_and_starts_no_waiting_rank(tmp_path: Path) -> None:
    running = executor(2)
    tasks = list(running.submit(job(tmp_path, SLEEPS, 4)))
    found = pids(tmp_path, 2)
    begun = time.monotonic()
    running.cancel(tasks)
    assert time.monotonic() - begun < 3
    assert not any(alive(pid) for pid in found)
    assert all(state.ended for state in running.poll(tasks).values())
    assert TaskState.SUCCEEDED not in running.poll(tasks).values()
    time.sleep(0.3)
    assert len(list(tmp_path.glob("*.pid"))) == 2


@linux
def test_cancel_kills_a_rank_that_does_not_listen(tmp_path: Path) -> None:
    deaf = "import signal; signal.signal(15, signal.SIG_IGN)\n" + SLEEPS
    running = executor(1)
    tasks = list(running.submit(job(tmp_path, deaf, 1)))
    [pid] = pids(tmp_path, 1)
    begun = time.monotonic()
    running.cancel(tasks)
    assert time.monotonic() - begun < 8
    assert not alive(pid)
    assert running.poll(tasks)[tasks[0]] is TaskState.FAILED


def test_cancel_of_one_task_leaves_the_others(tmp_path: Path) -> None:
    script = "import sys, time; time.sleep(60 * (sys.argv[3] == '0'))"
    running = executor(2)
    tasks = list(running.submit(job(tmp_path, script, 2)))
    running.cancel(tasks[:1])
    assert ended(running, tasks) == [TaskState.FAILED, TaskState.SUCCEEDED]


def test_a_task_of_another_machine_is_unknown(tmp_path: Path) -> None:
    submitter = {"host": "elsewhere", "pid": 1, "started": "1"}
    task = Task("local", 0, json.dumps({"log": str(tmp_path / "x.log"), "submitter": submitter}))
    assert executor(1).poll([task]) == {task: TaskState.UNKNOWN}
    executor(1).cancel([task])


def test_a_task_whose_submitter_is_gone_has_failed(tmp_path: Path) -> None:
    gone = subprocess.Popen(["true"])
    here = asdict(process_of(gone.pid))
    gone.wait()
    task = Task("local", 0, json.dumps({"log": str(tmp_path / "x.log"), "submitter": here}))
    assert executor(1).poll([task]) == {task: TaskState.FAILED}


@linux
def test_ranks_end_with_a_submitter_that_was_killed(tmp_path: Path) -> None:
    script = f"""
import sys, time
from dataclasses import asdict
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).parents[1])!r})
from tests.test_local_executor import SLEEPS, executor, job
running = executor(2)
running.submit(job(Path(sys.argv[1]), SLEEPS, 2))
time.sleep(60)
"""
    submitter = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)])
    try:
        found = pids(tmp_path, 2)
        assert all(alive(pid) for pid in found)
    finally:
        submitter.kill()
        submitter.wait()
    until(lambda: not any(alive(pid) for pid in found), 5)


def still(at: float, width: int, height: int) -> NDArray[np.uint8]:
    return np.full((height, width, 3), 90, np.uint8)


@linux
@pytest.mark.parametrize("whole_group", [True, False], ids=["terminal", "submitter-only"])
def test_ctrl_c_on_submit_ends_every_rank(project: Project, whole_group: bool) -> None:
    for number in range(2):
        video_id = f"abcdefghij{number}"
        project.video(video_id, frames=300, draw=still)
        for _ in range(24):
            project.track(video_id, 0.5, 11.0)
    project.fetch()
    project.env["TRACKVERSE_EXECUTOR__LOCAL__SLOTS"] = "2"
    project.env["TRACKVERSE_ENCODE__PRESET"] = "veryslow"
    words, env = project.command("submit", "--stage", "extract-tracks", "--world-size", "2")
    submitter = subprocess.Popen(
        words, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip

    def ranks() -> list[int]:
        pid = submitter.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [int(child) for child in children]

    def at_work() -> bool:
        return submitter.poll() is not None or len(project.half_written()) >= 2

    try:
        until(at_work)
        found = ranks()
        assert len(found) == 2
        begun = time.monotonic()
        (os.killpg if whole_group else os.kill)(submitter.pid, signal.SIGINT)
        _, err = submitter.communicate(timeout=20)
    finally:
        submitter.kill()
        submitter.wait()
    assert time.monotonic() - begun < 5
    assert submitter.returncode == 130, err
    assert "Traceback" not in err
    assert "run the same command again" in err
    until(lambda: not any(alive(pid) for pid in found), 3)
    assert project.half_written() == []
