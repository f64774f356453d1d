"""Independent eyes: what PyAV and FFmpeg's own filters say of a video, without our code."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

import av
import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    from av import VideoFrame
    from numpy.typing import NDArray


def frames_of(path: Path) -> list[VideoFrame]:
    """Decode everything."""
    with av.open(str(path)) as container:
        return list(container.decode(video=0))


def times_of(path: Path) -> list[Fraction]:
    """The time of every frame in seconds, exactly."""
    return [Fraction(f.pts or 0) * Fraction(f.time_base or 1) for f in frames_of(path)]


def frames_in_span(
    path: Path, first: float, last: float, max_seconds: float = 180.0
) -> list[VideoFrame]:
    """The source frames that the contract of a clip asks for."""
    with av.open(str(path)) as container:
        half = 1 / (2 * Fraction(container.streams.video[0].average_rate or 1))
        start, stop = first - half - Fraction(1, 10**6), last + half + Fraction(1, 10**6)
        return [
            frame
            for frame in container.decode(video=0)
            if start <= Fraction(frame.pts or 0) * Fraction(frame.time_base or 1) <= stop
            and Fraction(frame.pts or 0) * Fraction(frame.time_base or 1)
            < first + max_seconds - Fraction(1, 10**6)
        ]


def rgb(frame: VideoFrame) -> NDArray[np.uint8]:
    """The picture as RGB, by swscale."""
    picture: NDArray[np.uint8] = frame.to_ndarray(format="rgb24")
    return picture


def cropped(
    frame: VideoFrame, box: tuple[float, float, float, float], size: tuple[int, int]
) -> NDArray[np.uint8]:
    """One box of a frame as RGB at a size, by FFmpeg's own crop and scale filters.

    The frame is first enlarged four times, so that the box lies on whole pixels within an eighth.
    """
    factor = 4
    x, y, w, h = (round(side * factor) for side in box)
    graph = av.filter.Graph()
    source = graph.add_buffer(
        width=frame.width, height=frame.height, format=frame.format, time_base=Fraction(1, 25)
    )
    steps = [
        source,
        graph.add("format", "gbrp"),
        graph.add("scale", f"{frame.width * factor}:{frame.height * factor}:flags=bilinear"),
        graph.add("crop", f"{w}:{h}:{x}:{y}:exact=1"),
        graph.add("scale", f"{size[0]}:{size[1]}:flags=area"),
        graph.add("format", "rgb24"),
        graph.add("buffersink"),
    ]
    graph.link_nodes(*steps).configure()
    graph.push(frame)
    result = graph.pull()
    assert isinstance(result, av.VideoFrame)
    return rgb(result)


def psnr(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    """Peak signal-to-noise ratio in dB."""
    error = float(np.mean((one.astype(np.float64) - other.astype(np.float64)) ** 2))
    return 99.0 if error == 0 else 10 * np.log10(255**2 / error)
