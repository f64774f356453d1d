"""The executor `slurm` on a real Slurm of four nodes; nothing of Slurm is imitated here."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.services.slurm import SlurmCluster, missing, skip_or_fail, use_cluster, wait_until
from trackverse_cli.errors import LacksError, UsageError
from trackverse_cli.interfaces import (
    DescribesJobs,
    DetailsTasks,
    Executor,
    Job,
    Task,
    TaskState,
)
from trackverse_cli.plugins import choose_executor
from trackverse_cli.testing import ExecutorContract

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

pytest_plugins = ["tests.services.slurm"]

# Small enough that many ranks fit beside each other on nodes of 4 cores and 4000 MB.
SMALL: dict[str, Any] = {"cpus_per_task": 1, "memory": "100M", "time": "00:10:00"}
WAIT_SECONDS = 120.0


def executor(**settings: Any) -> Executor:
    plugin = choose_executor("slurm")
    return plugin.create(plugin.settings.model_validate({**SMALL, **settings}))


def job(folder: Path, script: str, ranks: Sequence[int], **more: Any) -> Job:
    """A job whose ranks run a Python script that knows `folder` and its own `rank`."""
    log_dir = folder / "logs"
    log_dir.mkdir(parents=True, exist_ok=True)
    head = (
        "import os, signal, sys, time\nfrom pathlib import Path\n"
        "folder, rank = Path(sys.argv[1]), int(sys.argv[3])\n"
    )
    command = (sys.executable, "-c", head + script, str(folder))
    return Job("test", command, max(ranks) + 1, tuple(ranks), log_dir, **more)


def ended(running: Executor, tasks: Sequence[Task]) -> list[TaskState]:
    suite = ExecutorContract()
    suite.limit_seconds = WAIT_SECONDS
    states = suite.ended(running, tasks)
    return [states[task] for task in tasks]


ENDED = re.compile("^(?:COMPLETED|FAILED|CANCELLED)", re.MULTILINE)


def name_of(task: Task) -> str:
    value = json.loads(task.handle)
    return f"{value['job']}_{value['index']}"


def reach(running: Executor, task: Task, state: TaskState) -> None:
    """Wait until a task is in a state."""
    wait_until(lambda: running.poll([task])[task] is state, WAIT_SECONDS, f"not {state}")


def note(running: Executor, task: Task) -> str:
    assert isinstance(running, DetailsTasks)
    return running.details([task])[task].note


# A rank that runs until it is told to end, as trackverse does, the first time; then it succeeds.
ONCE = """
again = folder / f"{rank}.ran"
if again.exists():
    print("second run", flush=True)
    sys.exit(0)
again.write_text(str(os.getpid()))
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
print("first run", flush=True)
time.sleep(600)
"""


@pytest.mark.usefixtures("slurm")
class TestContract(ExecutorContract):
    limit_seconds = WAIT_SECONDS

    def make_executor(self) -> Executor:
        return executor(max_requeues=0)


@pytest.mark.usefixtures("slurm")
class TestContractWithSharedTasks(ExecutorContract):
    limit_seconds = WAIT_SECONDS

    def make_executor(self) -> Executor:
        return executor(max_requeues=0, ranks_per_task=2)


def test_says_how_ranks_failed(slurm: SlurmCluster, tmp_path: Path) -> None:
    script = """
if rank == 0: sys.exit(3)
if rank == 1: os.kill(os.getpid(), 9)
if rank == 2: os.kill(os.getppid(), 9); time.sleep(60)
print("fine")
"""
    running, wanted = executor(), job(tmp_path, script, range(4))
    tasks = running.submit(wanted)
    assert ended(running, tasks) == ["failed", "failed", "failed", "succeeded"]
    assert note(running, tasks[0]) == "exit code 3"
    assert [note(running, tasks[k]) for k in (1, 2)] == ["ended by signal 9"] * 2
    assert wanted.log_path(3).read_text() == "fine\n"
    notes = [json.loads(p.read_text()) for p in sorted(wanted.log_dir.glob("*.exit"))]
    assert [(n["job"], n["code"], n["requeued"]) for n in notes] == [
        (name_of(tasks[0]), 3, False),
        (name_of(tasks[1]), 137, False),
        (name_of(tasks[3]), 0, False),
    ]


def test_a_command_that_is_not_there_fails_with_its_name_in_the_log(
    slurm: SlurmCluster, tmp_path: Path
) -> None:
    wanted = Job("test", ("/no/such/program",), 1, (0,), tmp_path)
    running = executor()
    assert ended(running, running.submit(wanted)) == ["failed"]
    assert "/no/such/program" in wanted.log_path(0).read_text()


STOPS = """
runs = folder / "runs"
with runs.open("a") as file:
    file.write("x")
