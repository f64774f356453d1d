"""How coded pixels become the picture that a viewer sees: rotation, pixels that are no squares."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from av import VideoFrame
    from numpy.typing import NDArray

_TURNS = {
    0: ((1, 0, 0), (0, 1, 0)),
    90: ((0, -1, 1), (1, 0, 0)),
    180: ((-1, 0, 1), (0, -1, 1)),
    270: ((0, 1, 0), (-1, 0, 1)),
}
"""By degrees: from the unit square of the displayed picture to that of the coded one."""


@dataclass(frozen=True, slots=True)
class Display:
    """A coded picture and what is done to show it.

    Attributes:
        width: of the coded picture, in pixels.
        height: likewise.
        rotation: degrees counter-clockwise: 0, 90, 180 or 270.
        pixel_aspect: width / height of one coded pixel.
    """

    width: int
    height: int
    rotation: int
    pixel_aspect: Fraction

    @classmethod
    def of(cls, frame: VideoFrame, pixel_aspect: Fraction | None) -> Display:
        """Return how a frame of a stream with that pixel aspect (None or 0: unknown) is shown."""
        aspect = Fraction(pixel_aspect) if pixel_aspect else Fraction(1)
        rotation = round(frame.rotation / 90) * 90 % 360
        return cls(frame.width, frame.height, rotation, aspect if aspect > 0 else Fraction(1))

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the displayed picture, in square pixels."""
        width = max(1, round(self.width * self.pixel_aspect))
        return (self.height, width) if self.rotation % 180 else (width, self.height)

    def to_coded(self) -> NDArray[np.float64]:
        """Return the 3x3 map from displayed to coded positions, both in pixels."""
        width, height = self.size
        turn = np.array([*_TURNS[self.rotation], (0, 0, 1)], dtype=np.float64)
        across = np.array([self.width, self.height, 1.0])[:, None]
        matrix: NDArray[np.float64] = across * turn / np.array([width, height, 1.0])
        return matrix
