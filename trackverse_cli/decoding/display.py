"""How coded pixels become the picture that a viewer sees, and where their samples lie."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import numpy as np

from trackverse_cli.decoding.rationals import as_fraction

if TYPE_CHECKING:
    from av import VideoFrame
    from numpy.typing import NDArray

    from trackverse_cli.decoding.rationals import Rational

    Matrix = NDArray[np.float64]

LUMA: Final = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
"""3x3 map from a luma sample (column, row, 1) to its position: pixel i covers [i, i + 1)."""

CHROMA: Final = np.array([[2, 0, 0.5], [0, 2, 1], [0, 0, 1]])
"""The same of 4:2:0 chroma: on every second luma sample across, halfway between two rows down."""

LUMA.flags.writeable = CHROMA.flags.writeable = False

_TURNS = MappingProxyType(
    {
        0: ((1, 0, 0), (0, 1, 0)),
        90: ((0, -1, 1), (1, 0, 0)),
        180: ((-1, 0, 1), (0, -1, 1)),
        270: ((0, 1, 0), (-1, 0, 1)),
    }
)
"""By degrees: from the unit square of the displayed picture to that of the coded one."""


@dataclass(frozen=True, slots=True)
class Display:
    """A coded picture and what is done to show it.

    Attributes:
        coded: (width, height) of the coded picture in pixels.
        rotation: degrees counter-clockwise, a multiple of 90.
        pixel_aspect: width / height of one coded pixel.
    """

    coded: tuple[int, int]
    rotation: int
    pixel_aspect: Fraction

    @classmethod
    def of(cls, frame: VideoFrame, pixel_aspect: Rational | None) -> Display:
        """Return how a frame of a stream with that pixel aspect (None or 0: unknown) is shown."""
        aspect = as_fraction(pixel_aspect or 1)
        rotation = round(frame.rotation / 90) * 90 % 360
        return cls((frame.width, frame.height), rotation, aspect if aspect > 0 else Fraction(1))

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the displayed picture in square pixels."""
        width, height = max(1, round(self.coded[0] * self.pixel_aspect)), self.coded[1]
        return (height, width) if self.rotation % 180 else (width, height)

    def to_coded(self) -> Matrix:
        """Return the 3x3 map from displayed to coded positions, both in pixels."""
        width, height = self.size
        turn = np.array([*_TURNS[self.rotation % 360], (0, 0, 1)], dtype=np.float64)
        grow = np.array([*self.coded, 1.0])[:, None]
        matrix: Matrix = grow * turn / np.array([width, height, 1.0])
        return matrix