print("run", runs.stat().st_size, flush=True)
sys.exit(75 if runs.stat().st_size < 3 else 0)
"""


def test_a_rank_that_stopped_early_starts_again_later(slurm: SlurmCluster, tmp_path: Path) -> None:
    running, wanted = executor(requeue_delay_seconds=8), job(tmp_path, STOPS, [0])
    tasks = running.submit(wanted)
    seen: list[TaskState] = []

    def waits_for_its_time() -> bool:
        seen.append(running.poll(tasks)[tasks[0]])
        return seen[-1] is TaskState.PENDING and "starts at" in note(running, tasks[0])

    wait_until(waits_for_its_time, WAIT_SECONDS, "never waited")
    assert TaskState.STOPPED not in seen
    assert note(running, tasks[0]).endswith("restarted once")
    assert ended(running, tasks) == ["succeeded"]
    log = wanted.log_path(0).read_text()
    assert "queued again to start in 8 s (1 of 20)" in log
    assert "(2 of 20)" in log
    assert log.startswith("run 1\n")
    assert log.endswith("run 3\n")


def test_a_rank_stays_stopped_after_the_last_requeue(slurm: SlurmCluster, tmp_path: Path) -> None:
    running = executor(requeue_delay_seconds=0, max_requeues=1)
    wanted = job(tmp_path, STOPS, [0])
    tasks = running.submit(wanted)
    assert ended(running, tasks) == ["stopped"]
    assert (tmp_path / "runs").read_text() == "xx"
    assert "not queued again after 1 times (max_requeues)" in wanted.log_path(0).read_text()
    assert "submit` again" in note(running, tasks[0])


def test_a_rank_whose_requeue_is_refused_says_what_to_run(
    slurm: SlurmCluster, tmp_path: Path
) -> None:
    broken = tmp_path / "bin"
    broken.mkdir()
    (broken / "scontrol").write_text("#!/bin/sh\necho Access denied >&2\nexit 1\n")
    (broken / "scontrol").chmod(0o755)
    running = executor(setup=[f"export PATH={broken}:$PATH"], requeue_delay_seconds=60)
    wanted = job(tmp_path, STOPS, [0])
    tasks = running.submit(wanted)
    assert ended(running, tasks) == ["stopped"]
    name = name_of(tasks[0])
    told = wanted.log_path(0).read_text()
    assert "Access denied" in told
    line = f"scontrol requeue {name} && scontrol update JobId={name} StartTime=now+60"
    assert line in told


def test_requeue_by_an_administrator_runs_the_rank_again(
    slurm: SlurmCluster, tmp_path: Path
) -> None:
    running, wanted = executor(), job(tmp_path, ONCE, [0, 1])
    tasks = running.submit(wanted)
    wait_until(lambda: len(list(tmp_path.glob("*.ran"))) == 2, WAIT_SECONDS, "not running")
    assert set(running.poll(tasks).values()) == {TaskState.RUNNING}
    slurm.requeue(name_of(tasks[0]))
    slurm.run("scontrol", "requeuehold", name_of(tasks[1]))
    assert ended(running, tasks) == ["succeeded", "failed"]
    for task in tasks:
        assert not wanted.log_path(task.rank).with_suffix(".requeues").exists()
    told = note(running, tasks[1])
    assert f"scontrol release {name_of(tasks[1])}" in told
    slurm.run("scontrol", "release", name_of(tasks[1]))
    assert ended(running, tasks) == ["succeeded", "succeeded"]
    assert wanted.log_path(0).read_text() == "first run\nsecond run\n"


def test_every_interruption_ends_in_a_finished_rank(slurm: SlurmCluster, tmp_path: Path) -> None:
    """Time limit, preemption with and without grace, a lost node: beside each other, each slow."""
    hows: dict[str, dict[str, Any]] = {
        "limit": {"nodelist": "node1", "time": "00:01:00", "signal_seconds": 25},
        "preempted": {"nodelist": "node2"},
        "grace": {"nodelist": "node3", "partition": "low"},
        "lost": {"nodelist": "node4"},
    }
    running = {how: executor(**settings) for how, settings in hows.items()}
    jobs = {how: job(tmp_path / how, ONCE, [3]) for how in hows}
    tasks = {how: running[how].submit(jobs[how])[0] for how in hows}
    for how in hows:
        wait_until((tmp_path / how / "3.ran").exists, WAIT_SECONDS, f"{how} does not run")
    slurm.preempt("node2")
    slurm.preempt("node3")
    slurm.kill_node("node4")
    seen: Mapping[str, list[TaskState]] = {how: [] for how in hows}

    def all_ended() -> bool:
        for how in hows:
            seen[how].append(running[how].poll([tasks[how]])[tasks[how]])
        if seen["lost"][-1] is TaskState.PENDING:
            slurm.refresh_node("node4")
        return all(states[-1].ended for states in seen.values())

    wait_until(all_ended, 200, f"not all ended: {seen}")
    for how in hows:
        assert seen[how][-1] is TaskState.SUCCEEDED, how
        assert TaskState.FAILED not in seen[how], how
        assert TaskState.PENDING in seen[how], how
        assert "second run" in jobs[how].log_path(3).read_text()
        counted = jobs[how].log_path(3).with_suffix(".requeues").exists()
        assert counted == (how == "limit"), how
    told = jobs["limit"].log_path(3).read_text()
    assert "its time limit was near; queued again (1 of 20)" in told


def test_ranks_that_share_a_task(slurm: SlurmCluster, tmp_path: Path) -> None:
    script = """
