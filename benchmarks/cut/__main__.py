"""What cutting costs: CPU seconds, wall and memory, as ratios of one run.

`python -m benchmarks.cut [--quick] [--only NAME] [--repeats 3] [--folder DIR] [--write]`

The limit is one decode of every stretch that some track needs, on one thread, and one encode of
crops that lie ready in memory, with the same settings. Every part runs in a process of its own,
turn by turn; start-up (interpreter and imports) is taken off; a figure is the median of its
rounds, a ratio that of their ratios. `--write` puts table and plot into `benchmarks/results/`.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import av
import cv2

from benchmarks.cut.measure import Bench, own_peak_bytes
from benchmarks.cut.parts import PARTS, Task, has_ffmpeg
from benchmarks.cut.plot import draw
from benchmarks.cut.workload import SCATTERED, WORKLOADS
from trackverse_cli.machine import usable_cores

if TYPE_CHECKING:
    from benchmarks.cut.measure import Rounds, Usage

LIMIT = ("decode", "crop and encode")
FIRST, MORE = "24 scattered", ("1 on screen", "8 on screen", "24 on screen", "64 on screen")
OTHERS = ("24 on screen, 1080p", "24 scattered, VP9", "24 scattered, AV1")
RESULTS = Path(__file__).parents[1] / "results"


def limit_of(used: dict[str, Usage]) -> float:
    """Return the CPU seconds of the limit."""
    return used["decode"].cpu + float(used["crop and encode"].told["encode"])


def of_limit(ran: Rounds, part: str = "cut") -> float:
    """Return the CPU seconds of a part, as a multiple of the limit."""
    return ran.median(lambda used: used[part].cpu / limit_of(used))


def parts_of(ran: Rounds) -> dict[str, float]:
    """Return the CPU seconds of the parts of a cut, by name."""
    parts = {"decode": ran.cpu("decode")}
    parts |= {name: ran.told("crop and encode", name) for name in ("crop", "encode")}
    return {**parts, "the rest": ran.cpu("cut") - sum(parts.values())}


class Report:
    """Prints and keeps lines, and what the plot is drawn from."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.bars: dict[str, dict[str, float]] = {}

    def say(self, line: str = "") -> None:
        """Print and keep a line."""
        print(line, flush=True)
        self.lines.append(line)

    def row(self, *cells: str) -> None:
        """Print and keep a row of a table."""
        self.say("| " + " | ".join(cells) + " |")

    def head(self, *cells: str) -> None:
        """Begin a table."""
        self.say()
        self.row(*cells)
        self.row(*["---"] * len(cells))


def versions() -> str:
    """Return what this run ran on."""
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, Python {platform.python_version()}, PyAV "
        f"{av.__version__}, OpenCV {cv2.__version__}, {usable_cores()} cores, load "
        f"{os.getloadavg()[0]:.1f} at the start"
    )


def against_others(bench: Bench, report: Report, repeats: int, name: str) -> None:
    """Print the first table: one workload, every way."""
    workload = WORKLOADS[name]
    others = [*(["ffmpeg"] if has_ffmpeg() else []), "original"]
    ran = bench.rounds(["cut", *LIMIT, *others], workload, repeats)
    report.say(
        f"\n{name}: {workload.tracks} tracks of {workload.length[0]:g} to {workload.length[1]:g} s "
        f"in {workload.seconds} s of {workload.height}p {workload.codec}; "
        f"{ran.told('cut', 'frames'):.0f} frames in clips"
    )
    report.head("way", "CPU s", "of the limit", "wall s", "peak MiB", "its CPU / wall to ours")
    labels = {"ffmpeg": "ffmpeg, once a track", "original": "original's way"}
    for way in ("cut", *others):
        cpu, wall = ran.to_ours(way)
        report.row(
            labels.get(way, "trackverse"), f"{ran.cpu(way):.1f}", f"{of_limit(ran, way):.2f}",
            f"{ran.wall(way):.1f}", f"{ran.peak(way):.0f}", f"{cpu:.2f} / {wall:.2f}",
        )  # fmt: skip
    report.row("limit", f"{ran.median(limit_of):.1f}", "1.00", "", "", f"{1 / of_limit(ran):.2f}")
    parts = report.bars[name] = parts_of(ran)
    report.head("where the time goes", "CPU s", "share")
    for part, seconds in parts.items():
        report.row(part, f"{seconds:.1f}", f"{seconds / ran.cpu('cut'):.0%}")


