"""What the decoder `cuda` saves against `pyav`: decoding, crops, transfers, whole videos.

`python -m benchmarks.cuda [--device auto|cuda:N|cpu] [--tracks 24] [--output FILE]`. Without a card
it says what is missing and measures its code on the CPU; with TRACKVERSE_REQUIRE_CUDA=1 that is a
failure.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import statistics
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import numpy as np

from benchmarks.cut.workload import RATE, Workload
from trackverse_cli.clips import CutSettings
from trackverse_cli.extract import Cutter
from trackverse_cli.layout import Layout
from trackverse_cli.recipe import recipe_id
from trackverse_cli.settings import Settings
from trackverse_cuda import CudaSettings, trackverse_register_decoder
from trackverse_pyav import PyavSettings
from trackverse_pyav import trackverse_register_decoder as pyav_decoder

if TYPE_CHECKING:
    from collections.abc import Callable

    from trackverse_cli.interfaces import DecoderPlugin


@dataclass(frozen=True)
class Contender:
    """A decoder with its settings."""

    name: str
    plugin: DecoderPlugin
    settings: Any

    def open(self, path: Path) -> Any:
        """Return the decoder on a video."""
        return self.plugin.open(path, self.settings)


@dataclass(frozen=True)
class Work:
    """What is measured on.

    Attributes:
        video: 720p H.264.
        made: what it holds.
        at_once: boxes on one frame where crops are measured.
        copies: videos of the whole run.
    """

    video: Path
    made: Workload
    at_once: int
    copies: int

    def boxes(self) -> tuple[Any, list[tuple[int, int]]]:
        """Return the boxes of one frame, and the clip sizes."""
        random = np.random.default_rng(5)
        width, height = self.made.size
        side = random.uniform(0.25, 0.5, self.at_once) * height
        x, y = random.uniform(0, width - side), random.uniform(0, height - side)
        sizes = [(int(s * 0.7) // 2 * 2, int(s * 0.6) // 2 * 2) for s in side]
        return np.stack([x, y, side, side * 0.9], axis=1), sizes


def spent() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def clocked(work: Callable[[], int]) -> tuple[int, float, float]:
    """Return what `work` returned, its wall seconds and its CPU seconds."""
    cpu, wall = spent(), time.perf_counter()
    count = work()
    return count, time.perf_counter() - wall, spent() - cpu


def settle(frame: Any) -> None:
    """Wait until a frame that may be on the card is there."""
    frame.crop(np.array([[0.0, 0, 8, 8]]), [(8, 8)])[0]


def decode(who: Contender, work: Work) -> int:
    """Decode the whole video, and let each frame go."""
    decoder, count, last = who.open(work.video), 0, None
    for frame in decoder.frames([(0.0, 1e6)]):
        count, last = count + 1, frame
    settle(last)
    decoder.close()
    return count


def crop(who: Contender, work: Work) -> tuple[int, float, float]:
    """Crop 60 frames that are decoded before the clock starts, on one thread."""
    decoder = who.open(work.video)
    frames = list(decoder.frames([(1.0, 3.0)]))[:60]
    settle(frames[-1])
    boxes, sizes = work.boxes()

    def crops() -> int:
        for frame in frames:
            list(frame.crop(boxes, sizes))
        return len(frames) * len(sizes)

    crops()
    result = min((clocked(crops) for _ in range(3)), key=lambda r: r[1])
    decoder.close()
    return result


def cut(who: Contender, work: Work, folder: Path) -> int:
    """Cut copies of the video as a rank does, as many at once as there are cores."""
    settings, cores = Settings(), os.cpu_count() or 1
    how = CutSettings(who.plugin, who.settings, settings.encode, 180.0, recipe_id(settings))
    layout = Layout(folder)
    layout.tracks.mkdir(parents=True)
    tracks = work.made.make_tracks()
    with (
        Cutter(layout, how, cores, threading.Event()) as cutter,
        ThreadPoolExecutor(cores) as pool,
    ):
        jobs = []
        for copy in range(work.copies):
            named = [replace(t, clip_name=f"{copy}/{t.clip_name}") for t in tracks]
            jobs.append(pool.submit(cutter.cut, work.video, named, lambda _: True, None))
        return sum(len(job.result().done) for job in jobs)


def transfer(who: Contender, work: Work) -> tuple[float, float] | None:
    """Return bytes and milliseconds of one frame's transfer, or None where there is no card."""
    import torch

    decoder = who.open(work.video)
    frame = next(iter(decoder.frames([(1.0, 1.0)])))
    if decoder.device == "cpu":
        decoder.close()
        return None
    from trackverse_cuda.batches import batch
    from trackverse_cuda.crops import SLACK, picture_of

    picture = picture_of(frame._frame)

    run, _ = batch(picture, np.eye(3), *work.boxes(), SLACK)
    host = torch.empty(run.shape, dtype=run.dtype, pin_memory=True)
    times = []
    for _ in range(20):
        torch.cuda.synchronize()
        begin = time.perf_counter()
        host.copy_(run, non_blocking=True)
        torch.cuda.synchronize()
        times.append((time.perf_counter() - begin) * 1000)
    decoder.close()
    return float(run.numel()), statistics.median(times)


