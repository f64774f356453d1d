"""Leases and signs of life: by exclusive create and standing still, never by flock or clocks."""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.test_ledger import Hands
from trackverse_cli.errors import TryLaterError
from trackverse_cli.fence import Fence, work_key
from trackverse_cli.layout import Layout
from trackverse_cli.leases import Attempt, AttemptInfo, Leases, Watch, read_attempts
from trackverse_cli.leases.attempts import attempt_info

if TYPE_CHECKING:
    from pathlib import Path

    from trackverse_cli.clock import Clock


class Apart(Hands):
    """A machine whose wall clock is off, and whose monotonic clock began somewhere else."""

    def __init__(self, off_seconds: float) -> None:
        super().__init__()
        self.off = off_seconds

    def time(self) -> float:
        return self.now + self.off

    def monotonic(self) -> float:
        return self.now - 1_700_000_000.0 + self.off


class Run:
    """One run on a machine of its own name, without a thread that gives signs of life."""

    def __init__(self, folder: Path, name: str, clock: Clock, host: str | None = None) -> None:
        info = attempt_info(name, "extract-tracks", 0, 1, "", clock)
        info = msgspec.structs.replace(info, host=host or f"host of {name}")
        self.attempt = Attempt(folder / "runs", info, beat_seconds=1e6)
        self.watch = Watch(folder / "runs", clock, 60.0)
        self.leases = Leases(folder / "leases", self.attempt, self.watch)


def test_one_of_two_gets_it(tmp_path: Path) -> None:
    clock = Hands()
    a, b = Run(tmp_path, "a", clock), Run(tmp_path, "b", clock)
    assert a.leases.take("video-x")
    assert a.leases.take("video-x")
    assert not b.leases.take("video-x")
    holder = b.leases.holder("video-x")
    assert holder is not None
    assert holder.run == "a"
    assert b.leases.take("video-y")
    a.leases.release("video-x")
    assert b.leases.take("video-x")
    assert sorted(p.name for p in (tmp_path / "leases").iterdir()) == ["video-x.1", "video-y.1"]


@pytest.mark.parametrize("off_seconds", [-600.0, 0.0, 600.0])
def test_a_lease_ends_when_its_counter_stands_still_whatever_the_clocks_say(
    tmp_path: Path, off_seconds: float
) -> None:
    here, there = Apart(0.0), Apart(off_seconds)
    a, b = Run(tmp_path, "a", here), Run(tmp_path, "b", there)
    assert a.leases.take("x")
    for _ in range(10):
        a.attempt.beat()
        assert not b.leases.take("x")
        there.sleep(59)
    assert b.leases.has_moved("x")
    assert not b.leases.take("x")
    there.sleep(2)
    assert b.leases.take("x")


def test_a_zombie_that_wakes_up_knows_that_it_lost_and_takes_nothing_back(tmp_path: Path) -> None:
    clock = Hands()
    a, b, c = (Run(tmp_path, name, clock) for name in "abc")
    assert a.leases.take("x")
    assert not b.leases.take("x")
    clock.sleep(61)
    assert b.leases.take("x")
    a.attempt.beat()
    assert not a.leases.is_mine("x")
    assert not a.leases.take("x")
    a.leases.release("x")
    assert b.leases.is_mine("x")
    assert not c.leases.take("x")
    b.leases.release("x")
    assert c.leases.take("x")
    assert not a.leases.take("x")


def test_who_ended_in_order_or_died_here_is_gone_at_once(tmp_path: Path) -> None:
    clock = Hands()
    a, b = Run(tmp_path, "a", clock), Run(tmp_path, "b", clock)
    assert a.leases.take("x")
    a.attempt.close()
    assert b.leases.take("x")
    killed = subprocess.Popen(["sleep", "100"])
    info = attempt_info("c", "extract-tracks", 0, 1, "", clock)
    started = msgspec.structs.replace(info, pid=killed.pid, started=_started(killed.pid))
    held = Leases(tmp_path / "leases", Attempt(tmp_path / "runs", started, 1e6), b.watch)
    assert held.take("y")
    assert not b.leases.take("y")
    killed.kill()
    killed.wait()
    assert b.leases.take("y")


def _started(pid: int) -> str:
    from trackverse_cli.leases.attempts import _started as started

    return started(pid) or ""


def test_a_lease_that_was_never_written_to_ends_too(tmp_path: Path) -> None:
    clock = Hands()
    b = Run(tmp_path, "b", clock)
    (tmp_path / "leases" / "x.1").touch()
    assert not b.leases.take("x")
    clock.sleep(61)
    assert b.leases.take("x")