print(os.environ["SLURM_ARRAY_TASK_ID"], os.environ["TRACKVERSE_EXTRACT__WORKERS"],
      os.environ.get("CUDA_VISIBLE_DEVICES"), flush=True)
with (folder / f"{rank}.runs").open("a") as file:
    file.write("x")
sys.exit({2: 3}.get(rank, 75 if rank == 4 and (folder / "4.runs").stat().st_size == 1 else 0))
"""
    running = executor(ranks_per_task=3, cpus_per_task=4, gpus=2, requeue_delay_seconds=0)
    wanted = job(tmp_path, script, [1, 2, 4, 7])
    tasks = running.submit(wanted)
    assert [name_of(t).partition("_")[2] for t in tasks] == ["1", "1", "1", "7"]
    assert ended(running, tasks) == ["succeeded", "failed", "succeeded", "succeeded"]
    first = [wanted.log_path(rank).read_text().splitlines()[0] for rank in wanted.ranks]
    assert first == ["1 1 0", "1 1 1", "1 1 0", "7 1 0,1"]
    runs = {rank: (tmp_path / f"{rank}.runs").read_text() for rank in wanted.ranks}
    assert runs == {1: "x", 2: "xx", 4: "xx", 7: "x"}


def test_reserves_a_gpu_only_where_it_is_needed(slurm: SlurmCluster, tmp_path: Path) -> None:
    script = """
