"""How one run of one rank gets the videos that it cuts: from disk, or from their host."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from loguru import logger

from trackverse_cli.clock import local_text
from trackverse_cli.download import DownloadError, is_youtube
from trackverse_cli.errors import ItemError, LacksError
from trackverse_cli.pace import Outcome
from trackverse_cli.pacing import outcome_of
from trackverse_cli.ranges import UnfitFileError, covers, read_held
from trackverse_cli.reasons import Look, next_try_after, settle

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from trackverse_cli.budget import Budget, Room
    from trackverse_cli.catalog import Video
    from trackverse_cli.clock import Clock
    from trackverse_cli.download import DownloadedVideo, Downloader, Patience
    from trackverse_cli.layout import Layout
    from trackverse_cli.ledger import VideoEntry
    from trackverse_cli.metadata import Track
    from trackverse_cli.pace import Rotation, Turn
    from trackverse_cli.rank import RankRun

PUT_OFF = frozenset({"transient", "throttled"})
"""Failures of a moment: the video is tried once more at the end of the rank."""


def spans_of(due: Sequence[Track]) -> tuple[tuple[float, float], ...]:
    """Return (start, stop) in seconds of what some tracks need of their video."""
    return tuple((float(t.frame_ts.min()), float(t.frame_ts.max())) for t in due)


def find_source(layout: Layout, video_id: str, due: Sequence[Track]) -> Path | None:
    """Return the file that some tracks can be cut from: the whole video, or all they need of it."""
    path = layout.find_video(video_id)
    if path is not None:
        return path
    path = layout.find_ranges(video_id)
    if path is None:
        return None
    try:
        held = read_held(path)
    except (UnfitFileError, OSError):
        return None
    return path if covers(held.spans, spans_of(due), held.whole_seconds) else None


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
        path = find_source(self._run.layout, video.video_id, due)
        if path is not None and self._run.worklist.is_known_damaged(video.video_id):
            self._run.summary.not_cut("video-damaged", len(due))
            return None
        if path is None and self._follow:
            self._run.absent.append((video, due))
        elif path is None:
            self._run.summary.not_cut("video-missing", len(due))
        return path


@dataclass(frozen=True, slots=True)
class Means:
    """What a run downloads with.

    Attributes:
        downloader_of: gives the downloader that goes through a proxy, or through none.
        rotation: the ways out with their paces.
        budget: how much disk videos may take.
        room: waits for room when the storage is full.
        patience: what waits.
        clock: what to take the time from.
        spans: whether only the stretches that are needed may be fetched.
        url_template: the page of a video.
    """

    downloader_of: Callable[[str | None], Downloader]
    rotation: Rotation
    budget: Budget
    room: Room
    patience: Patience
    clock: Clock
    spans: bool
    url_template: str


class FromHost:
    """Takes videos that are there, and downloads the others.

    Args:
        run: this run of the rank.
        means: what it downloads with.
    """

    def __init__(self, run: RankRun, means: Means) -> None:
        self._run = run
        self._means = means
        self._youtube = is_youtube(means.url_template)
        self._put_off: Counter[str] = Counter()

    def bring(self, video: Video, due: list[Track]) -> Path | None:
        """Return the video's file, downloaded if it is not there or known to be damaged.

        Raises:
            TryLaterError: the host throttles us, or the storage is full.
            LacksError: no way to the host, or a downloader that is out of date.
        """
        run, video_id = self._run, video.video_id
        path = self._sound_source(video, due)
        if path is not None or self._waits(video_id, len(due)):
            return path
        if not self._means.room.patient(lambda: run.fence.claim("download", video_id)):
            run.put_off.append((video, due))
            return None
        try:
            # Whoever had the lease until now may have brought it.
            return self._sound_source(video, due) or self._fetch(video, due)
        finally:
            run.fence.release("download", video_id)

    def _sound_source(self, video: Video, due: Sequence[Track]) -> Path | None:
        path = find_source(self._run.layout, video.video_id, due)
        track_ids = [track.track_id for track in due]
        work = self._run.worklist
        if path is None or work.source_is_bad(video.video_id, track_ids, path):
            return None
        return path

    def _waits(self, video_id: str, clips: int) -> bool:
        """Say whether it is too early to ask for a video again; count its clips then."""
        run = self._run
        entry = run.worklist.ledger.videos.get(video_id)
        if entry is None or entry.state != "failed" or entry.reason in run.worklist.retry:
            return False
        if next_try_after(entry.reason, entry.tries, entry.time) <= self._means.clock.time():
            return False
        run.summary.video(f"{entry.reason}, not asked again yet")
        run.summary.not_cut(entry.reason, clips)
        return True

    def _fetch(self, video: Video, due: list[Track]) -> Path | None:
        means, video_id = self._means, video.video_id
        needed = max((float(track.frame_ts.max()) for track in due), default=0.0)
        spans = spans_of(due) if means.spans else ()
        means.budget.ask(let_go=self._run.sink.flush)
        try:
            turn = self._turn()
            downloader = means.downloader_of(turn.proxy)
            came = means.room.patient(lambda: downloader.fetch(video_id, needed, spans))
        except DownloadError as error:
            means.budget.dropped()
            turn.pace.note(
                outcome_of(error, self._youtube),
                video_id,
                retry_after_seconds=error.retry_after_seconds,
            )
            self._not_brought(video, due, error)
            return None
        except ItemError as error:
            means.budget.dropped()
            self._failed(video_id, len(due), error.reason, error.message)
            return None
        means.budget.came(came.bytes)
        turn.pace.note(Outcome.OK, video_id)
        self._brought(came)
        return came.path

    def _turn(self) -> Turn:
        """Return when a request may go out; try first, where asked to, what worked before."""
        while True:
            turn = self._means.rotation.take(self._means.patience)
            if turn.probe is None:
                return turn
            logger.info("downloads fail for everybody; trying {}, which worked before", turn.probe)
            try:
                self._means.downloader_of(turn.proxy).ask(turn.probe)
            except DownloadError as error:
                turn.pace.note(outcome_of(error, self._youtube), turn.probe)
            else:
                turn.pace.note(Outcome.OK, turn.probe)

    def _brought(self, came: DownloadedVideo) -> None:
        run = self._run
        run.summary.video("downloaded")
        run.summary.fetched(came.fetched_bytes or came.bytes, came.whole_bytes or came.bytes)
        entry = run.ledger.video(
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
            fps=came.fps,
            upload_date=came.upload_date,
            ranges=came.ranges,
            fetched_bytes=came.fetched_bytes,
            whole_bytes=came.whole_bytes,
            note=came.note,
        )
        run.worklist.ledger.add(entry)

    def _not_brought(self, video: Video, due: list[Track], error: DownloadError) -> None:
        video_id = video.video_id
        if error.reason == "offline":
            raise LacksError(
                f"cannot reach the host of video {video_id} from this machine ({error.message}); "
                "run where there is a way out (docs/slurm.md says how to download on a transfer "
                "node), or set [download] proxy"
            ) from error
        if error.reason in PUT_OFF and not self._put_off[video_id]:
            self._put_off[video_id] += 1
            logger.info("video {}: {} ({}); once more later", video_id, error.reason, error.message)
            self._run.put_off.append((video, due))
            return
        self._failed(video_id, len(due), error.reason, error.message)

    def _failed(self, video_id: str, clips: int, reason: str, message: str) -> None:
        run, now = self._run, self._means.clock.time()
        before = run.worklist.ledger.videos.get(video_id)
        tries, since = _history(before, reason, now)
        settled = settle(reason, [Look(since, reason)], now)
        run.ledger.video(
            video_id, "failed", reason=settled, message=message, clips=clips, tries=tries,
            since=since,
        )  # fmt: skip
        again = next_try_after(settled, tries, now)
        when = f"; asked again after {local_text(again)}" if now < again < float("inf") else ""
        logger.warning("video {}: {} ({}){}", video_id, settled, message, when)
        run.summary.video(settled)
        run.summary.not_cut(settled, clips)


def _history(before: VideoEntry | None, reason: str, now: float) -> tuple[int, float]:
    """Return how many runs in a row gave this reason, this one included, and since when."""
    if before is None or before.state != "failed" or before.reason != reason:
        return 1, now
    return max(1, before.tries) + 1, before.since or before.time