def test_flock_is_never_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    monkeypatch.setattr(fcntl, "lockf", refuse)
    monkeypatch.setattr(fcntl, "fcntl", refuse)
    monkeypatch.setattr(os, "lockf", refuse)
    with Fence(Layout(tmp_path), "extract-tracks", 0, 1, "k", Hands(), beat_seconds=1e6) as fence:
        assert fence.claim("cut", "abcdefghijk")


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["take", "release", "stall"]))))
def test_no_two_living_runs_hold_it(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, str]]
) -> None:
    folder = tmp_path_factory.mktemp("leases")
    clock = Hands()
    runs = {name: Run(folder, name, clock) for name in "abc"}
    holder = ""
    for name, step in steps:
        for other in runs.values():
            if other is not runs[name] or step != "stall":
                other.attempt.beat()
        if step == "take":
            won = runs[name].leases.take("x")
            assert won == (holder in ("", name))
            holder = name if won else holder
        elif step == "release":
            runs[name].leases.release("x")
            holder = "" if holder == name else holder
    assert sum(run.leases.is_mine("x") for run in runs.values()) == bool(holder)


def test_threads_that_ask_at_once_get_it_once(tmp_path: Path) -> None:
    clock = Hands()
    runs = [Run(tmp_path, f"r{number}", clock) for number in range(8)]
    won: list[str] = []
    gate = threading.Barrier(8)

    def race(run: Run) -> None:
        for number in range(40):
            gate.wait()
            if run.leases.take(f"video-{number}"):
                won.append(f"video-{number}")

    threads = [threading.Thread(target=race, args=(run,)) for run in runs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(won) == sorted(f"video-{number}" for number in range(40))


def test_the_second_run_of_a_rank_is_turned_away_while_the_first_lives(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    key = work_key("i", "r", "extract-tracks", 4)
    clock = Hands()
    with Fence(layout, "extract-tracks", 3, 4, key, clock, beat_seconds=0.01):
        with pytest.raises(TryLaterError, match="rank 3 of 4 is at work already in another run"):
            Fence(layout, "extract-tracks", 3, 4, key, _Slow()).__enter__()
        with Fence(layout, "extract-tracks", 2, 4, key, clock, beat_seconds=1e6):
            assert len(list(read_attempts(layout.runs))) == 2
    assert list(layout.runs.iterdir()) == []
    assert list(layout.leases.iterdir()) == []


class _Slow(Hands):
    """Sleeps in truth, so that another thread's heart can beat meanwhile."""

    def sleep(self, seconds: float) -> None:
        time.sleep(0.05)
        super().sleep(seconds)


def test_the_second_run_goes_on_when_the_first_stands_still(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    clock = Hands()
    first = Run(tmp_path, "dead", clock)
    leases = Leases(layout.leases, _moved(first, layout), first.watch)
    key = work_key("i", "r", "extract-tracks", 1)
    assert leases.take(f"rank-{key}-0000")
    begun = clock.monotonic()
    with Fence(layout, "extract-tracks", 0, 1, key, clock, beat_seconds=1e6):
        assert clock.monotonic() - begun >= 60


def _moved(run: Run, layout: Layout) -> Attempt:
    return Attempt(layout.runs, run.attempt.info, 1e6)


def test_a_run_of_this_machine_that_was_killed_holds_nobody_up(tmp_path: Path) -> None:
    script = f"""
import sys, time
from pathlib import Path
from trackverse_cli.clock import SystemClock
from trackverse_cli.fence import Fence
from trackverse_cli.layout import Layout
with Fence(Layout(Path({str(tmp_path)!r})), "extract-tracks", 0, 1, "k", SystemClock()) as fence:
    fence.claim("cut", "abcdefghijk")
    print("ready", flush=True)
    time.sleep(100)
"""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        [info] = read_attempts(Layout(tmp_path).runs)
        assert (info.pid, info.host) == (child.pid, socket.gethostname())
        child.send_signal(signal.SIGKILL)
    clock = Hands()
    with Fence(Layout(tmp_path), "extract-tracks", 0, 1, "k", clock, beat_seconds=1e6) as fence:
        assert fence.claim("cut", "abcdefghijk")
    assert clock.now == Hands().now


def test_a_sign_of_life_that_was_swept_away_does_not_rise(tmp_path: Path) -> None:
    info = attempt_info("a", "extract-tracks", 0, 1, "", Hands())
    with Attempt(tmp_path, info, 1e6) as attempt:
        attempt.beat()
        assert attempt.path.read_bytes().endswith(b"}\n.")
        attempt.path.unlink()
        attempt.beat()
        assert list(tmp_path.iterdir()) == []


def test_nonsense_among_the_signs_of_life_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "x.run").write_bytes(b"\xff\0")
    (tmp_path / "y.run").mkdir()
    (tmp_path / "z.run").symlink_to("/etc/passwd")
    assert list(read_attempts(tmp_path)) == []
    assert list(read_attempts(tmp_path / "none")) == []


def test_what_a_rank_is_asked_for_has_a_name_of_its_own() -> None:
    keys = {
        work_key(*what)
        for what in [
            ("i", "r", "extract-tracks", 4), ("i", "r", "extract-tracks", 5),
            ("i", "r", "download-tracks", 4), ("i", "s", "extract-tracks", 4),
            ("j", "r", "extract-tracks", 4),
        ]
    }  # fmt: skip
    assert len(keys) == 5


def test_the_description_survives_json() -> None:
    info = attempt_info("a", "extract-tracks", 0, 1, "job", Hands())
    assert msgspec.json.decode(msgspec.json.encode(info), type=AttemptInfo) == info
