"""Ranks on other hosts: the contract, and what can go wrong with hosts and connections."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.services.sshd import SSHHosts, need_rsync, ssh_hosts, sshd
from tests.test_local_executor import alive, until
from trackverse_cli.errors import ConfigError, LacksError
from trackverse_cli.interfaces import Executor, Job, Task, TaskDetail, TaskState
from trackverse_cli.plugins import choose_executor
from trackverse_cli.testing import ExecutorContract

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from trackverse_ssh.executor import SSHExecutor

__all__ = ["ssh_hosts", "sshd"]

WAITS = """
import os, pathlib, sys, time
folder, rank = pathlib.Path(sys.argv[1]), sys.argv[sys.argv.index("--rank") + 1]
host = os.environ["TV_HOST"].rpartition("-")[2]
with (folder / f"{rank}.runs").open("a") as file:
    file.write(f"{host} {os.getpid()}\\n")
print("at work", flush=True)
while not (folder / "go").exists() and not (folder / f"{rank}.go").exists():
    time.sleep(0.03)
print("done", flush=True)
"""


def executor(sshd: SSHHosts, *hosts: Any, **settings: Any) -> SSHExecutor:
    plugin = choose_executor("ssh")
    usual = {"ssh": sshd.ssh, "hosts": hosts or ["host1", "host2"], "poll_seconds": 0.1}
    made: Any = plugin.create(plugin.settings.model_validate({**usual, **settings}))
    return made  # type: ignore[no-any-return]


def job(folder: Path, ranks: int, script: str = WAITS, root: Path | None = None) -> Job:
    logs = (root or folder) / "logs" / "a job"
    logs.mkdir(parents=True, exist_ok=True)
    command = (sys.executable, "-c", script, str(root or folder))
    return Job("test", command, ranks, tuple(range(ranks)), logs, root=root)


def runs(folder: Path, rank: int) -> list[tuple[str, int]]:
    """(host, process) of each start of a rank."""
    path = folder / f"{rank}.runs"
    lines = path.read_text().splitlines() if path.exists() else []
    return [(line.split()[0], int(line.split()[1])) for line in lines]


def states(running: Executor, tasks: Sequence[Task]) -> list[TaskState]:
    found = running.poll(tasks)
    return [found[task] for task in tasks]


def all_are(running: Executor, tasks: Sequence[Task], state: TaskState) -> Callable[[], bool]:
    return lambda: set(states(running, tasks)) == {state}


def ended(running: Executor, tasks: Sequence[Task]) -> list[TaskState]:
    until(lambda: all(state.ended for state in states(running, tasks)))
    return states(running, tasks)


def notes(running: SSHExecutor, tasks: Sequence[Task]) -> list[TaskDetail]:
    found: Mapping[Task, TaskDetail] = running.details(tasks)
    return [found[task] for task in tasks]


class TestContract(ExecutorContract):
    @pytest.fixture(autouse=True)
    def _hosts(self, sshd: SSHHosts) -> None:
        self.sshd = sshd

    def make_executor(self) -> Executor:
        return executor(self.sshd, slots=2)


class TestContractOnARootOfItsOwn(TestContract):
    @pytest.fixture(autouse=True)
    def _root(self, tmp_path: Path) -> None:
        self.root = tmp_path / "a root's own"

    def make_executor(self) -> Executor:
        return executor(self.sshd, {"name": "host3", "slots": 3, "root": str(self.root)})

    def test_a_killed_rank_ends(self, tmp_path: Path) -> None:
        """As in the suite; but a log that is on another disk comes when it is polled for."""
        running = self.make_executor()
        wanted = self.job(tmp_path, [0], {0: (3600, 0)})
        tasks = running.submit(wanted)
        killed: set[int] = set()

        def over() -> bool:
            for pid in [p for p in self.sshd.processes(3) if b"--rank" in cmdline(p)]:
                if pid not in killed:
                    killed.add(pid)
                    self.kill(pid)
            return running.poll(tasks)[tasks[0]].ended

        self.until(over)
        assert running.poll(tasks)[tasks[0]] is TaskState.FAILED
        assert len(killed) == 2


def cmdline(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def test_later_processes_keep_filling_the_slots(sshd: SSHHosts, tmp_path: Path) -> None:
    tasks = executor(sshd, "host1", {"name": "host2", "slots": 2}).submit(job(tmp_path, 7))
    other = executor(sshd)
    assert sorted(states(other, tasks)) == ["pending"] * 4 + ["running"] * 3
    until(lambda: len(list(tmp_path.glob("*.runs"))) == 3)
    hosts = sorted(runs(tmp_path, rank)[0][0] for rank in range(3))
    assert hosts == ["host1", "host2", "host2"]
    assert {d.place.split()[0] for d in notes(other, tasks) if d.place} == {"host1", "host2"}
    (tmp_path / "go").touch()
    until(lambda: all(state.ended for state in states(executor(sshd), tasks)))
    assert states(executor(sshd), tasks) == [TaskState.SUCCEEDED] * 7
    assert [len(runs(tmp_path, rank)) for rank in range(7)] == [1] * 7


def test_two_watchers_start_nothing_twice(sshd: SSHHosts, tmp_path: Path) -> None:
    script = "import sys, time; time.sleep(0.2)\n" + WAITS
    (tmp_path / "go").touch()
    one, two = (executor(sshd, poll_seconds=0) for _ in range(2))
    tasks = one.submit(job(tmp_path, 8, script))
    watchers = [threading.Thread(target=ended, args=(each, tasks)) for each in (one, two)]
    for watcher in watchers:
        watcher.start()
    for watcher in watchers:
        watcher.join()
    assert states(executor(sshd), tasks) == [TaskState.SUCCEEDED] * 8
    assert [len(runs(tmp_path, rank)) for rank in range(8)] == [1] * 8


def test_a_killed_rank_runs_once_more_elsewhere(sshd: SSHHosts, tmp_path: Path) -> None:
    running = executor(sshd)
    tasks = running.submit(job(tmp_path, 1))
    until(lambda: len(runs(tmp_path, 0)) == 1)
    os.kill(runs(tmp_path, 0)[0][1], 9)
    until(lambda: bool(running.poll(tasks)) and len(runs(tmp_path, 0)) == 2)
    assert "started again after it vanished on host" in notes(running, tasks)[0].note
    os.kill(runs(tmp_path, 0)[1][1], 9)
    assert ended(running, tasks) == [TaskState.FAILED]
    assert sorted(host for host, _ in runs(tmp_path, 0)) == ["host1", "host2"]
    assert "killed by signal 9" in notes(running, tasks)[0].note


def test_a_rank_whose_keeper_was_killed_is_seen_and_ended(sshd: SSHHosts, tmp_path: Path) -> None:
    running = executor(sshd, "host1")
    tasks = running.submit(job(tmp_path, 1))
    until(lambda: len(runs(tmp_path, 0)) == 1)
    [(_, rank)] = runs(tmp_path, 0)
    for pid in sshd.processes(1):
        if pid != rank:
            os.kill(pid, 9)
    assert states(running, tasks) == [TaskState.RUNNING]
    running.cancel(tasks)
    assert not alive(rank)
    assert states(running, tasks) == [TaskState.FAILED]


def test_a_rank_goes_on_when_the_connection_drops(sshd: SSHHosts, tmp_path: Path) -> None:
    running = executor(sshd, "host1")
    tasks = running.submit(job(tmp_path, 1))
    until(lambda: len(runs(tmp_path, 0)) == 1)
    sshd.freeze(1)
    found: list[TaskState] = []
    looking = threading.Thread(target=lambda: found.extend(states(running, tasks)))
    looking.start()
    sshd.restart(1)  # in the middle of a look
    looking.join()
    assert found in ([TaskState.UNKNOWN], [TaskState.RUNNING])
    until(all_are(running, tasks, TaskState.RUNNING))
    (tmp_path / "go").touch()
    assert ended(running, tasks) == [TaskState.SUCCEEDED]
    assert len(runs(tmp_path, 0)) == 1


def test_a_frozen_host_is_unknown_and_comes_back(sshd: SSHHosts, tmp_path: Path) -> None:
    running = executor(sshd, "host1", call_timeout_seconds=2, connect_timeout_seconds=1)
    tasks = running.submit(job(tmp_path, 1))
    sshd.freeze(1)
    until(all_are(running, tasks, TaskState.UNKNOWN))
    [detail] = notes(running, tasks)
    assert detail.place.startswith("host1")
    assert "out of reach since" in detail.note
    sshd.thaw(1)
    until(all_are(running, tasks, TaskState.RUNNING))
    assert notes(running, tasks)[0].note == ""


def test_the_ranks_of_a_dead_host_move(sshd: SSHHosts, tmp_path: Path) -> None:
    running = executor(sshd, slots=2, dead_after_seconds=0.5)
    tasks = running.submit(job(tmp_path, 3))
    until(lambda: len(list(tmp_path.glob("*.runs"))) == 3)
    gone = [rank for rank in range(3) if runs(tmp_path, rank)[0][0] == "host2"]
    sshd.kill(2)
    until(lambda: TaskState.UNKNOWN in states(running, tasks))
    # One of host1's two slots is free, or both are taken until a rank ends.
    [stayed, *_] = [rank for rank in range(3) if rank not in gone]
    (tmp_path / f"{stayed}.go").touch()
    until(lambda: bool(running.poll(tasks)) and any(len(runs(tmp_path, r)) == 2 for r in gone))
    (tmp_path / "go").touch()
    assert ended(running, tasks) == [TaskState.SUCCEEDED] * 3
    for rank in gone:
        assert [host for host, _ in runs(tmp_path, rank)] == ["host2", "host1"]
        assert "moved from host2" in notes(running, tasks)[rank].note


def test_what_still_runs_on_a_host_that_comes_back_is_ended(sshd: SSHHosts, tmp_path: Path) -> None:
    running = executor(sshd, "host1", "host2", dead_after_seconds=0.2)
    tasks = running.submit(job(tmp_path, 1))
    until(lambda: len(runs(tmp_path, 0)) == 1)
    [(host, process)] = runs(tmp_path, 0)
    k = int(host[-1])
    sshd.stop(k)
    until(lambda: bool(states(running, tasks)) and len(runs(tmp_path, 0)) == 2)
    assert alive(process)
    sshd.start(k)
    until(lambda: bool(states(running, tasks)) and not alive(process))
    (tmp_path / "go").touch()
    assert ended(running, tasks) == [TaskState.SUCCEEDED]
    assert len(runs(tmp_path, 0)) == 2


def test_cancel_reaches_a_host_when_it_is_back(sshd: SSHHosts, tmp_path: Path) -> None:
    running = executor(sshd, "host1")
    tasks = running.submit(job(tmp_path, 2))
    until(lambda: len(runs(tmp_path, 0)) == 1)
    sshd.stop(1)
    running.cancel(tasks)
    assert states(running, tasks) == [TaskState.FAILED] * 2
    sshd.start(1)
    other = executor(sshd, "host1")
    until(lambda: bool(states(other, tasks)) and not alive(runs(tmp_path, 0)[0][1]))
    assert runs(tmp_path, 1) == []


def test_cancel_kills_a_rank_that_does_not_listen(
    sshd: SSHHosts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trackverse_ssh.board.GRACE_SECONDS", 0.5)
    deaf = "import signal, os; signal.signal(15, signal.SIG_IGN); os.fork()\n" + WAITS
    running = executor(sshd, "host1", "host2")
    tasks = running.submit(job(tmp_path, 2, deaf))
    until(lambda: len(runs(tmp_path, 0)) == len(runs(tmp_path, 1)) == 2)
    running.cancel(tasks[:1])
    assert not any(alive(pid) for _, pid in runs(tmp_path, 0))
    assert states(running, tasks) == [TaskState.FAILED, TaskState.RUNNING]
    running.cancel(tasks)
    assert not any(alive(pid) for _, pid in runs(tmp_path, 1))


def shim(sshd: SSHHosts, folder: Path) -> tuple[Path, list[str]]:
    """The words of an ssh that notes when a call begins and ends, and its notes."""
    told, script = folder / "calls", folder / "a shim"
    script.write_text(
        f"#!/bin/sh\necho begin >> '{told}'\nssh -F '{sshd.config}' \"$@\"\ncode=$?\n"
        f"echo end >> '{told}'\nexit $code\n"
    )
    script.chmod(0o755)
    return told, [str(script)]


def test_one_call_a_host_however_many_ranks(sshd: SSHHosts, tmp_path: Path) -> None:
    told, words = shim(sshd, tmp_path)
    running = executor(
        sshd, "host1", "host2", "host3", ssh=words, slots=43, poll_seconds=0, connects_at_once=2
    )
    many = Job("many", ("sh", "-c", "sleep 600"), 128, tuple(range(128)), tmp_path)
    tasks = running.submit(many)
    until(all_are(running, tasks, TaskState.RUNNING))
    before = told.read_text().count("begin")
    running.poll(tasks)
    lines = told.read_text().split()
    assert lines.count("begin") - before == 3
    at_once = [lines[: n + 1].count("begin") - lines[:n].count("end") for n in range(len(lines))]
    assert max(at_once) <= 3  # two, and one whose end is written just before ours is seen
    running.cancel(tasks)
    count = told.read_text().count("begin")
    assert set(states(running, tasks)) == {TaskState.FAILED}
    assert told.read_text().count("begin") == count


def test_a_job_that_is_over_asks_no_host(sshd: SSHHosts, tmp_path: Path) -> None:
    running = executor(sshd, "host1", "host2")
    (tmp_path / "go").touch()
    tasks = running.submit(job(tmp_path, 3))
    assert ended(running, tasks) == [TaskState.SUCCEEDED] * 3
    assert states(executor(sshd, ssh=["false"]), tasks) == [TaskState.SUCCEEDED] * 3


def test_no_rank_starts_before_its_time(sshd: SSHHosts, tmp_path: Path) -> None:
    plain = job(tmp_path, 1)
    late = Job("t", plain.command, 1, (0,), plain.log_dir, delay_seconds=3600.0)
    running = executor(sshd)
    assert states(running, running.submit(late)) == [TaskState.PENDING]
    assert runs(tmp_path, 0) == []


def test_setup_lines_come_first(sshd: SSHHosts, tmp_path: Path) -> None:
    lines = ['export WORD="it\'s"', 'WORD="$WORD set"']
    running = executor(sshd, {"name": "host1", "setup": lines[1:]}, setup=lines[:1])
    wanted = job(tmp_path, 1, "import os; print(os.environ['WORD'])")
    assert ended(running, running.submit(wanted)) == [TaskState.SUCCEEDED]
    assert wanted.log_path(0).read_text() == "it's set\n"


def test_a_command_that_is_not_there_fails_and_says_so(sshd: SSHHosts, tmp_path: Path) -> None:
    running = executor(sshd, "host1")
    lacking = Job("t", ("/no/such/program",), 1, (0,), tmp_path)
    assert ended(running, running.submit(lacking)) == [TaskState.FAILED]
    assert "No such file" in lacking.log_path(0).read_text()


def test_hosts_that_cannot_do_it_are_named_with_their_reasons(
    sshd: SSHHosts, tmp_path: Path
) -> None:
    hosts: list[Any] = ["nowhere", "unknown.invalid", {"name": "host1", "python": "/no/python"}]
    with pytest.raises(LacksError) as caught:
        executor(sshd, *hosts).submit(job(tmp_path, 2))
    told = str(caught.value)
    for word in ("nowhere: ", "Connection refused", "unknown.invalid: ", "resolve hostname"):
        assert word in told
    assert "host1: it has no /no/python; set `python` of this host in [executor.ssh]" in told
    assert list((tmp_path / "logs" / "a job").iterdir()) == []
    (tmp_path / "go").touch()
    running = executor(sshd, *hosts, "host2")
    assert ended(running, running.submit(job(tmp_path, 2))) == [TaskState.SUCCEEDED] * 2


def test_another_version_is_left_out(sshd: SSHHosts, tmp_path: Path) -> None:
    other = tmp_path / "other python"
    other.write_text(
        f'#!/bin/sh\n[ "$1" = -m ] && echo trackverse 0.0.9 && exit\nexec "{sys.executable}" "$@"\n'
    )
    other.chmod(0o755)
    command = (sys.executable, "-m", "trackverse_cli", "download-tracks")
    with pytest.raises(LacksError, match=r"answers 'trackverse 0\.0\.9', not 'trackverse"):
        executor(sshd, {"name": "host1", "python": str(other)}).submit(
            Job("t", command, 1, (0,), tmp_path)
        )
    running = executor(sshd, "host1")
    tasks = running.submit(Job("t", (*command, "--help"), 1, (0,), tmp_path))
    assert ended(running, tasks) == [TaskState.SUCCEEDED]


def test_a_host_that_does_not_see_the_folder_is_left_out(sshd: SSHHosts, tmp_path: Path) -> None:
    wanted = job(tmp_path, 1)
    blind = tmp_path / "python"  # to whom the folder is empty
    blind.write_text(
        f'#!/bin/sh\nrm -f "{wanted.log_dir}"/ssh-*/probe.json\nexec "{sys.executable}" "$@"\n'
    )
    blind.chmod(0o755)
    with pytest.raises(LacksError, match=r"does not see .*; give the host a `root` of its own"):
        executor(sshd, {"name": "host1", "python": str(blind)}).submit(wanted)


def test_no_hosts_is_a_wrong_configuration(sshd: SSHHosts, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"\[executor\.ssh\] hosts is empty"):
        executor(sshd, hosts=[]).submit(job(tmp_path, 1))


def test_what_describe_shows_runs_by_hand(sshd: SSHHosts, tmp_path: Path) -> None:
    folder = tmp_path / 'it\'s a "folder" $HOME'
    folder.mkdir()
    wanted = job(folder, 3)
    text = executor(sshd, "host1", "host2").describe(wanted)
    assert text.splitlines()[0] == "# host1: 1 at a time, on the submitter's folder"
    assert text.splitlines()[-1] == "# as slots become free: ranks 2"
    (folder / "go").touch()
    subprocess.run(["sh", "-c", text], check=True)
    assert [[host for host, _ in runs(folder, rank)] for rank in range(3)] == [
        ["host1"], ["host2"], [],
    ]  # fmt: skip
    assert not list(wanted.log_dir.iterdir())


MAKES = """
import os, pathlib, sys
root, rank = pathlib.Path(sys.argv[1]), sys.argv[sys.argv.index("--rank") + 1]
for name in (f"tracks_mp4/Tiny/a b'{rank}.mp4", f"ledger/{rank}.jsonl", f"videos_mp4/a/{rank}.mp4"):
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(f"{name} by rank {rank}\\n")
(root / "tracks_mp4/Tiny/.tv-0123456789abcdef.tmp").write_text("half")
if not (root / "tracks_mp4/planted").is_symlink():
    (root / "tracks_mp4/planted").symlink_to("/etc")
    (root / "tracks_mp4/planted.mp4").symlink_to("/etc/passwd")
