"""Real processes against one limiter; one of them is killed while it holds and waits."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from trackverse_cli.errors import UsageError
from trackverse_cli.pace import Pace, Terms, allowed_requests, rate_of

if TYPE_CHECKING:
    from pathlib import Path

PER_HOUR = 36_000.0
ASKER = """
import json, sys, threading, time
from pathlib import Path
from trackverse_cli.pace import Pace, Terms, rate_of
folder, until, out = Path(sys.argv[1]), float(sys.argv[2]), Path(sys.argv[3])

def ask(pace, file):
    while time.monotonic() < until:
        grant = pace.take()
        file.write(json.dumps([grant.at, grant.turn]) + "\\n")
        file.flush()

with Pace(folder, "default", "", Terms(rate_of(36000.0, 0.1))) as pace, out.open("w") as file:
    threads = [threading.Thread(target=ask, args=(pace, file)) for _ in range(int(sys.argv[4]))]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
"""


def start(folder: Path, until: float, out: Path, threads: int = 1) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", ASKER, str(folder), str(until), str(out), str(threads)]
    return subprocess.Popen(command)


def turns(out: Path) -> list[tuple[float, int]]:
    lines = out.read_text().splitlines() if out.exists() else []
    return [tuple(json.loads(line)) for line in lines if line.endswith("]")]


def assert_every_window_holds_what_it_may(times: list[float], interval: float) -> None:
    for first, begun in enumerate(times):
        for last in range(first, len(times)):
            assert last - first + 1 <= allowed_requests(times[last] - begun, interval)


def test_eight_processes_keep_the_pace_together_and_a_killed_one_blocks_nobody(
    tmp_path: Path,
) -> None:
    until = time.monotonic() + 9
    outs = [tmp_path / f"out{index}" for index in range(8)]
    workers = [start(tmp_path / "pace", until, out, 2 if out == outs[7] else 1) for out in outs]
    while not all(turns(out) for out in outs) and time.monotonic() < until - 2:
        time.sleep(0.05)
    os.kill(workers[0].pid, signal.SIGKILL)
    killed = time.monotonic()
    for worker in workers:
        worker.wait(60)
    assert [worker.returncode for worker in workers] == [-signal.SIGKILL, *[0] * 7]
    found = sorted(turn for out in outs for turn in turns(out))
    times = [at for at, _ in found]
    assert_every_window_holds_what_it_may(times, 3600 / PER_HOUR)
    assert len({turn for _, turn in found}) == len(found), "no turn went to two"
    assert times[-1] > killed
    assert max(b - a for a, b in pairwise(times)) < 30
    assert all(turns(out)[-1][0] > killed for out in outs[1:]), "none starved"


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes wherever it likes")
def test_a_folder_that_may_not_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "pace").mkdir(mode=0o555)
    with (
        Pace(tmp_path / "pace", "default", "", Terms(rate_of(280))) as pace,
        pytest.raises(UsageError, match="write access"),
    ):
        pace.take()


def test_who_took_the_last_turn_says_so_and_a_newcomer_need_not_wait(tmp_path: Path) -> None:
    with Pace(tmp_path, "default", "", Terms(rate_of(3600.0))) as first:
        taken = first.take()
        deadline = time.monotonic() + 20
        while not list((tmp_path / "default").glob("r*")):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        with Pace(tmp_path, "default", "", Terms(rate_of(3600.0))) as second:
            grant = second.take()
    assert grant.turn == taken.turn + 1
    assert grant.at - taken.at >= 1.0
