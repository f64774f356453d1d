"""What a second costs: bytes of videos and clips, and work; measured here, else typical."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from trackverse_cli.plan.survey import Survey

VIDEO_BYTES_PER_SECOND: Final = 219_000.0
"""1.75 Mbit/s: 720p H.264 without sound lies between 1.5 and 2."""

CLIP_BYTES_PER_SECOND: Final = 75_000.0
"""0.6 Mbit/s: a crop of some 300 x 350 pixels at CRF 23, assumed until clips were cut."""

DECODE_SECONDS_PER_SECOND: Final = 0.057
"""Core seconds to decode a second of 720p, on slow cores; those of `benchmarks/results/cut.md` took
two thirds."""

CUT_SECONDS_PER_SECOND: Final = 0.089
"""Core seconds to crop and encode a second of a clip, likewise; there it took half."""

PAGE_SECONDS: Final = 4.0
"""Assumed: asking for a video's page and its formats; also what one takes that is gone."""

LINE_BYTES_PER_SECOND: Final = 5e6
"""Assumed: what one download gets of the line, 40 Mbit/s."""

FAILING_SECONDS: Final = 30.0
"""Assumed: three attempts at a line that fails, with the waits between them."""

LEAST_VIDEOS: Final = 20
LEAST_CLIPS: Final = 100
"""With fewer, what came so far says too little."""


@dataclass(frozen=True, slots=True)
class Rates:
    """What a second costs, and who says so.

    Attributes:
        video: bytes of a second of video, by its taken length.
        video_source: where that comes from.
        clip: bytes of a second of a clip.
        clip_source: likewise.
        decode: core seconds to decode a second of video.
        cut: core seconds to crop and encode a second of a clip.
        line: bytes a second that one download gets.
        page: seconds until a download begins.
    """

    video: float = VIDEO_BYTES_PER_SECOND
    video_source: str = "typical of 720p H.264"
    clip: float = CLIP_BYTES_PER_SECOND
    clip_source: str = "assumed, no clips yet"
    decode: float = DECODE_SECONDS_PER_SECOND
    cut: float = CUT_SECONDS_PER_SECOND
    line: float = LINE_BYTES_PER_SECOND
    page: float = PAGE_SECONDS


def rates_of(found: Survey, line: float = LINE_BYTES_PER_SECOND) -> Rates:
    """Return what a second cost so far where enough has come, else what is typical.

    Args:
        found: where everything stands.
        line: bytes a second that one download gets.
    """
    usual = Rates()
    video, video_source = usual.video, usual.video_source
    if len(found.came) >= LEAST_VIDEOS:
        video = float(found.came[:, 0].sum() / found.came[:, 1].sum())
        video_source = f"mean of {len(found.came):,} videos that came"
    clip, clip_source = usual.clip, usual.clip_source
    if found.clips_measured >= LEAST_CLIPS and found.clip_seconds > 0:
        clip = found.clip_bytes / found.clip_seconds
        clip_source = f"mean of {found.clips_measured:,} clips"
    return Rates(video, video_source, clip, clip_source, line=line)
