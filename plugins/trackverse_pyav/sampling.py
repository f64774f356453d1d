"""One plane sampled bilinearly on a grid of its own, by the quickest way that is exact enough.

OpenCV resizes a plane in less than half of the time of a warp, but its grid begins where the plane
does: at a whole pixel. So the resize begins some pixels before the box, at a whole one from which
the grid meets the box's own positions, and the samples before the box are left out. Where no such
pixel is near (a box at the very border, a scale of almost one) the plane is warped.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import cv2

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Matrix = NDArray[np.float64]
    Plane = NDArray[np.uint8]

LARGEST_ERROR = 1 / 16
"""Pixels of the source by which a sample may lie beside its place."""

LARGEST_WASTE = 0.3
"""Samples before the box, as a share of those in it: more would cost as much as a warp."""


def sample(source: Plane, matrix: Matrix, target: Plane) -> None:
    """Fill a plane of a clip.

    Args:
        source: (H, W) the plane of the source.
        matrix: (3, 3) from the indices (x, y, 1) of `target` to those of `source`.
        target: (h, w) what to fill; samples outside of the source repeat its border.
    """
    upright = matrix[0, 1] == matrix[1, 0] == 0 and matrix[0, 0] > 0 and matrix[1, 1] > 0
    if not (upright and _resized(source, matrix, target)):
        height, width = target.shape
        cv2.warpAffine(
            source, matrix[:2], (width, height), dst=target,
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REPLICATE,
        )  # fmt: skip


def _resized(source: Plane, matrix: Matrix, target: Plane) -> bool:
    """Fill `target` by a resize if one meets its positions, and say whether it did."""
    height, width = target.shape
    x_scale, y_scale = float(matrix[0, 0]), float(matrix[1, 1])
    across = _beginning(float(matrix[0, 2]), x_scale, width)
    down = _beginning(float(matrix[1, 2]), y_scale, height) if across else None
    if across is None or down is None:
        return False
    (x, left), (y, above) = across, down
    part = source[
        y : y + math.ceil((above + height) * y_scale) + 2,
        x : x + math.ceil((left + width) * x_scale) + 2,
    ]
    if not part.size:
        return False
    grown = cv2.resize(part, None, fx=1 / x_scale, fy=1 / y_scale, interpolation=cv2.INTER_LINEAR)
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
    edge = first + 0.5 - scale / 2
    for before in range(int(length * LARGEST_WASTE) + 1):
        whole = round(edge)
        if whole < 0:
            return None
        if abs(edge - whole) <= LARGEST_ERROR:
            return whole, before
        edge -= scale
    return None
