"""Runs parts in processes of their own and takes their times, start-up off, and their memory."""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from benchmarks.cut.workload import Workload


@dataclass(frozen=True, slots=True)
class Usage:
    """What one part took.

    Attributes:
        cpu: CPU seconds of all its processes.
        wall: seconds.
        peak: MiB resident at most, of all its processes together.
        told: what it said of itself.
    """

    cpu: float
    wall: float
    peak: float
    told: dict[str, Any]


class Bench:
    """Measures parts on workloads, whose videos it makes once.

    Args:
        folder: where videos and clips go.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._start = {cores: self._run("start", None, cores) for cores in (1, None)}

    def video(self, workload: Workload) -> Path:
        """Return the workload's video, made if need be."""
        path = self.folder / f"{workload.name}.mp4"
        if not path.exists():
            partial = path.with_suffix(".partial.mp4")
            workload.make_video(partial)
            partial.rename(path)
        return path

    def medians(
        self, parts: Iterable[str], workload: Workload, repeats: int, cores: int | None = None
    ) -> dict[str, Usage]:
        """Run the parts turn by turn, so often each, and return the median of each figure.

        Args:
            parts: names in `benchmarks.cut.parts`.
            workload: what they work on.
            repeats: rounds.
            cores: how many cores they may use; None for all.
        """
        self.video(workload)
        runs: dict[str, list[Usage]] = {part: [] for part in parts}
        for _ in range(repeats):
            for part, usages in runs.items():
                usages.append(self._run(part, workload, cores))
        start = self._start[1 if cores == 1 else None]
        return {part: _median(usages, start) for part, usages in runs.items()}

    def _run(self, part: str, workload: Workload | None, cores: int | None) -> Usage:
        words = [sys.executable, "-m", "benchmarks.cut", "--part", part]
        words += ["--folder", str(self.folder), "--workload", workload.name if workload else ""]
        if cores:
            words += ["--cores", str(cores)]
        before, begin, peak = _cpu_of_children(), time.perf_counter(), 0
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
            while process.poll() is None:
                peak = max(peak, resident(process.pid))
                time.sleep(0.05)
            wall = time.perf_counter() - begin
            said = process.stdout.read() if process.stdout else ""
        if process.returncode:
            raise SystemExit(f"the part {part} failed with {process.returncode}")
        told = json.loads(said)
        peak = max(peak, told.pop("own_peak"))
        return Usage(_cpu_of_children() - before, wall, peak / 2**20, told)


def _median(usages: list[Usage], start: Usage) -> Usage:
    told = {
        name: statistics.median(usage.told[name] for usage in usages) for name in usages[0].told
    }
    return Usage(
        statistics.median(usage.cpu for usage in usages) - start.cpu,
        statistics.median(usage.wall for usage in usages) - start.wall,
        max(usage.peak for usage in usages),
        told,
    )


def own_peak_bytes() -> int:
    """Return the most that this process has had in memory.

    Not `ru_maxrss`, which begins with what the process that started it had.
    """
    status = Path("/proc/self/status").read_text()
    [line] = [line for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) * 1024


def _cpu_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def resident(pid: int) -> int:
    """Return the resident bytes of a process and all below it."""
    try:
        own = int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        children = [int(c) for task in tasks for c in (task / "children").read_text().split()]
    except OSError:
        return 0
    return own + sum(resident(child) for child in children)
