"""The videos and tracks that cutting is measured with; the same ones on every machine.

A camera wanders over a large textured ground, so that every frame differs from the last one as
filmed ones do. Tracks are scattered over the video, or all on screen at once; their boxes drift,
and grow and shrink by a twelfth as those of real tracks do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import av
import numpy as np

from trackverse_cli.metadata import Track

if TYPE_CHECKING:
    from pathlib import Path

    from av.video.stream import VideoStream
    from numpy.typing import NDArray

RATE = 30
SEED = 7
VIDEO_ID = "benchmark-1"
ENCODERS = {
    "h264": ("libx264", {"preset": "veryfast", "crf": "22"}),
    "vp9": ("libvpx-vp9", {"deadline": "realtime", "cpu-used": "8", "crf": "32", "b": "0"}),
    "av1": ("libsvtav1", {"preset": "12", "crf": "35"}),
}


@dataclass(frozen=True, slots=True)
class Workload:
    """A video with tracks.

    Attributes:
        name: unique.
        seconds: of video.
        tracks: how many.
        at_once: whether all of them are on screen in the same `length` seconds.
        length: (shortest, longest) seconds of a track.
        height: 720 or 1080.
        codec: a key of `ENCODERS`.
    """

    name: str
    seconds: int
    tracks: int
    at_once: bool = False
    length: tuple[float, float] = (3, 12)
    height: int = 720
    codec: str = "h264"

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the video."""
        return self.height * 16 // 9, self.height

    def most_at_once(self) -> int:
        """Return how many tracks are on screen at the busiest moment."""
        tracks = self.make_tracks()
        spans = [(float(track.frame_ts[0]), float(track.frame_ts[-1])) for track in tracks]
        return max(sum(begin <= at <= end for begin, end in spans) for at, _ in spans)

    def make_tracks(self) -> list[Track]:
        """Return the tracks: 16 boxes a second, a quarter to a half of the picture high."""
        random = np.random.default_rng(SEED + 4)
        width, height = self.size
        tracks = []
        for number in range(self.tracks):
            length = random.uniform(*self.length)
            last = self.length[1] - length if self.at_once else self.seconds - length - 0.5
            first = random.uniform(0, max(last, 0.1)) + (10 if self.at_once else 0)
            times = np.arange(first, first + length, 1 / 16)
            side = random.uniform(0.25, 0.5) * height * (1 + np.sin(times * 1.3 + number) / 12)
            x = (width - side * 1.1) * (0.5 + 0.45 * np.sin(times * 0.7 + number))
            y = (height - side) * (0.5 + 0.45 * np.cos(times * 0.9 + number))
            boxes = np.stack([x, y, side * 1.1, side], axis=1)
            name = f"t{number}"
            tracks.append(
                Track(name, VIDEO_ID, f"{name}.mp4", times, boxes, (height, width), (), ())
            )
        return tracks

    def make_video(self, path: Path) -> None:
        """Write the video."""
        width, height = self.size
        ground = _ground(width, height)
        rows, columns, _ = ground.shape
        codec, options = ENCODERS[self.codec]
        with av.open(str(path), "w") as out:
            stream: VideoStream = out.add_stream(codec, rate=RATE)  # type: ignore[assignment]  # a name known at run time
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            stream.codec_context.options = dict(options)
            stream.codec_context.gop_size = 5 * RATE
            stream.codec_context.thread_count = 0
            for number in range(self.seconds * RATE):
                at = number / RATE
                x = int((columns - width) / 2 * (1 + 0.95 * np.sin(at / 5)))
                y = int((rows - height) / 2 * (1 + 0.95 * np.cos(at / 7)))
                view = np.ascontiguousarray(ground[y : y + height, x : x + width])
                out.mux(stream.encode(av.VideoFrame.from_ndarray(view, "rgb24")))
            out.mux(stream.encode(None))


def _ground(width: int, height: int) -> NDArray[np.uint8]:
    """Return a picture of almost twice the video's size, with coarse forms and fine grain."""
    random = np.random.default_rng(SEED)
    coarse = random.integers(0, 255, (135, 240, 3), dtype=np.uint8)
    picture = av.VideoFrame.from_ndarray(coarse, "rgb24").reformat(
        width=width * 15 // 8, height=height * 15 // 8
    )
    ground = picture.to_ndarray(format="rgb24")
    grain = random.integers(0, 50, ground.shape)
    mixed: NDArray[np.uint8] = (ground * 0.8 + grain).astype(np.uint8)
    return mixed


SCATTERED = Workload("24 scattered", 142, 24)
WORKLOADS = {
    workload.name: workload
    for workload in (
        SCATTERED,
        Workload("1 on screen", 40, 1, at_once=True, length=(8, 8)),
        Workload("8 on screen", 40, 8, at_once=True, length=(6, 8)),
        Workload("24 on screen", 40, 24, at_once=True, length=(6, 8)),
        Workload("64 on screen", 40, 64, at_once=True, length=(4, 5)),
        Workload("24 on screen, 1080p", 40, 24, at_once=True, length=(4, 5), height=1080),
        Workload("24 scattered, VP9", 60, 24, length=(3, 6), codec="vp9"),
        Workload("24 scattered, AV1", 60, 24, length=(3, 6), codec="av1"),
        Workload("one of eight", 20, 3, length=(3, 6)),
        Workload("2 minutes", 120, 8, length=(6, 8)),
        Workload("10 minutes", 600, 8, length=(6, 8)),
    )
}
