"""Small videos for the services' own tests."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

import av
import numpy as np

if TYPE_CHECKING:
    from pathlib import Path


def write_video(
    path: Path,
    *,
    codec: str = "libx264",
    container: str = "mp4",
    size: tuple[int, int] = (64, 48),
    frames: int = 50,
    rate: Fraction = Fraction(25),
    options: dict[str, str] | None = None,
    pts: list[int] | None = None,
) -> Path:
    """Write noise, which does not compress, so that half of a file is half of its time.

    Args:
        path: the file, of any name.
        codec: the encoder.
        container: FFmpeg's name of the format.
        size: (width, height) in pixels.
        frames: how many.
        rate: frames a second.
        options: of the container, such as movflags.
        pts: one for each frame in units of 1 / rate, for a variable rate.
    """
    noise = np.random.default_rng(7)
    quick = {"libx264": {"preset": "ultrafast"}, "libvpx-vp9": {"deadline": "realtime"}}
    with av.open(str(path), "w", format=container, container_options=options or {}) as output:
        stream = output.add_stream(codec, rate=rate, options=quick.get(codec, {}))
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        for number in range(frames):
            pixels = noise.integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts = pts[number] if pts else number
            frame.time_base = 1 / rate
            output.mux(stream.encode(frame))
        output.mux(stream.encode())
    return path


def times_of(path: Path) -> list[Fraction]:
    """Return the presentation times in seconds of the video packets, in their order."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        return sorted(
            packet.pts * packet.time_base
            for packet in container.demux(stream)
            if packet.pts is not None
        )


def write_fragmented(
    path: Path,
    *,
    seconds: int = 600,
    size: tuple[int, int] = (192, 108),
    rate: Fraction = Fraction(30000, 1001),
    gop_seconds: float = 5.0,
    flags: str = "dash+global_sidx+frag_keyframe",
    options: dict[str, str] | None = None,
) -> Path:
    """Write a fragmented mp4 with an index at its start, as DASH hosts serve them.

    Args:
        path: the file.
        seconds: how long.
        size: (width, height) in pixels.
        rate: frames a second.
        gop_seconds: from one key frame, and so one fragment, to the next.
        flags: the muxer's movflags.
        options: of the encoder, besides quick settings with reordered frames.
    """
    noise = np.random.default_rng(7)
    ground = noise.integers(60, 180, (size[1] // 6, size[0] // 6, 3), dtype=np.uint8)
    picture = av.VideoFrame.from_ndarray(ground, "rgb24").reformat(*size, "rgb24").to_ndarray()
    # Each picture differs from its neighbours; a cycle of them is quick to make.
    rolled = [np.roll(picture, 3 * number, axis=1) for number in range(64)]
    cycle = [
        av.VideoFrame.from_ndarray(each, "rgb24").reformat(format="yuv420p") for each in rolled
    ]
    gop = round(gop_seconds * rate)
    quick = {"preset": "ultrafast", "bf": "2", "sc_threshold": "0", "keyint_min": str(gop)}
    with av.open(
        str(path), "w", format="mp4", container_options={"movflags": flags} if flags else {}
    ) as output:
        stream = output.add_stream("libx264", rate=rate, options=quick | (options or {}))
        stream.width, stream.height, stream.pix_fmt = size[0], size[1], "yuv420p"
        stream.codec_context.gop_size = gop
        for number in range(round(seconds * rate)):
            frame = cycle[number % len(cycle)]
            frame.pts, frame.time_base = number, 1 / rate
            output.mux(stream.encode(frame))
        output.mux(stream.encode())
    return path
