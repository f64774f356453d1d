"""Contact sheets: the pictures of the clips that a report shows."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from trackverse_cli.errors import DamagedFileError, RefusedNameError
from trackverse_cli.outputs import ShardIndex, member_url
from trackverse_cli.report.pictures import ClipFrames, clip_frames
from trackverse_cli.report.sources import Moment, SourceFrame, source_frames

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from trackverse_cli.catalog import Catalog, Video
    from trackverse_cli.clock import Clock
    from trackverse_cli.findings import Clip
    from trackverse_cli.layout import Layout
    from trackverse_cli.ledger import LedgerState

PICTURE_SECONDS = 180.0
"""After so long no further video is opened, so that a slow disk cannot hold up the report."""


@dataclass(frozen=True, slots=True)
class Sheet:
    """One clip with its pictures.

    Attributes:
        clip: which one.
        first: when it begins in the video, in seconds.
        read: its frames, None if it cannot be read.
        problem: why frames are lacking, or "".
        source: where its middle frame was cut, or None.
        source_problem: why that is lacking, or "".
    """

    clip: Clip
    first: float
    read: ClipFrames | None
    problem: str = ""
    source: SourceFrame | None = None
    source_problem: str = ""


class Photographer:
    """Makes sheets of clips.

    Args:
        layout: the dataset folder.
        catalog: what the clips are taken from.
        ledger: what all runs recorded.
        clock: measures the time that it takes.
    """

    def __init__(self, layout: Layout, catalog: Catalog, ledger: LedgerState, clock: Clock) -> None:
        self._layout, self._catalog, self._ledger, self._clock = layout, catalog, ledger, clock

    def sheets(
        self, clips: Sequence[Clip], workers: int, advance: Callable[[float], None]
    ) -> dict[tuple[str, str], Sheet]:
        """Return (video id, track id) -> sheet; clips that there was no time for are left out.

        Args:
            clips: of which clips.
            workers: threads that work on videos side by side.
            advance: takes the number of clips that are through.
        """
        by_row: dict[int, list[Clip]] = {}
        for clip in clips:
            by_row.setdefault(clip.row, []).append(clip)
        if not by_row:
            return {}
        shards = ShardIndex.load(self._layout, {clip.video_id for clip in clips})
        until = self._clock.monotonic() + PICTURE_SECONDS
        made: dict[tuple[str, str], Sheet] = {}
        pool = ThreadPoolExecutor(workers, thread_name_prefix="pictures")
        rows = sorted(by_row)
        try:
            videos = zip(rows, self._catalog.videos(np.array(rows)), strict=True)
            waiting = [
                pool.submit(self._of_video, video, by_row[row], shards, until)
                for row, video in videos
            ]
            for future in waiting:
                for sheet in future.result():
                    made[sheet.clip.video_id, sheet.clip.track_id] = sheet
                    advance(1)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
        return made

    def _of_video(
        self, video: Video, clips: list[Clip], shards: ShardIndex, until: float
    ) -> list[Sheet]:
        if self._clock.monotonic() > until:
            return []
        first = {track.track_id: float(track.frame_ts.min()) for track in video.tracks}
        sheets = [self._of_clip(clip, first[clip.track_id], shards) for clip in clips]
        moments = {s.clip.track_id: m for s in sheets if (m := _moment(s)) is not None}
        sources = self._sources(video, moments) if moments else {}
        return [_with_source(sheet, sources.get(sheet.clip.track_id, "")) for sheet in sheets]

    def _of_clip(self, clip: Clip, first: float, shards: ShardIndex) -> Sheet:
        try:
            read = clip_frames(self._url(clip, shards), (clip.video_id, clip.track_id))
        except (DamagedFileError, RefusedNameError) as error:
            return Sheet(clip, first, None, str(error))
        return Sheet(clip, first, read, read.problem)

    def _url(self, clip: Clip, shards: ShardIndex) -> str:
        """Return what FFmpeg opens; raises DamagedFileError or RefusedNameError."""
        path = self._layout.clip(clip.clip_name)
        if path.is_symlink():
            raise DamagedFileError("it is a symbolic link")
        if path.is_file():
            return str(path.absolute())
        place = shards.find(clip.video_id, clip.track_id)
        if place is None or not place.is_there:
            raise DamagedFileError("it is no file, and no shard holds it whole")
        return member_url(place)

    def _sources(self, video: Video, moments: dict[str, Moment]) -> dict[str, SourceFrame | str]:
        path = self._layout.find_video(video.video_id) or self._layout.find_ranges(video.video_id)
        if path is None:
            return dict.fromkeys(moments, "the video is not on disk any more")
        size = self._ledger.source_sizes.get(video.video_id)
        return source_frames(path, video.tracks, size, moments)


def _moment(sheet: Sheet) -> Moment | None:
    """Return which frame of the video to show: that of the middle one that can be read."""
    if sheet.read is None:
        return None
    seen = [frame for frame in sheet.read.frames if frame.picture is not None]
    at = [sheet.first + frame.seconds for frame in seen]
    return Moment(at[len(at) // 2], at[0], at[-1])


def _with_source(sheet: Sheet, source: SourceFrame | str) -> Sheet:
    if isinstance(source, str):
        return replace(sheet, source_problem=source)
    return replace(sheet, source=source)
