"""What one run of one rank does with one video: judge, bring, cut, let go; and what it counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loguru import logger

from trackverse_cli.errors import ItemError, RefusedNameError
from trackverse_cli.extract import CutOutcome, PartlyCutError
from trackverse_cli.outputs import Arrivals, ShardIndex, check_member
from trackverse_cli.probe import Level, check_clip
from trackverse_cli.reasons import UNRECOVERABLE
from trackverse_cli.summary import RankSummary
from trackverse_cli.unrecorded import Unrecorded
from trackverse_cli.worklist import State, Worklist

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from trackverse_cli.budget import Room
    from trackverse_cli.catalog import Video
    from trackverse_cli.clips import ClipDone
    from trackverse_cli.clock import Clock
    from trackverse_cli.extract import Cutter
    from trackverse_cli.fence import Fence
    from trackverse_cli.ledger import ClipRecord, Ledger, LedgerState
    from trackverse_cli.metadata import Track
    from trackverse_cli.outputs import ClipSink


class RankRun:
    """One run of one rank.

    Args:
        worklist: what is done and due.
        ledger: this run's own record.
        fence: keeps other runs off what this one is at.
        room: waits for room when the storage is full.
        sink: where clips go.
        clock: what to take the time from.

    Attributes:
        summary: what it did so far.
        layout: the dataset folder.
        worklist: what is done and due, as of the last look.
        ledger: this run's own record.
        fence: keeps other runs off what this one is at.
        put_off: videos that another run was at, with their due tracks.
        absent: videos that were not on disk but may still come, likewise.
    """

    def __init__(
        self,
        worklist: Worklist,
        ledger: Ledger,
        fence: Fence,
        room: Room,
        sink: ClipSink,
        clock: Clock,
    ) -> None:
        self.summary = RankSummary()
        self.put_off: list[tuple[Video, list[Track]]] = []
        self.absent: list[tuple[Video, list[Track]]] = []
        self.layout = worklist.layout
        self.worklist = worklist
        self.ledger = ledger
        self.fence = fence
        self.sink = sink
        self._room = room
        self._arrivals = _arrivals_of(worklist)
        self._unrecorded = Unrecorded(worklist, ledger, fence, clock)

    def due_tracks(self, video: Video) -> list[Track]:
        """Return the selected tracks that have to be cut; count and record the others."""
        due, found = [], []
        for track in video.selected:
            name = (track.video_id, track.track_id, track.clip_name)
            verdict = self.worklist.clip(*name)
            may_be = verdict.state is State.COMPLETE or self.worklist.is_contested(*name)
            record = self.worklist.adopted(*name) if may_be else None
            if record is not None:
                found.append((track, record))
            elif self.worklist.is_due(*name):
                due.append(track)
            elif verdict.state is not State.COMPLETE:
                self.summary.count(verdict.reason, 1)
            else:
                self.summary.count("there before", 1)
        return due + self._take_over(found)

    def _take_over(self, found: Sequence[tuple[Track, ClipRecord]]) -> list[Track]:
        """Record whole clips that no run recorded; return those that cannot be yet."""
        left = self._unrecorded.take_over(found)
        if len(left) < len(found):
            self.summary.count("there before", len(found) - len(left))
        return left

    def refresh(self, ledger: LedgerState) -> None:
        """Look at the disk anew, and at what runs recorded of the videos that are left."""
        old = self.worklist
        shards = old.shards
        if shards is not None:
            shards = ShardIndex.load(
                self.layout, {v.video_id for v, _ in self.put_off + self.absent}
            )
        self.worklist = Worklist(self.layout, ledger, old.recipe, old.retry, shards)
        self.ledger.known = ledger
        self._arrivals = _arrivals_of(self.worklist)
        self._unrecorded.look(self.worklist)

    def is_here(self, video_id: str) -> bool:
        """Say whether a video was on disk at the last `refresh`."""
        return self.worklist.video(video_id) is not None

    def is_damaged_here(self, video_id: str) -> bool:
        """Say whether a video that is on disk has failed its check."""
        return self.worklist.is_known_damaged(video_id) and self.is_here(video_id)

    def still_due(self, due: Sequence[Track]) -> list[Track]:
        """Return those of the due tracks that no other run has cut or given up meanwhile."""
        left, found = [], []
        for track in due:
            name = (track.video_id, track.track_id, track.clip_name)
            if self.worklist.is_due(*name):
                record = self.worklist.adopted(*name)
                if record is None:
                    left.append(track)
                else:
                    found.append((track, record))
                continue
            verdict = self.worklist.clip(*name)
            self.summary.count(verdict.reason or "there before", 1)
        return left + self._take_over(found)

    def is_alive_elsewhere(self, video: Video) -> bool:
        """Say whether a run that is at a video has been seen to be alive."""
        fence, video_id = self.fence, video.video_id
        return any(fence.is_alive_elsewhere(work, video_id) for work in ("cut", "download"))

    def worked_before(self) -> str | None:
        """Return the id of a video of this rank that has come before, None if none has."""
        for video_id, entry in self.worklist.ledger.videos.items():
            if entry.state in ("present", "evicted"):
                return video_id
        return None

    def begin(self, video: Video, due: list[Track]) -> bool:
        """Return whether this run may cut clips of a video; if not, put it off.

        Raises:
            OSError: the disk refused the lease.
        """
        if self._room.patient(lambda: self.fence.claim("cut", video.video_id)):
            settled = self._unrecorded.is_settled(video.video_id)
            if settled and not any(self._has_come(track) for track in due):
                return True
            self.fence.release("cut", video.video_id)
        self.put_off.append((video, due))
        return False

    def _has_come(self, track: Track) -> bool:
        """Say whether a clip is there that was not when this run looked."""
        path = self.layout.clip(track.clip_name)
        if self._arrivals is not None and self._arrivals.holds(track.video_id):
            return True
        return not self.worklist.listed(path) and path.exists()

    def end(self, video: Video) -> None:
        """Let other runs at a video that `begin` took."""
        self.fence.release("cut", video.video_id)

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
        except BaseException:
            self.sink.when_safe(lambda: self.end(video))
            raise
        self.sink.when_safe(lambda: self._after(video, outcome, path, remove))
        self.sink.settle()

    def _after(self, video: Video, outcome: CutOutcome, path: Path, remove: bool) -> None:
        """Let go of a video all of whose clips are safe by now."""
        try:
            retryable = [reason for _, reason, _ in outcome.failed if reason not in UNRECOVERABLE]
            if remove and not retryable:
                self._evict(video, outcome, path)
        finally:
            self.end(video)

    def _cut(self, cutter: Cutter, video: Video, due: Sequence[Track], path: Path) -> CutOutcome:
        wanted = {track.track_id for track in due}
        source_bytes = path.stat().st_size
        size = self.worklist.ledger.source_sizes.get(video.video_id)

        doubt = ""
        if cutter.for_changed is not None and self.worklist.has_changed(video.video_id, path):
            doubt = f"its bytes have changed since it came, so {cutter.for_changed} decodes it"
            logger.warning("video {}: {}; it should be downloaded again", video.video_id, doubt)

        def attempt() -> CutOutcome:
            try:
                outcome = cutter.cut(
                    path, video.tracks, lambda t: t.track_id in wanted, size, doubt
                )
            except PartlyCutError as error:
                self._record_later(video.video_id, error.outcome, source_bytes)
                finished.extend(error.outcome.done)
                wanted.difference_update(clip.track_id for clip in error.outcome.done)
                raise error.cause from error
            self._record_later(video.video_id, outcome, source_bytes)
            return outcome

        finished: list[ClipDone] = []
        outcome = self._room.patient(attempt)
        return CutOutcome((*finished, *outcome.done), outcome.failed)

    def _record_later(self, video_id: str, outcome: CutOutcome, source_bytes: int) -> None:
        """Record an outcome once its clips are safe: for files that is at once."""
        self.sink.when_safe(lambda: self._record(video_id, outcome, source_bytes))
        self.sink.settle()

    def _record(self, video_id: str, outcome: CutOutcome, source_bytes: int) -> None:
        recipe = self.worklist.recipe
        if outcome.done:
            done = [
                (clip.track_id, clip.frames, clip.bytes, clip.checksum) for clip in outcome.done
            ]
            self.ledger.clips(video_id, recipe, done, outcome.note)
            self.summary.count("cut", len(done))
        for track_id, reason, message in outcome.failed:
            self.ledger.track(video_id, track_id, recipe, reason, message, source_bytes)
            logger.warning("track {} of video {}: {} ({})", track_id, video_id, reason, message)
            self.summary.not_cut(reason, 1)

    def _evict(self, video: Video, outcome: CutOutcome, path: Path) -> None:
        """Remove a video all of whose clips stand; those cut just now are opened once more."""
        names = {track.track_id: track.clip_name for track in video.tracks}
        try:
            for clip in outcome.done:
                check = (video.video_id, clip.track_id, self.worklist.recipe, None, Level.PROBE)
                if clip.finished.place is not None:
                    check_member(clip.finished.place, *check)
                else:
                    check_clip(self.layout.clip(names[clip.track_id]), *check)
            self.layout.check_own(path.parent)
        except (ItemError, RefusedNameError) as error:
            logger.warning("video {} stays: {}", video.video_id, error)
            return
        size = path.stat().st_size
        path.unlink()
        for other in (
            self.layout.find_video(video.video_id),
            self.layout.find_ranges(video.video_id),
        ):
            if other is not None:
                other.unlink(missing_ok=True)
        self.ledger.video(video.video_id, "evicted", bytes=size)
        self.summary.video("removed")


def _arrivals_of(worklist: Worklist) -> Arrivals | None:
    shards = worklist.shards
    return Arrivals(worklist.layout, shards) if shards is not None else None
