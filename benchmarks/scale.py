"""What size costs: the index, the start of a rank and the balance of shards at 10 K to 1 M tracks.

`python -m benchmarks.scale [--sizes 10000,100000,1000000] [--repeats 3] [--folder DIR]`

The metadata is made here, in the current dialect, from a fixed seed:

- tracks of a video: `1 + floor(4 * Pareto(1.2))`, at most 3,000: most videos have a few, some
  hundreds;
- boxes of a track: `16 + floor(Exponential(34))`, at most 1,500; about 50 on average, so that a
  million tracks stay a few GB of JSON. A line of the released file is twice as long (20 GB for
  3.78 M tracks); one row has lines of that length, by `16 + floor(Exponential(94))`;
- times: 16 a second on one grid a video, 4 decimals; boxes: a random walk, 2 decimals, or in the
  row that says so all that a float64 has; ten labels of 1,203;
- gzip level 6.

Every measured part runs in a process of its own, the two that are compared turn by turn, and the
table gives medians. Memory is the largest sum of the resident pages of all processes of a part,
looked at 20 times a second; pages that they share count twice.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import platform
import resource
import shutil
import statistics
import string
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from benchmarks.cut.measure import own_peak_bytes, resident
from trackverse_cli.layout import Layout
from trackverse_cli.machine import usable_cores

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SEED = 7
TAIL, SCALE, MOST_TRACKS = 1.2, 4, 3000
LEAST_BOXES, MOST_BOXES = 16, 1500
CLASSES, PER_JOB = 1203, 4000
RANK, WORLD_SIZE = 3, 128
CHARACTERS = np.frombuffer((string.ascii_letters + string.digits + "_-").encode(), np.uint8)
GENERATOR = (
    f"seed {SEED}; tracks a video 1 + floor({SCALE} Pareto({TAIL})), at most {MOST_TRACKS}; "
    f"boxes a track {LEAST_BOXES} + floor(Exponential(34 or 94)), at most {MOST_BOXES}"
)


@dataclass(frozen=True, slots=True)
class Kind:
    """What the lines of a file are like: their name, more boxes on average, decimals of a box."""

    name: str
    more_boxes: int
    digits: int | None


SHORT = Kind("", 34, 2)
OTHERS = (Kind(", full precision", 34, None), Kind(", lines of released length", 94, 2))


@dataclass(frozen=True, slots=True)
class Usage:
    """What one part took: wall and CPU seconds, MiB of all its processes, and what it printed."""

    wall: float
    cpu: float
    peak: float
    told: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Case:
    """A metadata file that was made, with what was measured on it."""

    tracks: int
    kind: Kind
    folder: Path
    json_bytes: int
    parses: list[Usage]
    builds: list[Usage]


def make_metadata(path: Path, tracks: int, kind: Kind) -> int:
    """Write a metadata file; return how many bytes of JSON it holds."""
    random = np.random.default_rng([SEED, 0])
    jobs: list[tuple[int, Kind, list[int]]] = []
    counts: list[int] = []
    left = tracks
    while left:
        counts.append(min(1 + int(SCALE * random.pareto(TAIL)), MOST_TRACKS, left))
        left -= counts[-1]
        if sum(counts) >= PER_JOB or not left:
            jobs.append((len(jobs) + 1, kind, counts))
            counts = []
    size = 0
    with ProcessPoolExecutor(usable_cores()) as pool, path.open("wb") as file:
        for member, length in pool.map(_member, jobs):
            file.write(member)
            size += length
    return size


def _member(job: tuple[int, Kind, list[int]]) -> tuple[bytes, int]:
    number, kind, counts = job
    random = np.random.default_rng([SEED, number])
    text = b"".join(line for count in counts for line in _video(random, count, kind))
    return gzip.compress(text, 6, mtime=0), len(text)


def _video(random: np.random.Generator, count: int, kind: Kind) -> Iterator[bytes]:
    video_id = CHARACTERS[random.integers(0, 64, 11)].tobytes().decode()
    phase, steps = random.uniform(0, 1 / 16), int(16 * random.lognormal(5.5, 0.8)) + 1
    more = random.exponential(kind.more_boxes, count).astype(int)
    for track, boxes in enumerate(np.minimum(LEAST_BOXES + more, MOST_BOXES).tolist()):
        times = np.round(phase + (random.integers(steps) + np.arange(boxes)) / 16, 4).tolist()
        walk = np.cumsum(random.normal(0, 1, (boxes, 4)) * [2, 1.5, 1, 1], axis=0)
        corner = random.uniform([0, 0, 150, 150], [600, 300, 500, 400])
        values = np.maximum(walk + corner, [-50, -50, 20, 20])
        labels = random.integers(0, CLASSES, 10).tolist()
        name = f"{video_id}-{track:05d}"
        line = {
            "yid": video_id,
            "track_id": name,
            "track_mp4_filename": f"{video_id[:2]}/{name}.mp4",
            "track_ts": [times[0], times[-1]],
            "frame_ts": times,
            "frame_bboxes": (
                values if kind.digits is None else np.round(values, kind.digits)
            ).tolist(),
            "top10_label_ids": labels,
            "top10_label_names": [f"class_{label}" for label in labels],
        }
        # The spaces that json.dumps sets, at a tenth of its time; no text here has , or :
        text = msgspec.json.encode(line).replace(b",", b", ").replace(b":", b": ")
        yield text + b"\n"


def part_parse(folder: Path) -> dict[str, Any]:
    """One pass of the original's kind: gunzip, parse every line, take its fields."""
    begin, lines = time.perf_counter(), 0
    wanted = ("yid", "track_id", "track_mp4_filename", "frame_ts", "frame_bboxes")
    with gzip.open(folder / "meta.jsonl.gzip", "rt") as file:
        for line in file:
            fields = json.loads(line)
            _ = [fields[name] for name in (*wanted, "top10_label_ids", "top10_label_names")]
            lines += 1
    return {"seconds": time.perf_counter() - begin, "lines": lines}


