"""What the ledger costs: reading all of it, one rank's part, compaction, `verify` by presence.

The real writer writes it, in 128 files, with a heavy-tailed number of clips per video: 1 + 6 times
a Pareto variable of shape 1.5, at most 400 (13 on average), a failed video in 50 and a failed track
in 50 beside them. Every part runs in a process of its own on warm files; its seconds are without
the interpreter's start and imports, its peak is with them. Beside them, in the same run:
`json.loads` of the same lines, whose values are let go at once.
`python -m benchmarks.ledger [--clips 200000] [--no-verify]`.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import platform
import random
import resource
import string
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from trackverse_cli.layout import Layout
from trackverse_cli.ledger import Ledger, compact, read_ledger
from trackverse_cli.recipe import recipe_id
from trackverse_cli.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FILES = 128
META = "Benchmark"
LETTERS = string.ascii_letters + string.digits + "-_"


def videos(clips: int) -> Iterator[tuple[str, list[str]]]:
    """Yield (video id, track ids), the same in every process."""
    dice = random.Random(17)
    while clips > 0:
        count = min(clips, 400, 1 + int(6 * (dice.paretovariate(1.5) - 1)))
        clips -= count
        video_id = "".join(dice.choices(LETTERS, k=11))
        yield video_id, [f"{dice.getrandbits(128):032x}" for _ in range(count)]


def clip_name(video_id: str, track_id: str) -> str:
    return f"{META}/{video_id[:2]}/{video_id}-thing-{track_id}.mp4"


def write(layout: Layout, clips: int) -> dict[str, Any]:
    """Write the ledger as 128 ranks would."""
    recipe, dice = recipe_id(Settings()), random.Random(3)
    start, lines = time.monotonic(), 0
    with ExitStack() as stack:
        ranks = [
            stack.enter_context(Ledger(layout, "download-tracks", rank, FILES, META))
            for rank in range(FILES)
        ]
        for number, (video_id, tracks) in enumerate(videos(clips)):
            ledger = ranks[number * FILES // (clips // 13) % FILES]
            ledger.video(
                video_id, "present", bytes=dice.getrandbits(26), width=1280, height=720,
                duration_seconds=dice.random() * 600, codec="h264", format_id="22",
                checksum=f"{dice.getrandbits(128):032x}", source_size=(1920, 1080),
            )  # fmt: skip
            done = [(t, 75, dice.getrandbits(18), f"{dice.getrandbits(128):032x}") for t in tracks]
            ledger.clips(video_id, recipe, done)
            lines += 2
            if number % 50 == 0:
                gone = "".join(dice.choices(LETTERS, k=11))
                ledger.video(gone, "failed", reason="permanent", message="Video unavailable")
                ledger.track(video_id, "late", recipe, "beyond-end", "ends at 9.5 s, not 12.0 s", 5)
                lines += 2
    return {"seconds": time.monotonic() - start, "lines": lines}


def retry(layout: Layout) -> dict[str, Any]:
    """Add nine more runs of every rank, in which the same two in a hundred items fail."""
    start, recipe = time.monotonic(), recipe_id(Settings())
    state = read_ledger(layout)
    gone = [v for v, entry in state.videos.items() if entry.state == "failed"]
    for _ in range(9):
        for rank in range(FILES):
            with Ledger(layout, "download-tracks", rank, FILES, META) as ledger:
                for video_id in gone[rank::FILES]:
                    ledger.video(video_id, "failed", reason="transient", message="timed out")
                    ledger.track(video_id, "late", recipe, "beyond-end", "ends at 9.5 s", 5)
    return {"seconds": time.monotonic() - start}


def read(layout: Layout) -> dict[str, Any]:
    start = time.monotonic()
    state = read_ledger(layout)
    return {"seconds": time.monotonic() - start, "videos": len(state.videos)}


def look_up(layout: Layout, clips: int) -> dict[str, Any]:
    """Read, then ask for every clip, as `verify` does."""
    wanted = list(videos(clips))
    start = time.monotonic()
    state = read_ledger(layout)
    found = sum((video, t) in state.clips for video, tracks in wanted for t in tracks)
    return {"seconds": time.monotonic() - start, "clips": found}


def read_rank(layout: Layout, clips: int) -> dict[str, Any]:
    """Read what one rank of 128 wants: every 128th video."""
    wanted = {video for number, (video, _) in enumerate(videos(clips)) if number % FILES == 5}
    start = time.monotonic()
    state = read_ledger(layout, wanted.__contains__)
    return {"seconds": time.monotonic() - start, "clips": len(state.clips)}


def plain_json(layout: Layout) -> dict[str, Any]:
    start = time.monotonic()
    for path in sorted(layout.ledger.glob("*.jsonl")):
        with path.open("rb") as lines:
            for line in lines:
                json.loads(line)
    return {"seconds": time.monotonic() - start}


def run_compaction(layout: Layout) -> dict[str, Any]:
    long_ago = time.time() - 3600
    for path in layout.ledger.iterdir():
        os.utime(path, (long_ago, long_ago))
    start = time.monotonic()
    done = compact(layout)
    seconds = time.monotonic() - start
    return {
        "seconds": seconds, "files": done.files, "before": done.bytes, "after": done.new_bytes,
    }  # fmt: skip


def make_dataset(layout: Layout, clips: int) -> dict[str, Any]:
    """Write metadata with four boxes a track, an empty-looking file per clip, and the index."""
    from trackverse_cli.fetch import fetch_metadata

    source = layout.root / f"{META}.jsonl.gzip"
    with gzip.open(source, "wt", compresslevel=1) as out:
        for video_id, tracks in videos(clips):
            for number, track_id in enumerate(tracks):
                times = [number + step / 2 for step in range(4)]
                name = clip_name(video_id, track_id)
                line = {
                    "track_id": track_id, "yid": video_id, "track_ts": [times[0], times[-1]],
                    "frame_ts": times, "frame_bboxes": [[100, 80, 200, 200]] * 4,
                    "track_mp4_filename": name, "top10_label_ids": [7],
                    "top10_label_names": ["thing"], "video_size": [720, 1280],
                }  # fmt: skip
                out.write(json.dumps(line) + "\n")
                path = layout.tracks / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(b"clip")
    fetch_metadata(str(source), layout, make_index=True)
    source.unlink()
    return {"seconds": 0.0}


def verify(layout: Layout) -> dict[str, Any]:
    words = [sys.executable, "-m", "trackverse_cli", "--root", str(layout.root), "verify"]
    words += ["--level", "presence", "--json"]
    start = time.monotonic()
    done = subprocess.run(words, stdout=subprocess.PIPE, check=False)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    complete = json.loads(done.stdout)["clips"]["complete"]
    return {"seconds": time.monotonic() - start, "peak": peak, "clips": complete}


def part(name: str, layout: Layout, clips: int) -> dict[str, Any]:
    parts: dict[str, Callable[[], dict[str, Any]]] = {
        "start": lambda: {"seconds": 0.0},
        "write": lambda: write(layout, clips),
        "read": lambda: read(layout),
        "look-up": lambda: look_up(layout, clips),
        "rank": lambda: read_rank(layout, clips),
        "json": lambda: plain_json(layout),
        "retry": lambda: retry(layout),
        "compact": lambda: run_compaction(layout),
        "dataset": lambda: make_dataset(layout, clips),
        "verify": lambda: verify(layout),
    }
    return {"peak": None} | parts[name]()


def peak_mib() -> float:
    """Return this process's peak; the kernel's own mark, which `exec` resets, where it is."""
    try:
        text = Path("/proc/self/status").read_text()
        return int(text.partition("VmHWM:")[2].split()[0]) / 1024
    except (OSError, IndexError):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measured(name: str, folder: str, clips: int) -> dict[str, Any]:
    """Run one part in a process of its own."""
    words = [sys.executable, "-m", "benchmarks.ledger", "--clips", str(clips)]
    words += ["--part", name, "--folder", folder]
    done = subprocess.run(words, stdout=subprocess.PIPE, check=True)
    facts: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return facts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=200_000)
    parser.add_argument("--no-verify", action="store_true")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--part")
    options = parser.parse_args()
    if options.part:
        facts = part(options.part, Layout(options.folder), options.clips)
        print(json.dumps(facts | {"peak": facts["peak"] or peak_mib()}))
        return
    names = ["start", "write", "json", "read", "look-up", "rank"]
    with tempfile.TemporaryDirectory(prefix="trackverse-ledger-") as folder:
        if not options.no_verify:
            measured("dataset", folder, options.clips)
        found = {name: measured(name, folder, options.clips) for name in names}
        if not options.no_verify:
            found["verify"] = measured("verify", folder, options.clips)
        measured("retry", folder, options.clips)
        found["compact"] = measured("compact", folder, options.clips)
        found["read after"] = measured("read", folder, options.clips)
        found["rank after"] = measured("rank", folder, options.clips)
    print_table(found, options.clips)


def print_table(found: dict[str, dict[str, Any]], clips: int) -> None:
    size = found["compact"]
    told = {
        "json": "`json.loads` of every line",
        "read": "read all",
        "look-up": f"read all and ask for every clip ({found['look-up']['clips']:,} found)",
        "rank": f"read one rank's part of {FILES} ({found['rank']['clips']:,} clips)",
        "verify": "`verify --level presence`, with its start",
        "compact": (
            f"compact {size['files']:,} files after nine runs more, "
            f"{size['before'] / 1e6:.1f} MB into {size['after'] / 1e6:.1f} MB"
        ),
        "read after": "read all, compacted",
        "rank after": "read one rank's part, compacted",
    }
    print(
        f"{datetime.now(UTC):%Y-%m-%d}, Python {platform.python_version()}, "
        f"msgspec {msgspec.__version__}, {os.cpu_count()} cores; {clips:,} clips, "
        f"{found['write']['lines']:,} lines in {FILES} files, written in "
        f"{found['write']['seconds']:.1f} s; an idle process has {found['start']['peak']:.0f} MiB\n"
    )
    print("| | seconds | of `json.loads` | peak MiB |\n| --- | --- | --- | --- |")
    for name, text in told.items():
        if name in found:
            one, unit = found[name], found["json"]["seconds"]
            ratio = one["seconds"] / unit
            print(f"| {text} | {one['seconds']:.2f} | {ratio:.2f} | {one['peak']:.0f} |")


if __name__ == "__main__":
    main()
