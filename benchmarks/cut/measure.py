"""Runs parts in processes of their own and takes their times, start-up off, and their memory."""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trackverse_cli.machine import usable_cores

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

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


@dataclass(frozen=True, slots=True)
class Rounds:
    """What the parts took in each round; a figure is the median of what the rounds give for it.

    So a ratio is of parts that ran within one round, however the machine's speed drifts.
    """

    used: list[dict[str, Usage]]

    def median(self, figure: Callable[[dict[str, Usage]], float]) -> float:
        """Return the median over the rounds of a figure of one round."""
        return statistics.median(figure(used) for used in self.used)

    def cpu(self, part: str) -> float:
        """Return the CPU seconds of a part."""
        return self.median(lambda used: used[part].cpu)

    def wall(self, part: str) -> float:
        """Return the wall seconds of a part."""
        return self.median(lambda used: used[part].wall)

    def to_ours(self, part: str) -> tuple[float, float]:
        """Return what a part took of CPU and of wall, as multiples of `cut`."""
        return (
            self.median(lambda used: used[part].cpu / used["cut"].cpu),
            self.median(lambda used: used[part].wall / used["cut"].wall),
        )

    def told(self, part: str, name: str) -> float:
        """Return what a part said of itself."""
        return self.median(lambda used: float(used[part].told[name]))

    def peak(self, part: str) -> float:
        """Return the MiB that a part had at most, in any round."""
        return max(used[part].peak for used in self.used)


class Bench:
    """Measures parts on workloads, whose videos it makes once.

    Args:
        folder: where videos and clips go.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def video(self, workload: Workload) -> Path:
        """Return the workload's video, made if need be."""
        path = self.folder / f"{workload.name}.mp4"
        if not path.exists():
            partial = path.with_suffix(".partial.mp4")
            workload.make_video(partial)
            partial.rename(path)
        return path

    def rounds(
        self, parts: Iterable[str], workload: Workload, repeats: int, cores: int | None = None
    ) -> Rounds:
        """Run the parts turn by turn, so often each, and the start-up with them, to be taken off.

        Args:
            parts: names in `benchmarks.cut.parts`.
            workload: what they work on.
            repeats: rounds.
            cores: how many cores they may use; None for all.
        """
        self.video(workload)
        names = ["start", *parts]
        found = [{name: self._run(name, workload, cores) for name in names} for _ in range(repeats)]
        cpu = statistics.median(used["start"].cpu for used in found)
        wall = statistics.median(used["start"].wall for used in found)
        return Rounds(
            [
                {n: replace(u, cpu=u.cpu - cpu, wall=u.wall - wall) for n, u in used.items()}
                for used in found
            ]
        )

    def apart(self, part: str, workload: Workload) -> float:
        """Return the wall seconds of a part in as many processes at once as there are cores.

        Each has a core of its own and nothing in common with the others but the machine, so this
        says what the cores give at most. Start-up is taken off.
        """
        self.video(workload)
        cores, walls = usable_cores(), []
        for name in ("start", part):
            begin = time.perf_counter()
            started = [self._start(name, workload, 1, core) for core in range(cores)]
            for process in started:
                _said_by(process, name)
            walls.append(time.perf_counter() - begin)
        return walls[1] - walls[0]

    def _run(self, part: str, workload: Workload, cores: int | None) -> Usage:
        before, begin, peak = _cpu_of_children(), time.perf_counter(), 0
        process = self._start(part, workload, cores)
        while process.poll() is None:
            peak = max(peak, resident(process.pid))
            time.sleep(0.05)
        wall = time.perf_counter() - begin
        told = _said_by(process, part)
        peak = max(peak, told.pop("own_peak"))
        return Usage(_cpu_of_children() - before, wall, peak / 2**20, told)

    def _start(
        self, part: str, workload: Workload, cores: int | None, first_core: int = 0
    ) -> subprocess.Popen[str]:
        words = [sys.executable, "-m", "benchmarks.cut", "--part", part]
        words += ["--folder", str(self.folder), "--workload", workload.name]
        if cores:
            words += ["--cores", str(cores), "--first-core", str(first_core)]
        # As the program itself has it: threads for linear algebra would spin at the start.
        environment = {"OPENBLAS_NUM_THREADS": "1", **os.environ}
        return subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=environment)


def _said_by(process: subprocess.Popen[str], part: str) -> dict[str, Any]:
    """Return what a part said of itself when it was over."""
    with process:
        said = process.stdout.read() if process.stdout else ""
    if process.returncode:
        raise SystemExit(f"the part {part} failed with {process.returncode}")
    told: dict[str, Any] = json.loads(said)
    return told


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
