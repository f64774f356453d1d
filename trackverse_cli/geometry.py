"""Which video size the boxes belong to, and what that means for the file on disk.

Boxes were made on the version of a video that fits 1280x720 (720x1280 upright), or on the video
itself where it is smaller. A file of another size but the same shape is cut with scaled boxes; one
of another shape is not cut at all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trackverse_cli.boxes import CropPlan, plan_crop
from trackverse_cli.errors import ItemError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from trackverse_cli.metadata import Track

Size = tuple[int, int]
"""(width, height) in pixels, as displayed."""

LONG_SIDE, SHORT_SIDE = 1280, 720
ASPECT_TOLERANCE = 0.01
OVERHANG = 0.1
"""How far, as a share of the frame, a tracker may let a box reach over its edge."""


def annotated_size(source: Size) -> Size:
    """Return the size on which boxes were made for a video whose largest version is `source`."""
    width, height = source
    long, short = (LONG_SIDE, SHORT_SIDE) if width >= height else (SHORT_SIDE, LONG_SIDE)
    if width <= long and height <= short:
        return source
    return _fitted(source)


def _fitted(size: Size) -> Size:
    width, height = size
    long, short = (LONG_SIDE, SHORT_SIDE) if width >= height else (SHORT_SIDE, LONG_SIDE)
    factor = min(long / width, short / height)
    return 2 * round(width * factor / 2), 2 * round(height * factor / 2)


def plan_tracks(
    tracks: Sequence[Track], file_size: Size, source_size: Size | None
) -> Mapping[str, CropPlan | ItemError]:
    """Plan the crops of all tracks of one video in the pixels of the file on disk.

    Args:
        tracks: every track of the video that is known, since they settle the size together.
        file_size: (width, height) of the file, as displayed.
        source_size: the largest (width, height) that the host offers, or None if unknown.

    Returns:
        track id -> its plan, or why it cannot be cut (`geometry-mismatch`, `invalid-track`).
    """
    unsized = [track for track in tracks if track.video_size is None]
    inferred = _infer(unsized, file_size, source_size)
    plans: dict[str, CropPlan | ItemError] = {}
    for track in tracks:
        said = track.video_size
        reference = (said[1], said[0]) if said else inferred
        try:
            plans[track.track_id] = _plan(track, reference, file_size)
        except ItemError as error:
            plans[track.track_id] = error
    return plans


def _infer(tracks: Sequence[Track], file_size: Size, source_size: Size | None) -> Size:
    larger = source_size and source_size[0] * source_size[1] >= file_size[0] * file_size[1]
    if source_size and larger:
        return annotated_size(source_size)
    itself, fitted = annotated_size(file_size), _fitted(file_size)
    if itself == fitted:
        return fitted
    # The file may be all there is, or a small copy: boxes that reach far over its right or lower
    # edge tell. Those that would be wrong for both say nothing.
    telling = [track for track in tracks if _centred_in(track, fitted)]
    return itself if all(_reaches_over(track, itself) <= OVERHANG for track in telling) else fitted


def _plan(track: Track, reference: Size, file_size: Size) -> CropPlan:
    width, height = reference
    if width < 1 or height < 1:
        raise ItemError("invalid-track", f"the metadata says a video size of {width}x{height}")
    x_factor, y_factor = file_size[0] / width, file_size[1] / height
    if abs(x_factor / y_factor - 1) > ASPECT_TOLERANCE:
        raise ItemError(
            "geometry-mismatch",
            f"the boxes belong to a video of {width}x{height}, the file has "
            f"{file_size[0]}x{file_size[1]}, another shape",
        )
    if not _centred_in(track, reference):
        left, top, right, bottom = _extent(track)
        raise ItemError(
            "geometry-mismatch",
            f"the boxes reach from ({left:.0f}, {top:.0f}) to ({right:.0f}, {bottom:.0f}) pixels, "
            f"outside a video of {width}x{height}",
        )
    plan = plan_crop(track.frame_ts, track.frame_bboxes, (height, width))
    return plan if reference == file_size else plan.scaled(x_factor, y_factor)


def _extent(track: Track) -> tuple[float, float, float, float]:
    x, y, w, h = track.frame_bboxes.T
    return float(x.min()), float(y.min()), float((x + w).max()), float((y + h).max())


def _reaches_over(track: Track, size: Size) -> float:
    """Return how far boxes reach over the right or lower edge, as a share of the frame.

    Boxes over the other two edges say nothing of the scale.
    """
    _, _, right, bottom = _extent(track)
    return max(right / size[0], bottom / size[1]) - 1


def _centred_in(track: Track, size: Size) -> bool:
    x, y, w, h = track.frame_bboxes.T
    across, down = (x + w / 2) / size[0], (y + h / 2) / size[1]
    low, high = -OVERHANG, 1 + OVERHANG
    return bool(min(across.min(), down.min()) >= low and max(across.max(), down.max()) <= high)
