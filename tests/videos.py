"""Small videos made by the tests, with pictures whose every pixel is known."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

import av
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from numpy.typing import NDArray


def scene(at: float, width: int, height: int) -> NDArray[np.uint8]:
    """An RGB picture at a time: a smooth ground, a disc that moves, and a mark in one corner.

    Coordinates are shares of the frame, so every size shows the same scene.
    """
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    x, y = (x + 0.5) / width, (y + 0.5) / height
    picture = np.empty((height, width, 3), np.float32)
    picture[..., 0] = 90 + 60 * np.sin(9 * x + 4 * y)
    picture[..., 1] = 110 + 60 * np.cos(7 * y - 3 * x)
    picture[..., 2] = 100 + 50 * np.sin(5 * (x + y) + at)
    cx, cy = disc_centre(at)
    disc = ((x - cx) * width / height) ** 2 + (y - cy) ** 2 < 0.12**2
    picture[disc] = (230, 200, 40)
    picture[(x < 0.1) & (y < 0.1)] = (220, 30, 30)
    return picture.clip(0, 255).astype(np.uint8)


def disc_centre(at: float) -> tuple[float, float]:
    """Where the disc is at a time in seconds, as shares of the frame."""
    return 0.5 + 0.25 * np.sin(0.9 * at), 0.5 + 0.2 * np.cos(0.7 * at)


def textured(at: float, width: int, height: int) -> NDArray[np.uint8]:
    """The scene with texture of a few pixels, so that packets are large and a shift shows."""
    y, x = np.mgrid[0:height, 0:width]
    texture = 40 * np.sin(x / 1.9 + at) * np.cos(y / 2.3)
    return (scene(at, width, height) + texture[..., None]).clip(0, 255).astype(np.uint8)


def make_video(
    path: Path,
    *,
    size: tuple[int, int] = (320, 180),
    rate: Fraction | int = 25,
    frames: int = 100,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    times: Iterable[Fraction] | None = None,
    time_base: Fraction | None = None,
    rotation: int = 0,
    pixel_aspect: Fraction | None = None,
    gop: int = 25,
    options: dict[str, str] | None = None,
    container_format: str | None = None,
    muxer_options: dict[str, str] | None = None,
    draw: Callable[[float, int, int], NDArray[np.uint8]] = scene,
) -> Path:
    """Write a video of `frames` pictures, at `rate` or at the given `times` in seconds."""
    width, height = size
    rate = Fraction(rate)
    moments = list(times) if times is not None else [k / rate for k in range(frames)]
    base = time_base or 1 / rate
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", format=container_format, options=muxer_options or {}) as out:
        stream = out.add_stream(codec, rate=rate)
        stream.width, stream.height, stream.pix_fmt = width, height, pix_fmt
        stream.time_base = stream.codec_context.time_base = base
        stream.codec_context.gop_size = gop
        default = {"crf": "12", "preset": "veryfast"} if codec == "libx264" else {}
        stream.codec_context.options = options if options is not None else default
        if pixel_aspect:
            stream.codec_context.sample_aspect_ratio = pixel_aspect
        if rotation:
            stream.set_display_rotation(rotation)
        for moment in moments:
            picture = draw(float(moment), width, height)
            frame = av.VideoFrame.from_ndarray(picture, "rgb24").reformat(format=pix_fmt)
            frame.pts, frame.time_base = round(moment / base), base
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path
