"""An imitation of the scripts that trackverse replaces: their folder, their clips, their faults.

Written from what is known of them, to make folders that `adopt` has to bear: the tail that is lost
because the encoder is never flushed, whole frame rates, boxes that are never scaled, and crops that
follow the first two boxes alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import av
import numpy as np
from scipy.ndimage import gaussian_filter

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

LONGEST_SECONDS = 180.0


@dataclass(frozen=True)
class Script:
    """The original's script as somebody ran it.

    Attributes:
        flushes: whether somebody mended it so that the tails are written.
        follows: whether somebody mended it so that boxes have the times of `frame_ts`.
        delays: frames that the encoder holds back; those are what is lost without a flush.
    """

    flushes: bool = False
    follows: bool = True
    delays: int = 16

    def cut(self, video: Path, line: dict[str, Any], base: Path) -> Path:
        """Cut one clip below `base/tracks_mp4`, in place, as the script does."""
        target = base / "tracks_mp4" / str(line["track_mp4_filename"])
        target.parent.mkdir(parents=True, exist_ok=True)
        first, last = float(line["frame_ts"][0]), float(line["frame_ts"][-1])
        last = first + min(last - first, LONGEST_SECONDS)
        with av.open(str(video)) as source:
            stream = source.streams.video[0]
            rate = Fraction(stream.average_rate or 25)
            shown = (stream.codec_context.height, stream.codec_context.width)
            boxes, size = _boxes(line, shown)
            ts = np.array(line["frame_ts"])
            if not self.follows:
                ts = np.linspace(ts[0], ts[-1], len(ts))[[0, -1]]
                boxes = boxes[:2]
            frames = [
                (at, frame)
                for frame in source.decode(stream)
                if first <= (at := float(frame.pts * frame.time_base)) <= last
            ]
            pictures = [
                _cropped(frame.to_ndarray(format="rgb24"), _box_at(at, ts, boxes), size)
                for at, frame in frames
            ]
        self._encode(target, pictures, size, round(rate))
        return target

    def _encode(
        self, target: Path, pictures: list[NDArray[np.uint8]], size: tuple[int, int], rate: int
    ) -> None:
        kept = pictures if self.flushes else pictures[: max(1, len(pictures) - self.delays)]
        with av.open(str(target), "w", format="mp4") as out:
            stream = out.add_stream("libx264", rate=rate)
            stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
            stream.codec_context.gop_size = max(1, rate // 2)
            for picture in kept:
                out.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
            out.mux(stream.encode(None))


def _boxes(
    line: dict[str, Any], shown: tuple[int, int]
) -> tuple[NDArray[np.float64], tuple[int, int]]:
    """Smooth, shape and clamp the boxes in the pixels of whatever video there is."""
    height, width = shown
    ts, boxes = np.array(line["frame_ts"]), np.array(line["frame_bboxes"], dtype=np.float64)
    sigma = int(0.66 / np.mean(np.diff(ts))) if len(ts) > 1 else 0
    boxes = np.stack([gaussian_filter(column, sigma) for column in boxes.T], axis=1)
    x, y, w, h = boxes.T
    ratio = float(np.clip(np.mean(w / h), 2 / 3, 3 / 2))
    wide = w / h > ratio
    x, y, w, h = _about(x, y, w, h, np.where(wide, w, h * ratio), np.where(wide, w / ratio, h))
    for large, to in ((h > height, (height * ratio, height)), (w > width, (width, width / ratio))):
        x, y, w, h = _about(x, y, w, h, np.where(large, to[0], w), np.where(large, to[1], h))
    x, y = np.clip(x, 0, np.maximum(width - w, 0)), np.clip(y, 0, np.maximum(height - h, 0))
    size = (max(2, int(w.mean()) // 2 * 2), max(2, int(h.mean()) // 2 * 2))
    return np.stack([x, y, w, h], axis=1), size


def _about(x: Any, y: Any, w: Any, h: Any, new_w: Any, new_h: Any) -> tuple[Any, Any, Any, Any]:
    return x + (w - new_w) / 2, y + (h - new_h) / 2, new_w, new_h


def _box_at(at: float, ts: NDArray[np.float64], boxes: NDArray[np.float64]) -> list[int]:
    return [int(np.interp(at, ts, column)) for column in boxes.T]


def _cropped(
    picture: NDArray[np.uint8], box: list[int], size: tuple[int, int]
) -> NDArray[np.uint8]:
    x, y, w, h = box
    part = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture[y : y + h, x : x + w]), "rgb24")
    scaled = part.reformat(width=size[0], height=size[1], interpolation="BICUBIC")
    small: NDArray[np.uint8] = scaled.to_ndarray(format="rgb24")
    return small