def part_index(folder: Path) -> dict[str, Any]:
    """What `fetch-meta` does with a file that is there, its libraries loaded."""
    part_imports(folder)
    from trackverse_cli.index.build import build_index

    begin = time.perf_counter()
    index = build_index(folder / "meta.jsonl.gzip", Layout(folder), "meta")
    size = sum(path.stat().st_size for path in index.path.iterdir())
    return {"seconds": time.perf_counter() - begin, "bytes": size, "videos": index.manifest.videos}


def part_imports(_: Path) -> dict[str, Any]:
    """The bare interpreter with what a rank's start imports."""
    import pyarrow.parquet  # noqa: F401

    import trackverse_cli.index
    import trackverse_cli.shards  # noqa: F401

    return {}


def part_start(folder: Path) -> dict[str, Any]:
    """From nothing to the first video of a rank."""
    part_imports(folder)
    from trackverse_cli.index import open_index
    from trackverse_cli.shards import shard_rows

    index = open_index(Layout(folder), "meta")
    rows = shard_rows(index.costs, RANK, WORLD_SIZE)
    video = next(index.videos(rows))
    return {"videos": len(rows), "tracks": len(video.tracks)}


def part_balance(folder: Path) -> dict[str, Any]:
    """The costliest rank against the mean, and against the larger of 1.03 means and one video."""
    from trackverse_cli.index import open_index
    from trackverse_cli.shards import assign

    costs = open_index(Layout(folder), "meta").costs
    told = {}
    for world_size in (128, 1024):
        loads = np.bincount(assign(costs, world_size), costs, world_size)
        mean, worst, top = loads.mean(), loads.max(), costs.max()
        told[str(world_size)] = [worst / mean, worst / max(1.03 * mean, top), top / mean]
    return told


PARTS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "parse": part_parse,
    "index": part_index,
    "imports": part_imports,
    "start": part_start,
    "balance": part_balance,
}


def measured(part: str, folder: Path) -> Usage:
    """Run one part in a process of its own."""
    before, begin = _cpu_of_children(), time.perf_counter()
    words = [sys.executable, "-m", "benchmarks.scale", "--part", part, "--folder", str(folder)]
    peak = 0
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        while process.poll() is None:
            peak = max(peak, resident(process.pid))
            time.sleep(0.05)
        wall = time.perf_counter() - begin
        told = process.stdout.read() if process.stdout else ""
    if process.returncode:
        raise SystemExit(f"the part {part} failed with {process.returncode}")
    found = json.loads(told)
    peak_bytes = max(peak, found.pop("own_peak"))
    return Usage(wall, _cpu_of_children() - before, peak_bytes / 2**20, found)


def _cpu_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def median(usages: list[Usage]) -> float:
    return float(statistics.median(usage.told["seconds"] for usage in usages))


