"""How one run of one rank gets the videos that it cuts: from disk, or from their host."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from loguru import logger

from trackverse_cli.errors import ItemError, LacksError, TryLaterError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from trackverse_cli.budget import Budget, Room
    from trackverse_cli.catalog import Video
    from trackverse_cli.download import DownloadedVideo, Downloader
    from trackverse_cli.metadata import Track
    from trackverse_cli.rank import RankRun

THROTTLED_IN_A_ROW = 3
"""After so many, the host means us and not the video: the rank ends with exit code 75."""

BROKEN_IN_A_ROW = 5
"""After so many answers that the downloader cannot read, it is out of date, or the cookies are."""


class FromDisk:
    """Takes videos that are there.

    Args:
        run: this run of the rank.
        follow: whether a video that is not on disk may still come.
    """

    def __init__(self, run: RankRun, follow: bool) -> None:
        self._run = run
        self._follow = follow

    def bring(self, video: Video, due: list[Track]) -> Path | None:
        """Return the video's file; where it is not on disk, count its clips as waiting for it."""
        path = self._run.layout.find_video(video.video_id)
        if path is None and self._follow:
            self._run.absent.append((video, due))
        elif path is None:
            self._run.summary.not_cut("video-missing", len(due))
        return path


class FromHost:
    """Takes videos that are there, and downloads the others.

    Args:
        run: this run of the rank.
        downloader: what downloads.
        budget: how much disk videos may take.
        room: waits for room when the storage is full.
    """

    def __init__(self, run: RankRun, downloader: Downloader, budget: Budget, room: Room) -> None:
        self._run = run
        self._downloader = downloader
        self._budget = budget
        self._room = room
        self._in_a_row: Counter[str] = Counter()

    def bring(self, video: Video, due: list[Track]) -> Path | None:
        """Return the video's file, downloaded if it is not there or known to be damaged.

        Raises:
            TryLaterError: the host throttles us, or the storage is full.
            LacksError: no way to the host, or a downloader that is out of date.
        """
        path = self._sound_source(video, due)
        if path is not None:
            return path
        run = self._run
        if not self._room.patient(lambda: run.fence.claim("download", video.video_id)):
            run.put_off.append((video, due))
            return None
        try:
            # Whoever had the lease until now may have brought it.
            return self._sound_source(video, due) or self._fetch(video, due)
        finally:
            run.fence.release("download", video.video_id)

    def _sound_source(self, video: Video, due: Sequence[Track]) -> Path | None:
        path = self._run.layout.find_video(video.video_id)
        track_ids = [track.track_id for track in due]
        if path is None or self._run.worklist.source_is_bad(video.video_id, track_ids, path):
            return None
        return path

    def _fetch(self, video: Video, due: Sequence[Track]) -> Path | None:
        needed = max(float(track.frame_ts.max()) for track in due)
        self._budget.ask()
        try:
            came = self._room.patient(lambda: self._downloader.fetch(video.video_id, needed))
        except ItemError as error:
            self._budget.dropped()
            self._not_brought(video.video_id, len(due), error)
            return None
        self._budget.came(came.bytes)
        self._in_a_row.clear()
        self._brought(came)
        return came.path

    def _brought(self, came: DownloadedVideo) -> None:
        run = self._run
        run.summary.video("downloaded")
        run.ledger.video(
            came.video_id,
            "present",
            bytes=came.bytes,
            width=came.width,
            height=came.height,
            duration_seconds=came.duration_seconds,
            codec=came.codec,
            format_id=came.format_id,
            checksum=came.checksum,
            source_size=came.source_size,
        )
        if came.source_size:
            run.worklist.ledger.source_sizes[came.video_id] = came.source_size

    def _not_brought(self, video_id: str, clips: int, error: ItemError) -> None:
        run = self._run
        if error.reason == "offline":
            raise LacksError(
                f"cannot reach the host of video {video_id} from this machine ({error.message}); "
                "run where there is a way out, or set [download] proxy"
            ) from error
        run.ledger.video(
            video_id, "failed", reason=error.reason, message=error.message, clips=clips
        )
        logger.warning("video {}: {} ({})", video_id, error.reason, error.message)
        run.summary.video(error.reason)
        run.summary.not_cut(error.reason, clips)
        self._in_a_row = Counter({error.reason: self._in_a_row[error.reason] + 1})
        if self._in_a_row["throttled"] >= THROTTLED_IN_A_ROW:
            raise TryLaterError(
                f"the host asked {THROTTLED_IN_A_ROW} times in a row to slow down "
                f"({error.message}); run the same command again in an hour or more"
            ) from error
        if self._in_a_row["tool"] >= BROKEN_IN_A_ROW:
            raise LacksError(
                f"yt-dlp failed {BROKEN_IN_A_ROW} times in a row ({error.message}); upgrade it "
                "with `pip install -U 'yt-dlp[default]'`, then run the same command again"
            ) from error