def measure(device: str, work: Work, folder: Path) -> list[str]:
    ours = Contender(
        f"cuda, device {device}",
        trackverse_register_decoder(),
        CudaSettings(device=device, fall_back=False),  # nothing is measured in the card's name
    )
    theirs = Contender("pyav", pyav_decoder(), PyavSettings(threads=1))
    if device == "cpu":
        ours = replace(ours, settings=CudaSettings(device="cpu", threads=1))
    lines = ["| | decoder | wall s | CPU s | a second |", "| --- | --- | --- | --- | --- |"]

    def row(what: str, who: Contender, unit: str, result: tuple[int, float, float]) -> None:
        count, wall, cpu = result
        lines.append(
            f"| {what} | {who.name} | {wall:.2f} | {cpu:.2f} | {count / wall:.1f} {unit} |"
        )

    decoded, whole = {}, {}
    for who in (theirs, ours):
        decode(who, work)  # the card's context and the first kernels are not what is measured
        decoded[who.name] = clocked(partial(decode, who, work))
        row("decode 720p", who, "frames", decoded[who.name])
    for who in (theirs, ours):
        row(f"{work.at_once} crops a frame", who, "crops", crop(who, work))
    for number, who in enumerate((theirs, ours)):
        root = folder / str(number)
        whole[who.name] = clocked(partial(cut, who, work, root))
        row(f"{work.copies} videos, {work.made.tracks} tracks each", who, "clips", whole[who.name])
    rates = [f"{name} {work.copies / wall:.3f}" for name, (_, wall, _) in whole.items()]
    share = decoded[theirs.name][2] * work.copies / whole[theirs.name][2]
    ratio = whole[ours.name][2] / whole[theirs.name][2]
    moved = transfer(ours, work)
    lines += [
        "",
        f"- Videos of {work.made.seconds} s a second: {', '.join(rates)}.",
        f"- Decoding is {share:.0%} of the CPU seconds of `pyav`; "
        f"`cuda` takes {ratio:.2f} of all its CPU seconds.",
    ]
    lines.append(
        "- No transfer: there is no card."
        if moved is None
        else f"- One transfer a frame: {moved[0] / 1e6:.2f} MB in {moved[1]:.2f} ms."
    )
    return lines


def chosen(device: str) -> tuple[str, str | None]:
    """Return the device to measure on, and why it is not a card where one was wanted."""
    from trackverse_cuda.cards import card_for

    card, lacking = card_for(CudaSettings(device=device))
    return ("cpu" if card is None else f"cuda:{card}"), lacking


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--tracks", type=int, default=24)
    parser.add_argument("--at-once", type=int, default=24)
    parser.add_argument("--copies", type=int, default=2 * (os.cpu_count() or 1))
    parser.add_argument("--output", type=Path, help="write the report there, too")
    options = parser.parse_args()
    try:
        import torch
    except ImportError:
        print("torch is not installed; `pip install 'trackverse[torch]'`", file=sys.stderr)
        return 1
    device, lacking = chosen(options.device)
    if device == "cpu" and os.environ.get("TRACKVERSE_REQUIRE_CUDA") == "1":
        why = lacking or "--device cpu was asked for"
        print(f"TRACKVERSE_REQUIRE_CUDA=1, but {why}", file=sys.stderr)
        return 1
    report = [
        f"# The decoder `cuda`, {datetime.now(UTC):%Y-%m-%d}",
        "",
        f"{os.cpu_count()} cores, Python {platform.python_version()}, PyAV {av.__version__}, "
        f"torch {torch.__version__}, "
        + (torch.cuda.get_device_name(device) if device != "cpu" else "no card"),
        f"720p H.264 at {RATE} frames a second. One run; `a second` is by wall time.",
    ]
    if lacking:
        report += ["", f"Missing: {lacking}. Measured with `--device cpu`."]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        made = Workload("cuda", options.seconds, options.tracks)
        made.make_video(folder / "video.mp4")
        work = Work(folder / "video.mp4", made, options.at_once, options.copies)
        report += ["", *measure(device, work, folder)]
    text = "\n".join(report) + "\n"
    print(text)
    if options.output:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
