"""A video file opened by PyAV, and what its header says."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

import av

from trackverse_cli.decoding.rationals import as_fraction
from trackverse_cli.errors import DamagedFileError
from trackverse_cli.interfaces import Colour, VideoInfo

if TYPE_CHECKING:
    from pathlib import Path

    from av.codec.hwaccel import HWAccel
    from av.container import InputContainer
    from av.video.stream import VideoStream


MOST_PIXELS = 1 << 26
"""A picture with more is not decoded; a download with such pictures is refused as well."""


def unreadable(path: Path, why: str) -> DamagedFileError:
    """Return the error that says why a video cannot be read."""
    return DamagedFileError(f"cannot read the video {path}: {why}")


def opened(path: Path, hwaccel: HWAccel | None) -> InputContainer:
    """Open a file that holds a video.

    Raises:
        DamagedFileError: it holds none, or cannot be read.
    """
    # A file may name other files or addresses (playlists do); only this one is read.
    options = {"protocol_whitelist": "file"}
    try:
        container = av.open(str(path.absolute()), options=options, hwaccel=hwaccel)
    except (av.error.FFmpegError, OSError, ValueError, RuntimeError) as error:
        raise unreadable(path, str(error)) from error
    if not container.streams.video:
        container.close()
        raise unreadable(path, "it has no video stream")
    container.streams.video[0].codec_context.options = {"max_pixels": str(MOST_PIXELS)}
    return container


def is_full_range(stream: VideoStream) -> bool:
    """Say whether the pictures' values go from 0 to 255."""
    context = stream.codec_context
    return (context.pix_fmt or "").startswith("yuvj") or context.color_range == 2


def describe(container: InputContainer, base: Fraction, size: tuple[int, int]) -> VideoInfo:
    """Return what the first video stream of a container is.

    Args:
        container: of which a frame has been decoded.
        base: the stream's time base.
        size: (width, height) as displayed.
    """
    stream = container.streams.video[0]
    context = stream.codec_context
    duration = None
    if stream.duration:
        duration = float((stream.duration + (stream.start_time or 0)) * base)
    elif container.duration:
        duration = container.duration / av.time_base
    colour = Colour(
        context.color_primaries, context.color_trc, context.colorspace, context.color_range
    )
    if context.format is not None and context.format.is_rgb:
        colour = Colour(matrix=1, range=1)
    elif is_full_range(stream):
        colour = Colour(colour.primaries, colour.transfer, colour.matrix, 2)
    rate = stream.average_rate or stream.guessed_rate or stream.base_rate or Fraction(25)
    codec = context.codec.canonical_name
    return VideoInfo(*size, as_fraction(rate), base, duration, codec, colour)
