"""From a track's boxes to the crop of every frame: smooth, shape, clamp, interpolate.

The numbers are those of the original scripts (a Gaussian over the samples, one aspect ratio for
the whole clip, the box held inside the frame), and defined where theirs were not.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from trackverse_cli.errors import ItemError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

_DENSE = 50_000_000
"""Where a sum over neighbours takes more steps than this for each side of a box, there is FFT."""

SMOOTHING_SECONDS = 0.66
"""The sigma of the Gaussian, in seconds, before it is rounded down to whole samples."""

ASPECT_RANGE = (2 / 3, 3 / 2)
"""The narrowest and the widest clip, as width / height."""

SMALLEST_SIDE = 2
"""The smallest side of a clip in pixels: one chroma sample."""


@dataclass(frozen=True, eq=False)
class CropPlan:
    """Where to cut one track out of its video.

    Attributes:
        clip_size: (width, height) of the clip in pixels, both even.
        times: (k,) float64 seconds, strictly increasing.
        boxes: (k, 4) float64 xywh pixels at those times, inside the frame.
    """

    clip_size: tuple[int, int]
    times: NDArray[np.float64]
    boxes: NDArray[np.float64]

    def boxes_at(self, times: ArrayLike) -> NDArray[np.float64]:
        """Return the box at each time: (m, 4) float64 xywh pixels, inside the frame.

        Between two samples a box is linear in time; outside them the end boxes are held.

        Args:
            times: (m,) seconds.
        """
        at = np.asarray(times, dtype=np.float64)
        if self.times.size == 1:
            return np.broadcast_to(self.boxes[0], (*at.shape, 4)).copy()
        place = self.times.searchsorted(at, side="right") - 1
        place = np.minimum(np.maximum(place, 0), self.times.size - 2)
        begin, end = self.times[place], self.times[place + 1]
        share = np.minimum(np.maximum((at - begin) / (end - begin), 0.0), 1.0)[..., np.newaxis]
        found: NDArray[np.float64] = self.boxes[place] * (1 - share) + self.boxes[place + 1] * share
        return found

    def box_at(self, time: float) -> tuple[float, float, float, float]:
        """Return the box at one time, as `boxes_at` does, without the cost of arrays."""
        times, boxes = self._lists
        if len(times) == 1:
            return boxes[0]
        place = min(max(bisect_right(times, time) - 1, 0), len(times) - 2)
        begin, end = times[place], times[place + 1]
        share = min(max((time - begin) / (end - begin), 0.0), 1.0)
        rest = 1 - share
        (x, y, w, h), (x2, y2, w2, h2) = boxes[place], boxes[place + 1]
        return (
            x * rest + x2 * share,
            y * rest + y2 * share,
            w * rest + w2 * share,
            h * rest + h2 * share,
        )

    @cached_property
    def _lists(self) -> tuple[list[float], list[tuple[float, float, float, float]]]:
        return self.times.tolist(), list(map(tuple, self.boxes.tolist()))

    def scaled(self, x_factor: float, y_factor: float) -> CropPlan:
        """Return the same plan for a video that is so many times as wide and as high."""
        width, height = self.clip_size
        factors = np.array([x_factor, y_factor, x_factor, y_factor])
        size = (_even(width * x_factor), _even(height * y_factor))
        return CropPlan(size, self.times, self.boxes * factors)


def plan_crop(frame_ts: ArrayLike, frame_bboxes: ArrayLike, video_size: ArrayLike) -> CropPlan:
    """Plan the crop of one track.

    Args:
        frame_ts: (n,) seconds, n >= 1, the times of the boxes; sorted here if they are not.
        frame_bboxes: (n, 4) xywh pixels; a box may lie partly outside the frame.
        video_size: (height, width) pixels of the video that the boxes belong to.

    Returns:
        The plan, in the pixels of that video.

    Raises:
        ItemError: reason `invalid-track`: no box, another shape, a number that is not finite, or
            a side that is not positive.
    """
    ts = np.asarray(frame_ts, dtype=np.float64)
    boxes = np.asarray(frame_bboxes, dtype=np.float64)
    height, width = (float(side) for side in np.asarray(video_size, dtype=np.float64))
    _check(ts, boxes, width, height)
    order = np.argsort(ts, kind="stable")
    ts, boxes = ts[order], _smooth(ts[order], boxes[order])
    boxes, ratio = _shape(boxes)
    boxes = _clamp(boxes, ratio, width, height)
    clip_size = (_even(boxes[:, 2].mean()), _even(boxes[:, 3].mean()))
    return CropPlan(clip_size, *_distinct(ts, boxes))


def _check(
    ts: NDArray[np.float64], boxes: NDArray[np.float64], width: float, height: float
) -> None:
    problem = None
    if ts.ndim != 1 or boxes.shape != (ts.size, 4) or ts.size == 0:
        problem = f"{ts.size} times for boxes of shape {boxes.shape}, not (n,) and (n, 4)"
    elif not (np.isfinite(ts).all() and np.isfinite(boxes).all()):
        problem = "a time or a box is not a finite number"
    elif (boxes[:, 2:] <= 0).any():
        problem = "a box has no width or no height"
    elif not (np.isfinite([width, height]).all() and min(width, height) >= SMALLEST_SIDE):
        problem = f"the video size {width:g}x{height:g} is none"
    if problem:
        raise ItemError("invalid-track", f"the track cannot be cut: {problem}")


def _smooth(ts: NDArray[np.float64], boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    from scipy.ndimage import gaussian_filter1d

    step = (ts[-1] - ts[0]) / (ts.size - 1) if ts.size > 1 else 0.0
    sigma = int(SMOOTHING_SECONDS / step) if step > 0 else 0
    # Beyond the number of samples a Gaussian is flat, and its kernel would only cost memory.
    sigma = min(sigma, 4 * ts.size)
    if sigma == 0:
        return boxes
    if sigma * ts.size > _DENSE:
        return _smooth_dense(boxes, sigma)
    smoothed: NDArray[np.float64] = gaussian_filter1d(boxes, sigma, axis=0)
    return smoothed


def _smooth_dense(boxes: NDArray[np.float64], sigma: int) -> NDArray[np.float64]:
    """Return what the Gaussian filter does, to 1e-9 px, in a time that a million boxes bear."""
    count, radius = len(boxes), 4 * sigma
    at = np.arange(-radius, radius + 1)
    weights = np.exp(-0.5 * (at / sigma) ** 2)
    # Ends that are reflected make a wave of twice the length, to which the weights are added up.
    period = np.bincount(at % (2 * count), weights / weights.sum(), 2 * count)
    wave = np.concatenate([boxes, boxes[::-1]])
    answer = np.fft.rfft(wave, axis=0) * np.fft.rfft(period)[:, None]
    return np.fft.irfft(answer, 2 * count, axis=0)[:count]


def _shape(boxes: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """Grow every box about its centre to one aspect ratio; return boxes and ratio."""
    x, y, w, h = boxes.T
    ratio = float(np.clip(np.mean(w / h), *ASPECT_RANGE))
    wide = w / h > ratio
    new_w, new_h = np.where(wide, w, h * ratio), np.where(wide, w / ratio, h)
    return _about_centre(x, y, w, h, new_w, new_h), ratio


def _clamp(
    boxes: NDArray[np.float64], ratio: float, width: float, height: float
) -> NDArray[np.float64]:
    """Shrink boxes that are larger than the frame, and move all of them into it."""
    for limit, side in ((height, 3), (width, 2)):
        x, y, w, h = boxes.T
        large = boxes[:, side] > limit
        fitted = (limit * ratio, limit) if side == 3 else (limit, limit / ratio)
        new_w, new_h = np.where(large, fitted[0], w), np.where(large, fitted[1], h)
        boxes = _about_centre(x, y, w, h, new_w, new_h)
    x, y, w, h = boxes.T
    inside = (np.clip(x, 0, np.maximum(width - w, 0)), np.clip(y, 0, np.maximum(height - h, 0)))
    return np.stack([*inside, w, h], axis=-1)


def _about_centre(
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    w: NDArray[np.float64],
    h: NDArray[np.float64],
    new_w: NDArray[np.float64],
    new_h: NDArray[np.float64],
) -> NDArray[np.float64]:
    return np.stack([x + (w - new_w) / 2, y + (h - new_h) / 2, new_w, new_h], axis=-1)


def _even(side: float) -> int:
    return max(SMALLEST_SIDE, int(side) // 2 * 2)


def _distinct(
    ts: NDArray[np.float64], boxes: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Join samples of one and the same time into their mean, so that time only grows."""
    times, place, count = np.unique(ts, return_inverse=True, return_counts=True)
    if times.size == ts.size:
        return ts, boxes
    joined = np.zeros((times.size, 4))
    np.add.at(joined, place, boxes)
    return times, joined / count[:, None]
