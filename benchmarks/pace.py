"""Eight processes against one limiter: `python -m benchmarks.pace [--seconds 60] [--rate 36000]`.

Prints requests allowed and sent, fairness, the longest wait and the file operations a request,
and checks every window between two requests. Each process asks as fast as it is let.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

from trackverse_cli.pace import Pace, Rate, Terms, allowed_requests, rate_of

PROCESSES = 8


@dataclass(frozen=True)
class Report:
    """What came of one run.

    Attributes:
        allowed: requests that the window of the run may hold.
        sent: requests that were granted.
        closest: the least distance of two grants, as a share of the interval.
        worst_window: the largest (sent / allowed) over all windows between two grants.
        by_process: requests of each process.
        longest_wait_seconds: of any request.
        operations: file system calls a request.
    """

    allowed: int
    sent: int
    closest: float
    worst_window: float
    by_process: list[int]
    longest_wait_seconds: float
    operations: float


def ask(folder: Path, rate: Rate, until: float, out: Path) -> None:
    """Take turns until the time is up, and write down when."""
    grants = []
    with Pace(folder, "bench", "", Terms(rate)) as pace:
        while time.monotonic() < until:
            grant = pace.take()
            grants.append((grant.at, grant.waited_seconds))
        out.write_text(json.dumps({"grants": grants, "operations": pace.folder.operations}))


def worst_window(times: list[float], interval_seconds: float) -> float:
    """Return the largest (sent / allowed) over every window that begins and ends with a grant."""
    worst = 0.0
    for first, start in enumerate(times):
        for last in range(first, len(times)):
            may = allowed_requests(times[last] - start + 1e-9, interval_seconds)
            worst = max(worst, (last - first + 1) / may)
    return worst


def run(seconds: float, videos_per_hour: float, jitter: float, folder: Path) -> Report:
    """Run eight processes in `folder` and return what came of it."""
    rate = rate_of(videos_per_hour, jitter)
    start = time.monotonic() + 1.0
    outs = [folder / f"out-{index}.json" for index in range(PROCESSES)]
    context = multiprocessing.get_context("spawn")
    workers = [
        context.Process(target=ask, args=(folder / "pace", rate, start + seconds, out))
        for out in outs
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    found = [json.loads(out.read_text()) for out in outs]
    grants = sorted((at, waited) for one in found for at, waited in one["grants"])
    times = [at for at, _ in grants]
    span = times[-1] - times[0]
    gaps = [b - a for a, b in pairwise(times)]
    return Report(
        allowed=allowed_requests(span, rate.interval_seconds),
        sent=len(times),
        closest=min(gaps) / rate.interval_seconds,
        worst_window=worst_window(times, rate.interval_seconds),
        by_process=[len(one["grants"]) for one in found],
        longest_wait_seconds=max(waited for _, waited in grants),
        operations=sum(one["operations"] for one in found) / len(times),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--rate", type=float, default=36_000.0, help="videos per hour")
    parser.add_argument("--jitter", type=float, default=0.0)
    parser.add_argument("--dir", type=Path, help="a folder on the file system to measure")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.dir) as folder:
        report = run(options.seconds, options.rate, options.jitter, Path(folder))
    print(
        f"{datetime.now(UTC):%Y-%m-%d}, Python {platform.python_version()}, "
        f"{platform.system()} {platform.release()}, {os.cpu_count()} cores"
    )
    print(f"{PROCESSES} processes, {options.rate:,.0f} videos an hour, jitter {options.jitter}")
    print(f"requests allowed   {report.allowed}")
    print(f"requests sent      {report.sent} ({report.sent / report.allowed:.1%})")
    print(f"worst window       {report.worst_window:.3f} of what it may hold")
    print(f"closest two        {report.closest:.3f} intervals")
    print(f"per process        {min(report.by_process)} to {max(report.by_process)}")
    print(f"longest wait       {report.longest_wait_seconds:.2f} s")
    print(f"file operations    {report.operations:.1f} a request")


if __name__ == "__main__":
    main()
