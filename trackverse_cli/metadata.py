"""The three dialects of a metadata line, read into one `Track`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Track:
    """One object followed through one video.

    Attributes:
        track_id: unique within its video.
        video_id: 11 checked characters.
        clip_name: the checked name of its clip below `tracks_mp4/`.
        frame_ts: (n,) float64 seconds, the times of the boxes, finite, n >= 1, as the file has them.
        frame_bboxes: (n, 4) float64 xywh pixels, finite, width and height > 0.
        video_size: (height, width) of the video that the boxes were made on, where it is said.
        label_ids: class ids, best first; may be empty.
        label_names: class names, best first; may be empty.
    """

    track_id: str
    video_id: str
    clip_name: str
    frame_ts: NDArray[np.float64]
    frame_bboxes: NDArray[np.float64]
    video_size: tuple[int, int] | None
    label_ids: tuple[int, ...]
    label_names: tuple[str, ...]
