"""What one run of one rank does with one video: judge, bring, cut, let go; and what it counts."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from loguru import logger

from trackverse_cli.errors import ItemError, LacksError, TryLaterError
from trackverse_cli.extract import PartlyCutError
from trackverse_cli.probe import Level, check_clip
from trackverse_cli.reasons import UNRECOVERABLE
from trackverse_cli.worklist import State, Worklist

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from trackverse_cli.catalog import Video
    from trackverse_cli.download import DownloadedVideo, Downloader
    from trackverse_cli.extract import CutOutcome, Cutter
    from trackverse_cli.fence import Fence
    from trackverse_cli.ledger import Ledger, LedgerState
    from trackverse_cli.metadata import Track

THROTTLED_IN_A_ROW = 3
"""After so many, the host means us and not the video: the rank ends with exit code 75."""

BROKEN_IN_A_ROW = 5
"""After so many answers that the downloader cannot read, it is out of date, or the cookies are."""


@dataclass(slots=True)
class RankSummary:
    """What one run of one rank did.

    Attributes:
        clips: clips by outcome: `cut`, `there before`, or the reason why not.
        videos: videos by outcome: `downloaded`, `removed`, or the reason why not.
        retryable: clips and videos that another run may win.
    """

    clips: Counter[str] = field(default_factory=Counter)
    videos: Counter[str] = field(default_factory=Counter)
    retryable: int = 0

    @property
    def exit_code(self) -> int:
        """0 if nothing is left that a retry could win, else 1."""
        return 1 if self.retryable else 0


class RankRun:
    """One run of one rank.

    Args:
        worklist: what is done and due.
        ledger: this run's own record.
        fence: keeps other runs off what this one is at.
        follow: whether a video that is not on disk may still come.

    Attributes:
        summary: what it did so far.
        layout: the dataset folder.
        put_off: videos that another run was at, with their due tracks.
        absent: videos that were not on disk, likewise, with `follow` only.
    """

    def __init__(
        self, worklist: Worklist, ledger: Ledger, fence: Fence, follow: bool = False
    ) -> None:
        self.summary = RankSummary()
        self.put_off: list[tuple[Video, list[Track]]] = []
        self.absent: list[tuple[Video, list[Track]]] = []
        self.layout = worklist.layout
        self._worklist = worklist
        self._ledger = ledger
        self._fence = fence
        self._follow = follow
        self._lock = threading.Lock()
        self._in_a_row: Counter[str] = Counter()

    def due_tracks(self, video: Video) -> list[Track]:
        """Return the selected tracks that have to be cut; count and record the others."""
        due, found = [], []
        for track in video.selected:
            name = (track.video_id, track.track_id, track.clip_name)
            verdict = self._worklist.clip(*name)
            record = self._worklist.adopted(*name) if verdict.state is State.COMPLETE else None
            if record is not None:
                found.append((track.track_id, record.frames, record.bytes, record.checksum))
            elif self._worklist.is_due(*name):
                due.append(track)
                continue
            elif verdict.state is State.UNRECOVERABLE:
                self._count(verdict.reason, 1)
                continue
            self._count("there before", 1)
        if found:
            self._ledger.clips(video.video_id, self._worklist.recipe, found)
        return due

    def _count(self, outcome: str, clips: int) -> None:
        with self._lock:
            self.summary.clips[outcome] += clips

    @property
    def ledger_state(self) -> LedgerState:
        """What all runs recorded, as of the last reading."""
        return self._worklist.ledger

    def refresh(self, ledger: LedgerState) -> None:
        """Look at the disk anew, and at what runs recorded of the videos that are left."""
        self._worklist = Worklist(self.layout, ledger, self._worklist.recipe)

    def is_here(self, video_id: str) -> bool:
        """Say whether a video was on disk at the last `refresh`."""
        return self._worklist.video(video_id) is not None

    def still_due(self, due: Sequence[Track]) -> list[Track]:
        """Return those of the due tracks that no other run has cut or given up meanwhile."""
        left = []
        for track in due:
            name = (track.video_id, track.track_id, track.clip_name)
            if self._worklist.is_due(*name):
                left.append(track)
                continue
            verdict = self._worklist.clip(*name)
            self._count(verdict.reason or "there before", 1)
        return left

    def is_alive_elsewhere(self, video: Video) -> bool:
        """Say whether a run that is at a video has been seen to be alive."""
        fence, video_id = self._fence, video.video_id
        return any(fence.is_alive_elsewhere(work, video_id) for work in ("cut", "download"))

    def begin(self, video: Video, due: list[Track]) -> bool:
        """Return whether this run may cut clips of a video; if not, put it off.

        Raises:
            OSError: the disk refused the lease.
        """
        if self._fence.claim("cut", video.video_id):
            if not any(self._has_come(track) for track in due):
                return True
            self._fence.release("cut", video.video_id)
        self.put_off.append((video, due))
        return False

    def _has_come(self, track: Track) -> bool:
        """Say whether a clip is there that was not when this run looked."""
        path = self.layout.clip(track.clip_name)
        return not self._worklist.listed(path) and path.exists()

    def end(self, video: Video) -> None:
        """Let other runs at a video that `begin` took."""
        self._fence.release("cut", video.video_id)

    def find(self, video: Video, due: list[Track]) -> Path | None:
        """Return the video's file; where it is not on disk, count its clips as waiting for it."""
        path = self.layout.find_video(video.video_id)
        if path is None and self._follow:
            self.absent.append((video, due))
        elif path is None:
            self.not_cut("video-missing", len(due))
        return path

    def bring(self, video: Video, due: list[Track], downloader: Downloader) -> Path | None:
        """Return the video's file, downloaded if it is not there or known to be damaged.

        Raises:
            TryLaterError: the host throttles us, or the storage is full.
            LacksError: no way to the host, or a downloader that is out of date.
        """
        path = self._sound_source(video, due)
        if path is not None:
            return path
        if not self._fence.claim("download", video.video_id):
            self.put_off.append((video, due))
            return None
        try:
            # Whoever had the lease until now may have brought it.
            return self._sound_source(video, due) or self._fetch(video, due, downloader)
        finally:
            self._fence.release("download", video.video_id)

    def _sound_source(self, video: Video, due: Sequence[Track]) -> Path | None:
        path = self.layout.find_video(video.video_id)
        track_ids = [track.track_id for track in due]
        if path is None or self._worklist.source_is_bad(video.video_id, track_ids, path):
            return None
        return path

    def _fetch(self, video: Video, due: Sequence[Track], downloader: Downloader) -> Path | None:
        needed = max(float(track.frame_ts.max()) for track in due)
        try:
            came = downloader.fetch(video.video_id, needed)
        except ItemError as error:
            self._not_brought(video.video_id, len(due), error)
            return None
        self._in_a_row.clear()
        self._brought(came)
        return came.path

    def _brought(self, came: DownloadedVideo) -> None:
        self.summary.videos["downloaded"] += 1
        self._ledger.video(
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
            self._worklist.ledger.source_sizes[came.video_id] = came.source_size

    def _not_brought(self, video_id: str, clips: int, error: ItemError) -> None:
        if error.reason == "offline":
            raise LacksError(
                f"cannot reach the host of video {video_id} from this machine ({error.message}); "
                "run where there is a way out, or set [download] proxy"
            ) from error
        self._ledger.video(
            video_id, "failed", reason=error.reason, message=error.message, clips=clips
        )
        logger.warning("video {}: {} ({})", video_id, error.reason, error.message)
        self.summary.videos[error.reason] += 1
        self.not_cut(error.reason, clips)
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

    def not_cut(self, reason: str, clips: int) -> None:
        """Count clips that were not cut, for a reason."""
        with self._lock:
            self.summary.clips[reason] += clips
            if reason not in UNRECOVERABLE:
                self.summary.retryable += clips

    def cut(
        self, cutter: Cutter, video: Video, due: Sequence[Track], path: Path, remove: bool
    ) -> None:
        """Cut the due clips of one video and record them; with `remove`, let the video go after.

        Raises:
            StoppedError: a signal; what was finished is recorded.
            TryLaterError: the storage is full; likewise.
        """
        try:
            outcome = self._cut(cutter, video, due, path)
            retryable = [reason for _, reason, _ in outcome.failed if reason not in UNRECOVERABLE]
            if remove and not retryable:
                self._evict(video, outcome, path)
        finally:
            self.end(video)

    def _cut(self, cutter: Cutter, video: Video, due: Sequence[Track], path: Path) -> CutOutcome:
        wanted = {track.track_id for track in due}
        source_bytes = path.stat().st_size
        size = self._worklist.ledger.source_sizes.get(video.video_id)
        try:
            outcome = cutter.cut(path, video.tracks, lambda t: t.track_id in wanted, size)
        except PartlyCutError as error:
            self._record(video.video_id, error.outcome, source_bytes)
            raise error.cause from error
        self._record(video.video_id, outcome, source_bytes)
        return outcome

    def _record(self, video_id: str, outcome: CutOutcome, source_bytes: int) -> None:
        recipe = self._worklist.recipe
        if outcome.done:
            done = [
                (clip.track_id, clip.frames, clip.bytes, clip.checksum) for clip in outcome.done
            ]
            self._ledger.clips(video_id, recipe, done)
            self._count("cut", len(done))
        for track_id, reason, message in outcome.failed:
            self._ledger.track(video_id, track_id, recipe, reason, message, source_bytes)
            logger.warning("track {} of video {}: {} ({})", track_id, video_id, reason, message)
            self.not_cut(reason, 1)

    def _evict(self, video: Video, outcome: CutOutcome, path: Path) -> None:
        """Remove a video all of whose clips stand; those cut just now are opened once more."""
        names = {track.track_id: track.clip_name for track in video.tracks}
        try:
            for clip in outcome.done:
                place = self.layout.clip(names[clip.track_id])
                recipe = self._worklist.recipe
                check_clip(place, video.video_id, clip.track_id, recipe, None, Level.PROBE)
        except ItemError as error:
            logger.warning("video {} stays: {}", video.video_id, error.message)
            return
        path.unlink()
        self._ledger.video(video.video_id, "evicted")
        with self._lock:
            self.summary.videos["removed"] += 1