def measure_case(folder: Path, tracks: int, kind: Kind, repeats: int) -> Case:
    """Make a file unless it is there, then parse and index it turn by turn."""
    made = folder / "json-bytes"
    if not made.exists():
        folder.mkdir(parents=True, exist_ok=True)
        made.write_text(str(make_metadata(folder / "meta.jsonl.gzip", tracks, kind)))
    json_bytes = int(made.read_text())
    parses, builds = [], []
    for _ in range(repeats):
        parses.append(measured("parse", folder))
        builds.append(measured("index", folder))
    return Case(tracks, kind, folder, json_bytes, parses, builds)


def index_section(cases: list[Case]) -> None:
    print("\n| tracks | JSON | gunzip and json | index | ratio | a track | peak | size of gzip |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for case in cases:
        parse, build = median(case.parses), median(case.builds)
        zipped = (case.folder / "meta.jsonl.gzip").stat().st_size
        cpu = [statistics.median(u.cpu for u in part) for part in (case.parses, case.builds)]
        print(
            f"| {case.tracks:,}{case.kind.name} | {case.json_bytes / 1e9:.2f} GB "
            f"| {parse:.1f} s ({cpu[0]:.1f} CPU) | {build:.1f} s ({cpu[1]:.1f} CPU) "
            f"| **{parse / build:.1f} x** | {build / case.tracks * 1e6:.0f} µs "
            f"| {max(u.peak for u in case.builds):.0f} MiB "
            f"| {case.builds[0].told['bytes'] / zipped:.2f} of {zipped / 1e6:.0f} MB |"
        )


def start_section(cases: list[Case]) -> None:
    print(f"\n| tracks | rank {RANK} of {WORLD_SIZE}, to its first video | peak |")
    print("| --- | --- | --- |")
    for case in cases:
        bare, start = [], []
        for _ in range(5):
            bare.append(measured("imports", case.folder))
            start.append(measured("start", case.folder))
        beyond = statistics.median(u.wall for u in start) - statistics.median(u.wall for u in bare)
        peak = max(usage.peak for usage in start)
        print(f"| {case.tracks:,} | {beyond:.2f} s beyond the imports | {peak:.0f} MiB |")


def balance_section(cases: list[Case]) -> None:
    print("\n| tracks | ranks | worst of mean | of what is allowed | costliest video of mean |")
    print("| --- | --- | --- | --- | --- |")
    for case in cases:
        for world_size, (of_mean, of_limit, top) in measured("balance", case.folder).told.items():
            print(
                f"| {case.tracks:,} | {world_size} | {of_mean:.3f} | {of_limit:.3f} | {top:.3f} |"
            )


def ledger_and_verify(clips: int = 200_000) -> None:
    """Print the section on ledger read-back and `verify --level presence`."""
    sys.stdout.flush()
    words = [sys.executable, "-m", "benchmarks.ledger", "--clips", str(clips)]
    subprocess.run(words, check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sizes", default="10000,100000,1000000")
    parser.add_argument("--repeats", type=int, default=3, help="of each size up to 100,000")
    parser.add_argument(
        "--folder", type=Path, help="keeps the files for the next run; else temporary"
    )
    parser.add_argument("--part", choices=PARTS)
    options = parser.parse_args()
    if options.part:
        told = PARTS[options.part](options.folder)
        print(json.dumps({**told, "own_peak": own_peak_bytes()}))
        return
    sizes = [int(size) for size in options.sizes.split(",")]
    plan = [(size, SHORT) for size in sizes]
    plan += [(min(max(sizes), 100_000), kind) for kind in OTHERS]
    top = options.folder or Path(tempfile.mkdtemp(prefix="scale-"))
    try:
        cases = []
        for size, kind in plan:
            repeats = options.repeats if size <= 100_000 else 1
            folder = top / f"{size}-{kind.more_boxes}-{kind.digits}"
            cases.append(measure_case(folder, size, kind, repeats))
        versions = ", ".join(f"{name} {version(name)}" for name in ("numpy", "pyarrow"))
        print(f"{datetime.now(UTC):%Y-%m-%d}, Python {platform.python_version()}, {versions}")
        print(f"{usable_cores()} cores, load {os.getloadavg()[0]:.1f}; {GENERATOR}")
        index_section(cases)
        start_section(cases[: len(sizes)])
        balance_section(cases[: len(sizes)])
        ledger_and_verify()
    finally:
        if not options.folder:
            shutil.rmtree(top, ignore_errors=True)


if __name__ == "__main__":
    main()
