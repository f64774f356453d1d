"""One plane sampled bilinearly on a grid of its own, by the quickest way that is exact enough.

A grid that is not turned is sampled by our own library (`bilinear.py`), where that is there. Else
OpenCV resizes: in less than half of the time of its warp, but on a grid that begins where the plane
does, at a whole pixel. So the resize begins some pixels before the box, at a whole one from which
the grid meets the box's own positions, and the samples before the box are left out. Where no such
pixel is near (a box at the very border, a scale of almost one) the plane is warped.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np

from trackverse_pyav import bilinear

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Matrix = NDArray[np.float64]
    Plane = NDArray[np.uint8]

LARGEST_ERROR = 1 / 16
"""Pixels of the source by which a sample may lie beside its place."""

LARGEST_WASTE = 0.7
"""Samples before the box, as a share of those in it: with more each way a warp costs less."""

_NEVER = 1 << 30


class Grid(NamedTuple):
    """Where the samples of an upright plane lie: indices into the source, by axis.

    Attributes:
        x: of the first sample.
        across: from one sample to the next.
        y: of the first row.
        down: from one row to the next.
    """

    x: float
    across: float
    y: float
    down: float


def sample(source: Plane, matrix: Matrix, target: Plane) -> None:
    """Fill a plane of a clip.

    Args:
        source: (H, W) the plane of the source.
        matrix: (3, 3) from the indices (x, y, 1) of `target` to those of `source`.
        target: (h, w) what to fill; samples outside of the source repeat its border.
    """
    (across, turned, x), (turned_too, down, y), _ = matrix.tolist()
    if not (turned == turned_too == 0 and across > 0 and down > 0):
        _warp(source, matrix[:2], target)
        return
    grid = Grid(x, across, y, down)
    if not bilinear.fill([bilinear.place_of(source)], [grid], [bilinear.place_of(target)]):
        sample_upright([source], grid, [target])


def sample_upright(sources: Sequence[Plane], grid: Grid, targets: Sequence[Plane]) -> None:
    """Fill planes of a clip by OpenCV, all of one size, from a grid that is not turned."""
    height, width = targets[0].shape
    across = _beginning(grid.x, grid.across, width)
    down = _beginning(grid.y, grid.down, height) if across else None
    for source, target in zip(sources, targets, strict=True):
        if not (across and down and _resized(source, grid, across, down, target)):
            matrix = np.array([[grid.across, 0, grid.x], [0, grid.down, grid.y]])
            _warp(source, matrix, target)


def _warp(source: Plane, matrix: Matrix, target: Plane) -> None:
    height, width = target.shape
    cv2.warpAffine(
        source, matrix, (width, height), dst=target,
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REPLICATE,
    )  # fmt: skip


def _resized(
    source: Plane, grid: Grid, across: tuple[int, int], down: tuple[int, int], target: Plane
) -> bool:
    """Fill `target` by a resize that begins so, and say whether the source reaches far enough."""
    height, width = target.shape
    (x, left), (y, above) = across, down
    part = source[
        y : y + math.ceil((above + height) * grid.down) + 2,
        x : x + math.ceil((left + width) * grid.across) + 2,
    ]
    if not part.size:
        return False
    grown = cv2.resize(
        part, None, fx=1 / grid.across, fy=1 / grid.down, interpolation=cv2.INTER_LINEAR
    )
    if grown.shape[0] < above + height or grown.shape[1] < left + width:
        return False
    target[...] = grown[above : above + height, left : left + width]
    return True


def _beginning(first: float, scale: float, length: int) -> tuple[int, int] | None:
    """Return the source index to begin at, and how many samples lie before the wanted ones.

    Args:
        first: the source index of the first wanted sample.
        scale: source indices from one sample to the next.
        length: wanted samples.
    """
    # A resize puts its sample k at the source index (k + 0.5) * scale - 0.5.
    edge = first + 0.5 - scale / 2 + LARGEST_ERROR
    window, before = 2 * LARGEST_ERROR, 0
    drift = scale - 1
    if abs(drift) <= window:
        # The part after the point drifts too slowly to leap over the window: no need to step.
        beside = edge % 1.0
        if beside > window:
            way = beside - window if drift > 0 else 1 - beside
            before = math.ceil(way / abs(drift)) if drift else _NEVER
        edge -= before * scale
    else:
        while edge >= 0 and edge % 1.0 > window:
            edge -= scale
            before += 1
    if edge < 0 or before > length * LARGEST_WASTE:
        return None
    whole = int(edge)
    return (whole, before) if edge - whole <= window else None
