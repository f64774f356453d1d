"""What fetching only the needed stretches saves: requests, bytes and time beside the whole file.

A video of ten minutes, fragmented as DASH hosts serve it, on a server of this machine;
`python -m benchmarks.ranges [--seconds 600] [--tracks 3] [--height 360] [--mbit 0]`.
With `--mbit` the server sends no faster than that.
"""

from __future__ import annotations

import argparse
import platform
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from tests.services.media import write_fragmented
from tests.services.web import HostileServer
from trackverse_cli.download import DownloadedVideo, Downloader
from trackverse_cli.layout import Layout
from trackverse_cli.ranges import covers
from trackverse_cli.settings import DownloadSettings

VIDEO = "benchmark-1"
TRACK_SECONDS = 3.0
CHUNK_BYTES = 64 << 10


@dataclass(frozen=True)
class Result:
    """One download."""

    name: str
    requests: int
    seconds: float
    video: DownloadedVideo


def spans_of(seconds: int, count: int) -> tuple[tuple[float, float], ...]:
    """Tracks of three seconds, evenly over the video."""
    starts = [seconds * (number + 0.5) / count + 0.7 for number in range(count)]
    return tuple((start, start + TRACK_SECONDS) for start in starts)


def fetch(
    server: HostileServer, root: Path, name: str, spans: tuple[tuple[float, float], ...]
) -> Result:
    """Bring the video once, in a session that has been made before."""
    settings = DownloadSettings(url_template=server.url_template)
    with Downloader(settings, Layout(root), ranges="always") as downloader:
        downloader.fetch("warm-up-vid")
        before = server.count(f"{VIDEO}.mp4")
        start = time.perf_counter()
        video = downloader.fetch(VIDEO, 0.0, spans)
        seconds = time.perf_counter() - start
    return Result(name, server.count(f"{VIDEO}.mp4") - before, seconds, video)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("--tracks", type=int, default=3)
    parser.add_argument("--height", type=int, default=360)
    parser.add_argument("--mbit", type=float, default=0.0)
    args = parser.parse_args()
    spans = spans_of(args.seconds, args.tracks)
    size = (args.height * 16 // 9 // 2 * 2, args.height)
    with tempfile.TemporaryDirectory() as folder, HostileServer() as server:
        source = write_fragmented(Path(folder) / "video.mp4", seconds=args.seconds, size=size)
        warm = write_fragmented(Path(folder) / "warm.mp4", seconds=5, size=(64, 48))
        server.serve("warm-up-vid.mp4", warm)
        pause = CHUNK_BYTES * 8 / (args.mbit * 1e6) if args.mbit else 0.0
        server.serve(
            f"{VIDEO}.mp4", source, "drip" if pause else "good",
            chunk_bytes=CHUNK_BYTES, pause_seconds=pause,
        )  # fmt: skip
        whole = fetch(server, Path(folder) / "whole", "whole file", ())
        ranges = fetch(server, Path(folder) / "ranges", "stretches", spans)
        assert covers(ranges.video.ranges, spans, ranges.video.duration_seconds)
        total = source.stat().st_size
    speed = f"at {args.mbit:g} Mbit/s" if args.mbit else "unthrottled"
    print(
        f"{datetime.now(UTC):%Y-%m-%d}, Python {platform.python_version()}, yt-dlp "
        f"{version('yt-dlp')}, PyAV {version('av')}; {args.seconds} s of {size[0]}x{size[1]} "
        f"({total:,} bytes), {args.tracks} tracks of {TRACK_SECONDS:g} s, {speed}\n"
    )
    print("| | requests | bytes | share | seconds |")
    print("| --- | --- | --- | --- | --- |")
    for each in (whole, ranges):
        came = each.video.fetched_bytes
        print(
            f"| {each.name} | {each.requests} | {came:,} | {came / total:.1%} "
            f"| {each.seconds:.2f} |"
        )


if __name__ == "__main__":
    main()
