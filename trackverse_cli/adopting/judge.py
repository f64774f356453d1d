"""Is a clip that another program cut what the contract of a clip asks for? Pure arithmetic.

Good is a clip that decodes to its end and whose

- frames are those from the first box to the last: the contract's, save for one at either end,
  since it takes half a frame beyond the boxes as well and the original scripts do not;
- size is the one that its boxes give, within a pixel's rounding (2 pixels);
- frames stand within half a frame of their times in the video;
- pictures are those inside the boxes: five frames of it against the video's own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from trackverse_cli.errors import ItemError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from trackverse_cli.adopting.media import ClipHeader, ClipSight, Picture

SLACK_FRAMES = 1
"""Frames at either end that may be there or not."""

SLACK_PIXELS = 2
TIE_SECONDS = 1e-3

LIKENESS = 0.983
"""Correlation of cells from which two pictures are the same one.

On real footage the worst frame of a clip that strays came to 0.976 at most (27 tracks).
"""

NOISE_LEVELS = 3.0
"""Levels of luma, root mean square, by which cells of one picture may differ; good clips do by less
in every frame, of 27 tracks in real footage."""

NTSC = 1000 / 1001


class MisfitError(ItemError):
    """A clip that is not what was asked for.

    Args:
        reason: `lacks-tail` or `wrong-crop`.
        message: one sentence with the numbers.
        frames: frames that it has.
        expected: frames that it is to have.
    """

    def __init__(self, reason: str, message: str, frames: int, expected: int) -> None:
        super().__init__(reason, message)
        self.frames = frames
        self.expected = expected


@dataclass(frozen=True, slots=True, eq=False)
class Wanted:
    """What a clip is to be.

    Attributes:
        size: (width, height) in pixels.
        times: (m,) float64 seconds of all frames of the video, ascending.
        begin: the first of them that the contract wants.
        count: how many it wants.
        half_frame: seconds.
    """

    size: tuple[int, int]
    times: NDArray[np.float64]
    begin: int
    count: int
    half_frame: float

    def shifts(self, frames: int) -> list[int]:
        """Return by how many frames a clip of so many may begin later than the contract's."""
        within = range(-SLACK_FRAMES, SLACK_FRAMES + 1)
        return [
            shift
            for shift in within
            if shift + frames - self.count in within
            and 0 <= self.begin + shift <= len(self.times) - frames
        ]


def check_count(frames: int, least: int, most: int, expected: int) -> None:
    """Raise MisfitError for a clip with too few or too many frames."""
    if frames < least - 2 * SLACK_FRAMES:
        told = f"it lacks its tail: {frames} of {expected} frames are there"
        raise MisfitError("lacks-tail", told, frames, expected)
    if frames > most + 2 * SLACK_FRAMES:
        told = f"it has {frames} frames where the track has {expected}"
        raise MisfitError("wrong-crop", told, frames, expected)


def check_size(header: ClipHeader, size: tuple[int, int], expected: int) -> None:
    """Raise MisfitError for a clip of another size than its boxes give."""
    if max(abs(a - b) for a, b in zip(header.size, size, strict=True)) > SLACK_PIXELS:
        told = "{}x{} pixels where its boxes give {}x{} in this video".format(*header.size, *size)
        raise MisfitError("wrong-crop", f"it has {told}", header.frames, expected)


def check_sight(sight: ClipSight, wanted: Wanted, picture: Callable[[int], Picture | None]) -> None:
    """Hold the times and pictures of a clip against the video's.

    Args:
        sight: what was seen of the clip.
        wanted: what it is to be; its count and size fit.
        picture: gives the cells of the wanted box in a frame of the video, by its place in
            `wanted.times`.

    Raises:
        MisfitError: reason `wrong-crop`.
    """
    frames, shifts = len(sight.times), wanted.shifts(len(sight.times))
    if not shifts:
        told = f"{frames} frames do not lie where the track's {wanted.count} do"
        raise MisfitError("wrong-crop", told, frames, wanted.count)
    late = {shift: _lateness(sight, wanted, shift) for shift in shifts}
    in_time = [s for s in shifts if late[s] <= wanted.half_frame + TIE_SECONDS]
    if not in_time:
        told = f"its frames are up to {min(late.values()) * 1000:.0f} ms from their times"
        raise MisfitError("wrong-crop", f"{told} in the video", frames, wanted.count)
    unlike = min((_unlike(sight, wanted, shift, picture) for shift in in_time), key=len)
    if unlike:
        told = f"its frame {unlike[0]} does not show what is inside the track's box"
        raise MisfitError("wrong-crop", told, frames, wanted.count)


def _lateness(sight: ClipSight, wanted: Wanted, shift: int) -> float:
    begin = wanted.begin + shift
    own = wanted.times[begin : begin + len(sight.times)]
    return float(np.abs(sight.times - (own - own[0])).max())


def _unlike(
    sight: ClipSight, wanted: Wanted, shift: int, picture: Callable[[int], Picture | None]
) -> list[int]:
    """Return the frames whose pictures are not those of the video."""
    unlike = []
    for number, seen in sight.pictures.items():
        own = picture(wanted.begin + shift + number)
        if own is None or not alike(seen, own):
            unlike.append(number)
    return unlike


def alike(one: Picture, other: Picture) -> bool:
    """Say whether two pictures, as cells of mean luma, show the same."""
    if one.shape != other.shape:
        return False
    a, b = one - one.mean(), other - other.mean()
    if float(np.sqrt(np.mean((a - b) ** 2))) <= NOISE_LEVELS:
        return True
    scale = float(np.sqrt((a**2).sum() * (b**2).sum()))
    return scale > 0 and float((a * b).sum()) / scale >= LIKENESS


def frames_without_video(seconds: float, rate: float) -> tuple[int, int, int]:
    """Return (least, most, likely) frames of a track where no video tells its rate.

    Args:
        seconds: from its first box to its last.
        rate: the clip's frames a second; a whole number may stand for its 1000/1001st.
    """
    slow, fast = seconds * rate * NTSC, seconds * rate
    return int(slow) + 1, int(np.ceil(fast)) + 1, round(fast) + 1