print(os.environ.get("CUDA_VISIBLE_DEVICES"), os.environ.get("TRACKVERSE_EXTRACT__WORKERS"))
"""
    expected = {(False, 0): "None 2", (True, 0): "0 2", (False, 2): "0,1 2"}
    running = {how: executor(gpus=how[1], cpus_per_task=2) for how in expected}
    jobs = {how: job(tmp_path / str(how), script, [0], needs_gpu=how[0]) for how in expected}
    tasks = {how: list(running[how].submit(jobs[how])) for how in expected}
    for how, line in expected.items():
        assert ended(running[how], tasks[how]) == ["succeeded"]
        assert jobs[how].log_path(0).read_text().strip() == line


def test_cancel_reaches_what_waits_to_start_again(slurm: SlurmCluster, tmp_path: Path) -> None:
    running = executor(requeue_delay_seconds=3600)
    stopping, waiting = job(tmp_path / "a", STOPS, [0]), job(tmp_path / "b", ONCE, [0, 1, 3])
    waiting = Job(**{**_fields(waiting), "delay_seconds": 3600.0})
    tasks = [*running.submit(stopping), *running.submit(waiting)]
    wait_until(lambda: "starts at" in note(executor(), tasks[0]), WAIT_SECONDS, "not requeued")
    assert set(running.poll(tasks).values()) == {TaskState.PENDING}
    running.cancel(tasks[:-1])
    reach(running, tasks[0], TaskState.FAILED)
    for anyone in (running, executor()):
        states = anyone.poll(tasks)
        assert [states[task] for task in tasks] == ["failed", "failed", "failed", "pending"]
        assert note(anyone, tasks[1]) == "was cancelled"
    assert note(running, tasks[0]).startswith("was cancelled")
    running.cancel(tasks)
    running.cancel(tasks)
    assert ended(running, tasks) == ["failed"] * 4
    assert not list((tmp_path / "b").glob("*.ran"))


def _fields(one: Job) -> dict[str, Any]:
    return {name: getattr(one, name) for name in one.__dataclass_fields__}


@pytest.mark.parametrize(
    "folder",
    ["two words", 'it\'s "so" $HOME `id`', "100%A_%a%%", "ü ; rm -rf *", "back\\slash\\%a", "-x"],
)
def test_odd_paths_and_words_survive(slurm: SlurmCluster, tmp_path: Path, folder: str) -> None:
    script = "print(os.environ['WORD'], sys.argv[1], flush=True)"
    env = {"WORD": "it's\n%A $(id) \r\nü"}
    running, wanted = executor(job_name=folder), job(tmp_path / folder, script, [0, 1], env=env)
    tasks = running.submit(wanted)
    assert ended(running, tasks) == ["succeeded", "succeeded"]
    told = wanted.log_path(0).read_bytes().decode()
    assert told == f"{env['WORD']} {tmp_path / folder}\n"
    names = sorted(path.name for path in wanted.log_dir.iterdir())
    own = [name for name in names if name.startswith(("slurm", "rank"))]
    assert own == names
    if "\\" not in folder:  # there Slurm expands nothing in its own file's name
        assert f"slurm-{name_of(tasks[1])}.out" in names
    assert [path.name for path in tmp_path.iterdir()] == [folder]


def test_128_ranks_are_one_call_each(
    slurm: SlurmCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shims, calls = tmp_path / "bin", tmp_path / "calls"
    shims.mkdir()
    for name in ("sbatch", "squeue", "scancel", "scontrol", "sacct"):
        real = shutil.which(name)
        shim = f'#!/bin/sh\necho {name} >> {calls}\nexec {real} "$@"\n'
        (shims / name).write_text(shim)
        (shims / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(shims), prepend=os.pathsep)
    running = executor(throttle=16)
    ranks = [rank for rank in range(130) if rank not in (7, 99)]
    tasks = running.submit(job(tmp_path, ONCE, ranks, delay_seconds=3600.0))
    assert len(tasks) == len(set(tasks)) == 128
    for _ in range(3):
        assert set(running.poll(tasks).values()) == {TaskState.PENDING}
    assert isinstance(running, DetailsTasks)
    assert len(running.details(tasks)) == 128
    running.cancel(tasks)
    assert set(running.poll(tasks).values()) == {TaskState.FAILED}
    told = calls.read_text().split()
    count = {name: told.count(name) for name in sorted(set(told))}
    assert count == {"sbatch": 1, "scancel": 1, "scontrol": 1, "squeue": 4}


def test_what_slurm_has_forgotten_is_told_by_the_records(
    slurm: SlurmCluster, tmp_path: Path
) -> None:
    script = "sys.exit({0: 0, 1: 3, 2: 75, 3: os.kill(os.getppid(), 9) if rank == 3 else 0}[rank])"
    running = executor(max_requeues=0)
    tasks = running.submit(job(tmp_path, script, range(4)))
    assert ended(running, tasks) == ["succeeded", "failed", "stopped", "failed"]
    slurm.stop_controller()
    states = executor().poll(tasks)
    assert [states[task] for task in tasks] == ["succeeded", "failed", "stopped", "unknown"]
    slurm.start_controller(forget=True)
    later = executor()
    states = later.poll(tasks)
    assert [states[task] for task in tasks] == ["succeeded", "failed", "stopped", "unknown"]
    assert isinstance(later, DetailsTasks)
    assert later.details(tasks)[tasks[1]].note == "exit code 3"
    log = tmp_path / "logs" / "rank-0003.log"
    long_ago = time.time() - 3600
    os.utime(log, (long_ago, long_ago))
    assert later.poll(tasks)[tasks[3]] is TaskState.FAILED
    later.cancel(tasks)


def test_a_controller_that_is_down_is_no_failure(slurm: SlurmCluster, tmp_path: Path) -> None:
    running, wanted = executor(), job(tmp_path, ONCE, [0])
    tasks = running.submit(wanted)
    wait_until((tmp_path / "0.ran").exists, WAIT_SECONDS, "not running")
    slurm.stop_controller()
    assert running.poll(tasks) == {tasks[0]: TaskState.UNKNOWN}
    with pytest.raises(LacksError, match="scontrol ping"):
        executor().submit(job(tmp_path / "other", ONCE, [0]))
    slurm.start_controller()
    reach(running, tasks[0], TaskState.RUNNING)
    slurm.requeue(name_of(tasks[0]))
    assert ended(running, tasks) == ["succeeded"]


def test_what_is_described_runs_in_a_shell(slurm: SlurmCluster, tmp_path: Path) -> None:
    running = executor()
    wanted = job(tmp_path / "it's here", "print('hello', rank)", [0, 2])
    assert isinstance(running, DescribesJobs)
    text = running.describe(wanted)
    shutil.rmtree(wanted.log_dir)
    number = slurm.run("bash", "-c", text).stdout.strip()
    wait_until(lambda: set(slurm.states(number).values()) == {"COMPLETED"}, WAIT_SECONDS, "not run")
    assert wanted.log_path(2).read_text() == "hello 2\n"
    script = str(wanted.log_dir / "slurm.sh")
    again = slurm.submit("--array=2", "--output=/dev/null", script)
    wait_until(lambda: set(slurm.states(again).values()) == {"COMPLETED"}, WAIT_SECONDS, "not run")
    assert wanted.log_path(2).read_text() == "hello 2\n" * 2


@pytest.fixture(scope="module")
def strict_cluster(slurm_cluster: SlurmCluster) -> Iterator[SlurmCluster]:
    """A second cluster that refuses at once what no partition could run; small arrays."""
    assert slurm_cluster.conf.exists()
    with SlurmCluster("MaxArraySize=6\nEnforcePartLimits=ALL") as cluster:
        yield cluster


@pytest.fixture
def strict(strict_cluster: SlurmCluster, monkeypatch: pytest.MonkeyPatch) -> Iterator[SlurmCluster]:
    strict_cluster.refresh()
    with use_cluster(strict_cluster, monkeypatch) as cluster:
        yield cluster


def test_arrays_are_split_only_where_the_cluster_demands_it(
    strict: SlurmCluster, tmp_path: Path
) -> None:
    running, wanted = executor(), job(tmp_path, "print(rank)", [0, 3, 5, 6, 7, 13])
    tasks = running.submit(wanted)
    names = [name_of(task) for task in tasks]
    first, second, third = dict.fromkeys(name.partition("_")[0] for name in names)
    assert names == [
        f"{first}_0", f"{first}_3", f"{first}_5", f"{second}_0", f"{second}_1", f"{third}_0",
    ]  # fmt: skip
    assert ended(running, tasks) == ["succeeded"] * 6
    for rank in wanted.ranks:
        assert wanted.log_path(rank).read_text() == f"{rank}\n"


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"partition": "nowhere"}, "partition = 'nowhere'"),
        ({"partition": "short"}, "time = '00:10:00'"),
        ({"cpus_per_task": 64}, "cpus_per_task = 64"),
        ({"memory": "64G"}, "memory = '64G'"),
        ({"gpus": 3}, "gpus = 3"),
        ({"constraint": "fast"}, "constraint = 'fast'"),
        ({"nodelist": "node9"}, "nodelist = 'node9'"),
        ({"options": ["--reservation=mine"]}, "options = ['--reservation=mine']"),
        ({"options": ["--no-such-thing"]}, "options = ['--no-such-thing']"),
    ],
    ids=lambda value: value.partition(" ")[0] if isinstance(value, str) else "",
)
def test_a_refusal_names_the_setting_and_quotes_slurm(
    strict: SlurmCluster, tmp_path: Path, settings: dict[str, Any], key: str
) -> None:
    with pytest.raises(UsageError) as caught:
        executor(**settings).submit(job(tmp_path, ONCE, [0]))
    told = str(caught.value)
    assert key in told
    assert "[executor.slurm]" in told
    assert "(it says: " in told
    assert "\n" not in told
    assert not strict.run("squeue", "-h").stdout


def test_a_refused_part_leaves_nothing_queued(
    strict: SlurmCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shims = tmp_path / "bin"
    shims.mkdir()
    count, real = tmp_path / "count", shutil.which("sbatch")
    (shims / "sbatch").write_text(
        f"#!/bin/sh\necho x >> {count}\n[ $(wc -l < {count}) = 2 ] && "
        f'{{ echo "sbatch: error: invalid partition specified: x" >&2; exit 1; }}\n'
        f'exec {real} "$@"\n'
    )
    (shims / "sbatch").chmod(0o755)
    monkeypatch.setenv("PATH", str(shims), prepend=os.pathsep)
    wanted = job(tmp_path, ONCE, [0, 9], delay_seconds=3600.0)
    with pytest.raises(UsageError, match="partition"):
        executor().submit(wanted)
    wait_until(lambda: not strict.run("squeue", "-h").stdout, 30, "something is left queued")


def test_a_setup_that_fails_points_at_slurms_own_file(slurm: SlurmCluster, tmp_path: Path) -> None:
    running = executor(setup=["echo no such module >&2", "exit 9"])
    wanted = job(tmp_path, "pass", [4])
    tasks = running.submit(wanted)
    assert ended(running, tasks) == ["failed"]
    name = f"slurm-{name_of(tasks[0])}.out"
    assert note(running, tasks[0]) == f"exit code 9; see {name} beside its log"
    assert (wanted.log_dir / name).read_text() == "no such module\n"


def test_says_why_ranks_wait(slurm: SlurmCluster, tmp_path: Path) -> None:
    hows: dict[str, dict[str, Any]] = {
        "its partition is down": {"partition": "down"},
        "the partition allows": {"partition": "short"},
        "throttle": {"throttle": 1},
    }
    for number, (words, settings) in enumerate(hows.items()):
        running = executor(**settings)
        tasks = running.submit(job(tmp_path / str(number), ONCE, [0, 1]))
        assert isinstance(running, DetailsTasks)
        wait_until(lambda r=running, t=tasks[1], w=words: w in note(r, t), 60, words)  # type: ignore[misc]
        assert executor().poll(tasks)[tasks[1]] is TaskState.PENDING
        running.cancel(tasks)


@pytest.fixture(scope="module")
def accounted_cluster() -> Iterator[SlurmCluster]:
    """A cluster with accounting, and with limits that it enforces."""
    reason = missing(accounting=True)
    if reason:
        skip_or_fail(reason)
    with SlurmCluster(accounting=True) as cluster:
        yield cluster


@pytest.fixture
def accounted(
    accounted_cluster: SlurmCluster, monkeypatch: pytest.MonkeyPatch
) -> Iterator[SlurmCluster]:
    accounted_cluster.refresh()
    with use_cluster(accounted_cluster, monkeypatch) as cluster:
        yield cluster


def test_sacct_tells_what_neither_slurm_nor_a_record_does(
    accounted: SlurmCluster, tmp_path: Path
) -> None:
    script = "time.sleep(600 * (rank == 3)); sys.exit([0, 3, 75, 0][rank])"
    running, wanted = executor(max_requeues=0), job(tmp_path, script, range(4))
    tasks = running.submit(wanted)
    assert ended(running, tasks[:3]) == ["succeeded", "failed", "stopped"]
    reach(running, tasks[3], TaskState.RUNNING)
    accounted.run("scancel", name_of(tasks[3]))
    assert ended(running, tasks)[3] == "failed"
    # The controller tells the database a moment later; what it has not told goes with it.
    words = ("sacct", "-n", "-P", "-X", "-o", "State", "-j", ",".join(map(name_of, tasks)))
    wait_until(
        lambda: len(ENDED.findall(accounted.run(*words).stdout)) == len(tasks),
        WAIT_SECONDS,
        "sacct does not know of the ends",
    )
    accounted.stop_controller()
    accounted.start_controller(forget=True)
    for record in wanted.log_dir.glob("*.exit"):
        record.unlink()
    later = executor()
    wait_until(
        lambda: "unknown" not in later.poll(tasks).values(), WAIT_SECONDS, "sacct does not tell"
    )
    states = later.poll(tasks)
    assert [states[task] for task in tasks] == ["succeeded", "failed", "stopped", "failed"]


def test_limits_of_an_account_are_named(accounted: SlurmCluster, tmp_path: Path) -> None:
    user = accounted.run("id", "-un").stdout.strip()
    accounted.run("sacctmgr", "-i", "modify", "user", user, "set", "MaxSubmitJobs=2")
    for settings, words in (
        ({"account": "nobodys"}, "account = 'nobodys'"),
        ({"qos": "better"}, "qos = 'better'"),
        ({}, "MaxSubmitJobLimit"),
    ):
        with pytest.raises(UsageError) as caught:
            executor(**settings).submit(job(tmp_path, ONCE, range(3)))
        assert words in str(caught.value)
        assert "(it says: " in str(caught.value)
    running = executor(account="lab", qos="normal")
    assert ended(running, running.submit(job(tmp_path, "pass", [0]))) == ["succeeded"]
