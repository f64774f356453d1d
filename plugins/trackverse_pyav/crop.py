"""Boxes out of one decoded frame, plane by plane, at sub-pixel positions.

Positions are continuous: pixel i of a row covers [i, i + 1). One affine map per plane takes a
sample of the clip to its place in the coded picture; it holds the box, the resize, the rotation
that the container asks for, pixels that are not square, and where 4:2:0 puts its chroma samples
(co-sited with every second luma sample across, halfway between two rows down).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, overload

import cv2
import numpy as np
from av import VideoFrame

from trackverse_cli.decoding import CHROMA, LUMA
from trackverse_pyav import bilinear
from trackverse_pyav.sampling import Grid, sample, sample_upright

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from trackverse_pyav.bilinear import Place

    Matrix = NDArray[np.float64]
    Plane = NDArray[np.uint8]
    Axes = tuple[tuple[float, float], tuple[float, float]]

SHRINK_LIMIT = 1.5
"""Beyond this factor bilinear sampling would skip source pixels: sample finer, then average."""

_FROM_LUMA, _FROM_CHROMA = np.linalg.inv(LUMA), np.linalg.inv(CHROMA)


def planes_of(frame: VideoFrame) -> list[Plane]:
    """Return the Y, U and V planes of a yuv420p frame as views without a copy."""
    views = []
    plane: Any  # a buffer, which not every version of PyAV tells
    for plane in frame.planes:
        flat: Plane = np.frombuffer(plane, np.uint8)
        rows = flat.reshape(-1, plane.line_size)
        views.append(rows[: plane.height, : plane.width])
    return views


def places_of(frame: VideoFrame) -> list[Place]:
    """Return where the Y, U and V planes of a yuv420p frame lie; they do while it lives."""
    return [(p.buffer_ptr, p.line_size, p.width, p.height) for p in frame.planes]


class Crops(Sequence[VideoFrame]):
    """The crops of one frame; each is computed when it is taken, by the thread that takes it.

    Args:
        frame: a yuv420p or yuvj420p frame.
        to_coded: `trackverse_cli.decoding.Display.to_coded()`.
        upright: `upright_axes(to_coded)`, the same for all frames of a video.
        boxes: (m, 4) xywh in displayed pixels.
        sizes: m times (width, height), even.
    """

    def __init__(
        self,
        frame: VideoFrame,
        to_coded: Matrix,
        upright: Axes | None,
        boxes: NDArray[np.float64],
        sizes: Sequence[tuple[int, int]],
    ) -> None:
        self._frame = frame
        self._places = places_of(frame)
        self._to_coded = to_coded
        self._upright = upright
        self._boxes = boxes.tolist()
        self._sizes = sizes

    def __len__(self) -> int:
        return len(self._sizes)

    @overload
    def __getitem__(self, place: int) -> VideoFrame: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[VideoFrame]: ...
    def __getitem__(self, place: int | slice) -> VideoFrame | Sequence[VideoFrame]:
        if isinstance(place, slice):
            return [self[i] for i in range(*place.indices(len(self)))]
        x, y, w, h = self._boxes[place]
        width, height = self._sizes[place]
        result = VideoFrame(width, height, "yuv420p")
        to_box = (x, w / width), (y, h / height)
        if self._upright is None or not self._fill_upright(self._upright, to_box, result):
            self._fill(to_box, result)
        return result

    def _fill_upright(self, upright: Axes, to_box: Axes, result: VideoFrame) -> bool:
        """Fill a crop of a picture that is not turned, and say whether it is not shrunk much."""
        (x, factor_x), (y, factor_y) = upright
        (box_x, across), (box_y, down) = to_box
        x, across = x + factor_x * box_x, across * factor_x
        y, down = y + factor_y * box_y, down * factor_y
        if not (across <= SHRINK_LIMIT and down <= SHRINK_LIMIT):
            return False
        # What LUMA and CHROMA say, solved for the index of the first sample.
        first = x + across / 2 - 0.5
        luma = Grid(first, across, y + down / 2 - 0.5, down)
        chroma = Grid(first / 2, across, (y + down - 1) / 2, down)
        if not bilinear.fill(self._places, (luma, chroma, chroma), places_of(result)):
            sources, targets = planes_of(self._frame), planes_of(result)
            sample_upright(sources[:1], luma, targets[:1])
            sample_upright(sources[1:], chroma, targets[1:])
        return True

    def _fill(self, to_box: Axes, result: VideoFrame) -> None:
        (x, across), (y, down) = to_box
        place = self._to_coded @ np.array([[across, 0, x], [0, down, y], [0, 0, 1.0]])
        shrink = (
            _oversampling(math.hypot(place[0, 0], place[1, 0])),
            _oversampling(math.hypot(place[0, 1], place[1, 1])),
        )
        sources = planes_of(self._frame)
        for number, target in enumerate(planes_of(result)):
            siting, unsiting = (CHROMA, _FROM_CHROMA) if number else (LUMA, _FROM_LUMA)
            _warp(sources[number], unsiting @ place @ siting, target, shrink)


def upright_axes(to_coded: Matrix) -> Axes | None:
    """Return (offset, factor) across and down of a map that does not turn, or None."""
    (across, turned, x), (turned_too, down, y), _ = to_coded.tolist()
    upright = turned == turned_too == 0 and across > 0 and down > 0
    return ((x, across), (y, down)) if upright else None


def _oversampling(factor: float) -> int:
    return 1 if factor <= SHRINK_LIMIT else math.ceil(factor)


def _warp(source: Plane, matrix: Matrix, target: Plane, shrink: tuple[int, int]) -> None:
    if shrink == (1, 1):
        sample(source, matrix, target)
        return
    height, width = target.shape
    across, down = shrink
    # Sample k of a k times finer grid lies at (k + 0.5) / n - 0.5 of the coarse one.
    finer = np.array(
        [[1 / across, 0, 0.5 / across - 0.5], [0, 1 / down, 0.5 / down - 0.5], [0, 0, 1]]
    )
    fine = np.empty((height * down, width * across), np.uint8)
    sample(source, matrix @ finer, fine)
    cv2.resize(fine, (width, height), dst=target, interpolation=cv2.INTER_AREA)
