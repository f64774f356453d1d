"""Small pictures: a JPEG in memory, and the first, middle and last frame of a clip."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from trackverse_cli.errors import DamagedFileError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

CLIP_SIDE, SOURCE_SIDE = 200, 600
"""The longest side of a clip's and of a source video's picture, in pixels."""

JPEG_QUALITY = 72

LARGEST_PIXELS = 50_000_000
"""A file that says its pictures are larger is not decoded."""

WORDS = ("first", "middle", "last")


@dataclass(frozen=True, slots=True)
class Picture:
    """One JPEG with its (width, height) in pixels."""

    jpeg: bytes
    size: tuple[int, int]


@dataclass(frozen=True, slots=True)
class ClipFrame:
    """One frame of a clip.

    Attributes:
        what: `first`, `middle` or `last`.
        seconds: when it is shown, from the clip's beginning.
        picture: None where it cannot be read.
    """

    what: str
    seconds: float
    picture: Picture | None


@dataclass(frozen=True, slots=True)
class ClipFrames:
    """What was read of one clip.

    Attributes:
        frames: first, middle and last; fewer of a clip that has fewer.
        count: how many frames the clip has, 0 if that cannot be read.
        size: (width, height) of the clip.
        problem: why a picture is lacking, or "".
    """

    frames: tuple[ClipFrame, ...]
    count: int
    size: tuple[int, int]
    problem: str = ""


def clip_frames(url: str, names: tuple[str, str]) -> ClipFrames:
    """Read three frames of a clip; of a damaged one those that can be read.

    Args:
        url: the clip's file, or a stretch of one (`outputs.member_url`).
        names: (video id, track id) that it must show.

    Raises:
        DamagedFileError: not one frame can be read.
    """
    from trackverse_cli.dataset.frames import read_frames

    own = declared_size(url)
    width, height = fitting(own, CLIP_SIDE)
    count = 0

    def places(wanted: tuple[int, ...]) -> Callable[[int], NDArray[np.int64]]:
        def choose(frames: int) -> NDArray[np.int64]:
            nonlocal count
            count = frames
            if not frames:
                raise DamagedFileError("it holds no frame")
            three = (0, frames // 2, frames - 1)
            return np.array([three[place] for place in wanted], dtype=np.int64)

        return choose

    def read(*wanted: int) -> list[ClipFrame]:
        found = read_frames(url, names, places(wanted), (height, width))
        shown = zip(wanted, found.seconds.tolist(), found.pictures, strict=True)
        return [ClipFrame(WORDS[place], at, jpeg(pixels)) for place, at, pixels in shown]

    try:
        frames, problem = read(0, 1, 2), ""
    except DamagedFileError as error:
        frames, problem = [ClipFrame(word, 0.0, None) for word in WORDS], str(error)
        for place in range(len(WORDS)):
            with suppress(DamagedFileError):
                frames[place : place + 1] = read(place)
        if all(frame.picture is None for frame in frames):
            raise
    return ClipFrames(tuple(frames[: max(1, count)]), count, own, problem)


def declared_size(url: str) -> tuple[int, int]:
    """Return the (width, height) that a header says, before anything is decoded by us.

    Raises:
        DamagedFileError: it cannot be opened, or says a size that nothing has.
    """
    import av

    try:
        with av.open(url, options={"protocol_whitelist": "file,subfile"}) as container:
            context = container.streams.video[0].codec_context
            width, height = context.width, context.height
    except (av.error.FFmpegError, OSError, ValueError, IndexError) as error:
        raise DamagedFileError(f"it cannot be opened: {error}") from error
    if width < 1 or height < 1 or width * height > LARGEST_PIXELS:
        raise DamagedFileError(f"its header says {width}x{height} pixels")
    return width, height


def fitting(size: tuple[int, int], side: int) -> tuple[int, int]:
    """Return the even (width, height) of a picture of that shape that is not larger than `side`."""
    factor = min(1.0, side / max(size))
    return max(2, round(size[0] * factor / 2) * 2), max(2, round(size[1] * factor / 2) * 2)


def jpeg(pixels: NDArray[np.uint8]) -> Picture:
    """Return a (height, width, 3) RGB picture as a JPEG."""
    import cv2

    height, width = pixels.shape[:2]
    swapped = np.ascontiguousarray(pixels[..., ::-1])
    _, encoded = cv2.imencode(".jpg", swapped, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    return Picture(encoded.tobytes(), (width, height))