print((root / "index/Tiny/manifest.json").read_text(), *sorted(os.listdir(root / "state")))
print(open(sys.argv[2]).read(), os.environ["PLACE"])
"""


@pytest.fixture
def two_roots(tmp_path: Path) -> tuple[Path, Path]:
    """A dataset folder here, and where a host is to have its own."""
    root = tmp_path / 'root\'s "here"'
    for name in (
        "index/Tiny/manifest.json",
        "state/selection-1.npz",
        "state/leases/a",
        "ledger/old",
    ):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"of {name}")
    return root, tmp_path / "elsewhere $HOME" / "its own"


@pytest.mark.parametrize("bring", ["rsync", "tar"])
def test_a_root_of_its_own_is_equipped_and_its_results_are_brought(
    sshd: SSHHosts, tmp_path: Path, two_roots: tuple[Path, Path], bring: str
) -> None:
    if bring == "rsync":
        need_rsync()
    (root, own), config = two_roots, tmp_path / "a file.toml"
    config.write_text("# of the submitter")
    plain = job(tmp_path, 2, MAKES, root)
    wanted = Job(
        "t", (*plain.command, str(config)), 2, (0, 1), plain.log_dir,
        {"PLACE": str(root / "index")}, root,
    )  # fmt: skip
    running = executor(sshd, {"name": "host1", "root": str(own), "slots": 2}, bring=bring)
    tasks = running.submit(wanted)
    assert ended(running, tasks) == [TaskState.SUCCEEDED] * 2, wanted.log_path(0).read_text()
    said = wanted.log_path(0).read_text()
    assert said == f"of index/Tiny/manifest.json selection-1.npz\n# of the submitter {own}/index\n"
    running.collect(tasks)
    there = sorted(str(p.relative_to(root)) for p in root.glob("*_mp4/**/*") if p.is_file())
    assert there == ["tracks_mp4/Tiny/a b'0.mp4", "tracks_mp4/Tiny/a b'1.mp4"]
    clip, ledger = root / there[0], root / "ledger" / "0.jsonl"
    assert clip.read_text() == "tracks_mp4/Tiny/a b'0.mp4 by rank 0\n"
    before = [path.stat().st_ino for path in (clip, ledger)]
    executor(sshd, bring=bring).collect(tasks)
    assert [path.stat().st_ino for path in (clip, ledger)] == before

    theirs = own / "ledger" / "0.jsonl"
    theirs.write_text("short")  # never over a longer one
    (own / "ledger" / "1.jsonl").write_text("longer by several lines\n" * 9)
    running.collect(tasks)
    assert ledger.read_text() == "ledger/0.jsonl by rank 0\n"
    assert (root / "ledger" / "1.jsonl").read_text() == "longer by several lines\n" * 9

    executor(sshd, bring=bring, bring_videos=True).collect(tasks)
    assert (root / "videos_mp4/a/1.mp4").is_file()
    sshd.stop(1)
    with pytest.raises(LacksError, match=r"the next try goes on: host1: .*refused"):
        running.collect(tasks)


def test_a_planted_link_leads_no_result_out_of_the_root(
    sshd: SSHHosts, tmp_path: Path, two_roots: tuple[Path, Path]
) -> None:
    root, own = two_roots
    config, outside = tmp_path / "a.toml", tmp_path / "outside"
    config.touch()
    outside.mkdir()
    plain = job(tmp_path, 1, MAKES, root)
    wanted = Job("t", (*plain.command, str(config)), 1, (0,), plain.log_dir, {"PLACE": ""}, root)
    running = executor(sshd, {"name": "host1", "root": str(own)})
    tasks = running.submit(wanted)
    assert ended(running, tasks) == [TaskState.SUCCEEDED]
    (root / "tracks_mp4").mkdir()
    (root / "tracks_mp4/Tiny").symlink_to(outside)
    with pytest.raises(LacksError, match="by a symbolic link"):
        running.collect(tasks)
    assert list(outside.iterdir()) == []
