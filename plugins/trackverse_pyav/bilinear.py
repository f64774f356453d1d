"""The library of `bilinear.c`, which samples planes quickly, where it was built and can run."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from trackverse_pyav.sampling import Grid, Plane

    Place = tuple[int, int, int, int]
    """Where a plane of bytes lies: address, bytes from row to row, width, height."""

LIBRARY = Path(__file__).with_name("libbilinear.so")

_INTERFACE = 1
"""What this module knows how to call; an older or a newer library is left alone."""


def load(path: Path = LIBRARY) -> Callable[..., int] | None:
    """Return the library's function, or None if it is not there or cannot run here."""
    try:
        library = ctypes.CDLL(os.fspath(path))
        if library.trackverse_bilinear_interface() != _INTERFACE:
            return None
        function = library.trackverse_bilinear
    except (OSError, AttributeError):  # not built, or built for another kind of machine
        return None
    place = (ctypes.c_void_p, ctypes.c_ssize_t, ctypes.c_int, ctypes.c_int)
    function.argtypes = (*place, *place, *(ctypes.c_double,) * 4)
    return function


_function = load()


def is_there() -> bool:
    """Say whether planes can be sampled so on this machine."""
    return _function is not None


def fill(sources: Sequence[Place], grids: Sequence[Grid], targets: Sequence[Place]) -> bool:
    """Fill each target plane from its source, and say whether that was possible.

    A sample that lies beside the source repeats its border. Every step across has to be above 0
    and at most 1.85. Where the answer is no, targets may be filled in part.
    """
    if _function is None:
        return False
    for source, grid, target in zip(sources, grids, targets, strict=True):
        if _function(*source, *target, *grid):
            return False
    return True


def place_of(plane: Plane) -> Place:
    """Return where an array (H, W) lies, whose rows are without gaps."""
    height, width = plane.shape
    return plane.ctypes.data, plane.strides[0], width, height
