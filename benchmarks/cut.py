"""What cutting costs: CPU seconds and wall for a video of two minutes with 24 tracks.

Beside it, in the same run, the limit: one decode of the video, and one encode of crops that are
ready, with the same settings. `python -m benchmarks.cut [--seconds 120] [--tracks 24]`.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import subprocess
import sys
import tempfile
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import av
import numpy as np

from trackverse_cli import plugins
from trackverse_cli.clips import CutSettings
from trackverse_cli.encode import ClipOrigin, ClipWriter
from trackverse_cli.extract import Cutter
from trackverse_cli.layout import Layout
from trackverse_cli.metadata import Track
from trackverse_cli.recipe import recipe_id
from trackverse_cli.settings import Settings

WIDTH, HEIGHT, RATE = 1280, 720, 30


def make_video(path: Path, seconds: int) -> None:
    """Film a large picture with a moving camera: texture everywhere, as in real footage."""
    random = np.random.default_rng(7)
    coarse = random.integers(0, 255, (135, 240, 3), dtype=np.uint8)
    picture = av.VideoFrame.from_ndarray(coarse, "rgb24").reformat(width=2400, height=1350)
    ground = picture.to_ndarray(format="rgb24")
    ground = (ground * 0.8 + random.integers(0, 50, ground.shape)).astype(np.uint8)
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=RATE)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.codec_context.options = {"preset": "veryfast", "crf": "22"}
        for number in range(seconds * RATE):
            at = number / RATE
            x = int(560 + 540 * np.sin(at / 5))
            y = int(310 + 300 * np.cos(at / 7))
            view = np.ascontiguousarray(ground[y : y + HEIGHT, x : x + WIDTH])
            out.mux(stream.encode(av.VideoFrame.from_ndarray(view, "rgb24")))
        out.mux(stream.encode(None))


def make_tracks(seconds: int, count: int) -> list[Track]:
    """Tracks of 3 to 12 s all over the video, boxes of a quarter to a half of its height."""
    random = np.random.default_rng(11)
    tracks = []
    for number in range(count):
        length = random.uniform(3, 12)
        first = random.uniform(0, seconds - length - 0.5)
        times = np.arange(first, first + length, 1 / 16)
        side = random.uniform(0.25, 0.5) * HEIGHT
        x = (WIDTH - side) * (0.5 + 0.45 * np.sin(times * 0.7 + number))
        y = (HEIGHT - side) * (0.5 + 0.45 * np.cos(times * 0.9))
        boxes = np.stack([x, y, np.full_like(x, side * 1.1), np.full_like(x, side)], axis=1)
        tracks.append(
            Track(
                f"t{number}", "benchmark-1", f"{number}.mp4", times, boxes, (HEIGHT, WIDTH), (), ()
            )
        )
    return tracks


def cut(folder: Path, tracks: list[Track]) -> None:
    """The way of `extract-tracks`."""
    settings = Settings()
    decoder = plugins.choose_decoder("pyav")
    how = CutSettings(decoder, decoder.settings(), settings.encode, 180.0, recipe_id(settings))
    layout = Layout(folder / "root")
    layout.tracks.mkdir(parents=True, exist_ok=True)
    with Cutter(layout, how, os.cpu_count() or 1, threading.Event()) as cutter:
        outcome = cutter.cut(folder / "video.mp4", tracks, lambda _: True, None)
    frames = sum(done.frames for done in outcome.done)
    print(f"clips {len(outcome.done)} frames {frames}")


def decode(folder: Path) -> None:
    """One decode of the whole video, on one thread."""
    with av.open(str(folder / "video.mp4")) as container:
        container.streams.video[0].codec_context.thread_count = 1
        for _ in container.decode(video=0):
            pass


def encode(folder: Path) -> None:
    """One encode of every clip's pictures, decoded before the clock starts."""
    settings = Settings().encode
    decoder = plugins.choose_decoder("pyav")
    spent = 0.0
    for path in sorted((folder / "root" / "tracks_mp4").glob("*.mp4")):
        with av.open(str(path)) as container:
            frames = list(container.decode(video=0))
        opened = decoder.open(path, decoder.settings())
        info, size = opened.info, (frames[0].width, frames[0].height)
        opened.close()
        before = cpu_seconds(resource.RUSAGE_SELF)
        origin = ClipOrigin("t", "benchmark-1", (WIDTH, HEIGHT), "r")
        writer = ClipWriter(folder / "limit.mp4", size, info, origin, settings)
        for frame in frames:
            writer.add(frame, frame.pts or 0, 0)
        writer.finish()
        spent += cpu_seconds(resource.RUSAGE_SELF) - before
    print(f"seconds {spent}")


def cpu_seconds(who: int) -> float:
    """CPU seconds so far, of this process or of its ended children."""
    used = resource.getrusage(who)
    return used.ru_utime + used.ru_stime


def measured(part: str, arguments: list[str]) -> tuple[float, float, float, str]:
    """Run one part in a process of its own: CPU seconds, wall seconds, peak MiB, its output."""
    before, start = cpu_seconds(resource.RUSAGE_CHILDREN), time.monotonic()
    words = [sys.executable, "-m", "benchmarks.cut", *arguments, "--part", part]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    wall = time.monotonic() - start
    cpu = cpu_seconds(resource.RUSAGE_CHILDREN) - before
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    return cpu, wall, peak, done.stdout.strip()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=120)
    parser.add_argument("--tracks", type=int, default=24)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--part", choices=["cut", "decode", "encode", "start"])
    options = parser.parse_args()
    if options.part:
        tracks = make_tracks(options.seconds, options.tracks)
        parts = {
            "cut": lambda: cut(options.folder, tracks),
            "decode": lambda: decode(options.folder),
            "encode": lambda: encode(options.folder),
            "start": lambda: None,
        }
        parts[options.part]()
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_video(folder / "video.mp4", options.seconds)
        shared = ["--seconds", str(options.seconds), "--tracks", str(options.tracks)]
        shared += ["--folder", str(folder)]
        start_cpu, start_wall, _, _ = measured("start", shared)
        cut_cpu, cut_wall, peak, told = measured("cut", shared)
        decode_cpu = measured("decode", shared)[0] - start_cpu
        encode_cpu = float(measured("encode", shared)[3].removeprefix("seconds "))
    cut_cpu, cut_wall = cut_cpu - start_cpu, cut_wall - start_wall
    limit = decode_cpu + encode_cpu
    rows = [
        (f"cut all clips (wall {cut_wall:.1f} s, peak {peak:.0f} MiB)", cut_cpu),
        ("limit: decode once", decode_cpu),
        ("limit: encode ready crops", encode_cpu),
    ]
    print(
        f"{datetime.now(UTC):%Y-%m-%d}, Python {platform.python_version()}, PyAV {av.__version__}"
    )
    print(f"{os.cpu_count()} cores, {options.seconds} s of 720p H.264, {told}")
    print("| | CPU seconds | of the limit |\n| --- | --- | --- |")
    for name, seconds in rows:
        print(f"| {name} | {seconds:.1f} | {seconds / limit:.2f} |")


if __name__ == "__main__":
    main()