def by_load(bench: Bench, report: Report, repeats: int, names: tuple[str, ...]) -> None:
    """Print the second table: tracks on screen, sizes, codecs."""
    report.head(
        "workload", "most at once", "CPU s", "of the limit", "on one core", "ffmpeg to ours",
        "peak MiB", "allowed MiB",
    )  # fmt: skip
    for name in names:
        workload = WORKLOADS[name]
        ways = ["cut", *LIMIT, *(["ffmpeg"] if has_ffmpeg() else [])]
        ran = bench.rounds(ways, workload, repeats)
        # The limit runs on one core; two that share a cache take more CPU seconds for the same.
        alone = bench.rounds(["cut"], workload, repeats, cores=1).cpu("cut")
        most = workload.most_at_once()
        other = f"{ran.to_ours('ffmpeg')[0]:.2f}" if "ffmpeg" in ways else "no ffmpeg"
        report.row(
            name, str(most), f"{ran.cpu('cut'):.1f}", f"{of_limit(ran):.2f}",
            f"{alone / ran.median(limit_of):.2f}", other, f"{ran.peak('cut'):.0f}",
            f"{(300 + 22 * most) * 1e6 / 2**20:.0f}",
        )  # fmt: skip
        report.bars[name] = parts_of(ran)


def cores_and_memory(bench: Bench, report: Report, repeats: int) -> None:
    """Print the third table: one core against all, and a long video against a short one.

    "quickest" is the quickest run on one core by the quickest on all; "apart" is what the same
    work in a process a core gains, which share only the machine.
    """
    report.head(
        "", "wall on one core", f"on {usable_cores()}", "ratio", "of pairs", "quickest", "apart"
    )
    for label, part, name in (
        ("one long video", "cut", FIRST), ("eight short videos", "cut eight", "one of eight"),
    ):  # fmt: skip
        one, every, apart = [], [], []
        for _ in range(4 * repeats - 1):  # a pair takes seconds, and other machines' load tells
            one.append(bench.rounds([part], WORKLOADS[name], 1, cores=1).wall(part))
            every.append(bench.rounds([part], WORKLOADS[name], 1).wall(part))
            apart.append(usable_cores() * one[-1] / bench.apart(part, WORKLOADS[name]))
        ratios = [before / after for before, after in zip(one, every, strict=True)]
        report.row(
            label, f"{median(one):.1f} s", f"{median(every):.1f} s", f"{median(ratios):.2f}",
            f"{min(ratios):.2f} to {max(ratios):.2f}", f"{min(one) / min(every):.2f}",
            f"{median(apart):.2f}",
        )  # fmt: skip
    report.head("video", "peak MiB")
    for name in ("2 minutes", "10 minutes"):
        report.row(name, f"{bench.rounds(['cut'], WORKLOADS[name], 1).peak('cut'):.0f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a minute, to see that it runs")
    parser.add_argument(
        "--only", choices=WORKLOADS, metavar="NAME", help="one workload against the limit"
    )
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="keeps the videos for the next run")
    parser.add_argument("--write", action="store_true", help="into benchmarks/results/")
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    parser.add_argument("--workload", help=argparse.SUPPRESS)
    parser.add_argument("--cores", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--first-core", type=int, default=0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part:
        if options.cores:
            mine = sorted(os.sched_getaffinity(0))[options.first_core :]
            os.sched_setaffinity(0, mine[: options.cores])
        workload = WORKLOADS.get(options.workload, SCATTERED)
        task = Task(workload, options.folder / f"{workload.name}.mp4", options.folder)
        told = PARTS[options.part](task)
        print(json.dumps({**told, "own_peak": own_peak_bytes()}))
        return
    with tempfile.TemporaryDirectory() as temporary:
        report = Report()
        report.say(versions())
        bench = Bench(options.folder or Path(temporary))
        if options.quick:
            against_others(bench, report, 1, "one of eight")
            return
        if options.only:
            by_load(bench, report, options.repeats, (options.only,))
            return
        against_others(bench, report, options.repeats, FIRST)
        by_load(bench, report, options.repeats, MORE + OTHERS)
        cores_and_memory(bench, report, options.repeats)
    if options.write:
        head = (RESULTS / "cut.head.md").read_text() if (RESULTS / "cut.head.md").exists() else ""
        (RESULTS / "cut.md").write_text(head + "\n".join(report.lines) + "\n")
        draw(report.bars, RESULTS / "cut.svg")


if __name__ == "__main__":
    main()
