"""Reading clips that nobody vouches for, and the times of a video's frames."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from trackverse_cli.decoding import as_fraction
from trackverse_cli.encode import COMMENT_FORMAT, ClipOrigin
from trackverse_cli.errors import ItemError, StoppedError

if TYPE_CHECKING:
    import threading
    from fractions import Fraction
    from pathlib import Path

    from av import VideoFrame
    from av.container import InputContainer
    from numpy.typing import NDArray

    Picture = NDArray[np.float64]

CONTAINERS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,mpegts,mpeg,flv,avi,asf,ogg"
"""What FFmpeg may take a file for: a playlist could name other files and addresses."""

CELLS = 24
"""Pictures are compared as so many cells across and down, in which a shift by a pixel is little."""

_SMALLEST_BOUND = 1 << 20


@dataclass(frozen=True, slots=True)
class ClipHeader:
    """What a clip's header says.

    Attributes:
        frames: frames in the container's table.
        size: (width, height) in pixels.
        rate: average frames a second.
        bytes: size of the file.
        origin: where it was cut from, if a version of this program cut it.
        newer: the format in which a later version describes it, else "".
    """

    frames: int
    size: tuple[int, int]
    rate: Fraction
    bytes: int
    origin: ClipOrigin | None
    newer: str


@dataclass(frozen=True, slots=True, eq=False)
class ClipSight:
    """What was seen of a clip that decodes to its end.

    Attributes:
        times: (n,) float64 seconds from its first frame.
        pictures: number of a frame -> its cells.
    """

    times: NDArray[np.float64]
    pictures: dict[int, Picture]


def read_header(path: Path) -> ClipHeader:
    """Read a clip's header; raises ItemError `clip-damaged`."""
    try:
        with _opened(path) as container:
            stream = container.streams.video[0]
            comment = str(container.metadata.get("comment", ""))
            return ClipHeader(
                stream.frames,
                (stream.codec_context.width, stream.codec_context.height),
                as_fraction(stream.average_rate or 0),
                path.stat().st_size,
                ClipOrigin.from_comment(comment),
                _newer(comment),
            )
    except (OSError, ValueError, IndexError) as error:  # FFmpeg's errors are some of these
        raise ItemError("clip-damaged", f"it cannot be opened: {_why(error)}") from error


def _newer(comment: str) -> str:
    try:
        said = json.loads(comment)
        format_ = str(said.get("format", "")) if isinstance(said, dict) else ""
    except (ValueError, RecursionError):
        return ""
    family = COMMENT_FORMAT.rpartition("-")[0] + "-"
    return format_[:40] if format_.startswith(family) and format_ != COMMENT_FORMAT else ""


def check_bulk(header: ClipHeader) -> None:
    """Raise ItemError `clip-damaged` for a file that is larger than its raw pictures would be."""
    width, height = header.size
    bound = _SMALLEST_BOUND + 2 * width * height * header.frames
    if header.bytes > bound:
        raise ItemError(
            "clip-damaged",
            f"it has {header.bytes:,} bytes, more than its {header.frames} frames could take",
        )


def look_through(
    path: Path, header: ClipHeader, wanted: frozenset[int], stop: threading.Event
) -> ClipSight:
    """Decode a clip to its end.

    Args:
        path: the clip.
        header: what its header says.
        wanted: the frames whose pictures are kept.
        stop: set by a signal.

    Raises:
        ItemError: reason `clip-damaged`.
        StoppedError: `stop` was set.
    """
    times: list[float] = []
    pictures: dict[int, Picture] = {}
    try:
        with _opened(path) as container:
            for number, frame in enumerate(container.decode(video=0)):
                _go_on(stop)
                at = float((frame.pts or 0) * as_fraction(frame.time_base or 0))
                if frame.is_corrupt or frame.pts is None or (times and at <= times[-1]):
                    raise ItemError("clip-damaged", f"its frame {number} is damaged")
                if number >= header.frames:
                    break
                times.append(at)
                if number in wanted:
                    pictures[number] = cells_of(frame)
    except (OSError, ValueError) as error:
        raise ItemError("clip-damaged", f"it cannot be decoded: {_why(error)}") from error
    if len(times) != header.frames:
        raise ItemError("clip-damaged", f"it decodes to {len(times)} of {header.frames} frames")
    return ClipSight(np.array(times) - times[0], pictures)


def frame_times(path: Path, stop: threading.Event) -> tuple[NDArray[np.int64], Fraction]:
    """Return the pts of every frame of a video, ascending, and their time base; decode nothing.

    Raises:
        ItemError: reason `video-damaged`.
        StoppedError: `stop` was set.
    """
    try:
        with _opened(path) as container:
            stream = container.streams.video[0]
            base = as_fraction(stream.time_base or 1)
            found = []
            for packet in container.demux(stream):
                _go_on(stop)
                if packet.pts is not None and packet.size and not packet.is_discard:
                    found.append(packet.pts)
    except (OSError, ValueError, IndexError) as error:
        raise ItemError("video-damaged", f"it cannot be read: {_why(error)}") from error
    return np.unique(np.array(found, dtype=np.int64)), base


def cells_of(frame: VideoFrame) -> Picture:
    """Return the mean luma of each of at most `CELLS` x `CELLS` cells: (rows, columns) float64."""
    plain: Any = frame if frame.format.name in ("yuv420p", "yuvj420p") else None
    plain = plain or frame.reformat(format="yuv420p", threads=1)
    plane = plain.planes[0]
    rows = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
    luma = rows[: plain.height, : plain.width]
    down, across = _edges(plain.height), _edges(plain.width)
    sums = np.add.reduceat(np.add.reduceat(luma, down, 0, np.float64), across, 1)
    sizes = (np.diff(np.append(e, n)) for e, n in ((down, plain.height), (across, plain.width)))
    cells: Picture = sums / np.outer(*sizes)
    return cells


def _edges(length: int) -> NDArray[np.int64]:
    return np.linspace(0, length, min(CELLS, length), endpoint=False).astype(np.int64)


def _go_on(stop: threading.Event) -> None:
    if stop.is_set():
        raise StoppedError(15)


def _opened(path: Path) -> InputContainer:
    import av

    options = {"protocol_whitelist": "file", "format_whitelist": CONTAINERS}
    return av.open(f"file:{path.absolute()}", options=options)


def spread(frames: int) -> tuple[int, ...]:
    """Return which frames of a clip are compared: the first, the last, and three between."""
    return tuple(sorted({round(k * (frames - 1) / 4) for k in range(5)}))


def _why(error: Exception) -> str:
    """Return what an error says without the path, which has no place in a ledger."""
    return getattr(error, "strerror", None) or str(error)
