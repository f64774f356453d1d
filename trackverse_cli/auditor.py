"""Looks at every clip and video of a catalogue, in order, as closely as asked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trackverse_cli.ahead import in_order
from trackverse_cli.checked import Checked, Stamp
from trackverse_cli.errors import ItemError
from trackverse_cli.files import checksum
from trackverse_cli.findings import Clip, ClipFinding, VideoFinding
from trackverse_cli.ledger import ClipRecord
from trackverse_cli.listed import ListedWorklist
from trackverse_cli.outputs import Place, ShardIndex, check_member
from trackverse_cli.probe import ClipFacts, Level, check_clip, check_video
from trackverse_cli.reasons import HELD
from trackverse_cli.recipe import ORIGINAL
from trackverse_cli.worklist import COMPLETE, State, Verdict, not_there

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from trackverse_cli.catalog import Catalog
    from trackverse_cli.layout import Layout
    from trackverse_cli.ledger import LedgerState

VIDEOS_AT_ONCE = 2048
"""Videos whose clips are listed at once, which bounds memory."""

AHEAD = 16
"""Files that wait for each worker, so that none is idle while the results are taken in order."""


@dataclass(frozen=True, slots=True)
class _Video:
    row: int
    video_id: str


_Looked = tuple[ClipFinding | Verdict | None, Stamp | None]


class Auditor:
    """Judges clips and videos.

    Args:
        catalog: what is to be there.
        layout: the dataset folder.
        ledger: what all runs recorded.
        recipe: how clips are to be cut.
        level: how closely to look.
        checked: what an earlier, interrupted run found sound, or None.
        needs_frames: whether every whole clip's frames have to be known.
    """

    def __init__(
        self,
        catalog: Catalog,
        layout: Layout,
        ledger: LedgerState,
        recipe: str,
        level: Level,
        checked: Checked | None,
        needs_frames: bool,
        retry: frozenset[str] = frozenset(),
    ) -> None:
        self._catalog = catalog
        self._level = level
        self._checked = checked
        self._needs_frames = needs_frames
        self._layout = layout
        self._work = ListedWorklist(layout, ledger, recipe, retry, ShardIndex.load(layout))

    def look(self, rows: NDArray[np.int64], workers: int) -> Iterator[ClipFinding | VideoFinding]:
        """Yield what was found of each clip, and after a video's clips of the video.

        Args:
            rows: the videos, ascending.
            workers: threads that look at files.
        """
        # Listings answer at once, threads would only cost.
        threads = 0 if self._level is Level.PRESENCE else workers
        of_video: list[Verdict] = []
        looked = in_order(
            self._look_at, self._items(rows), threads, "verify", ahead=AHEAD, waits=False
        )
        for item, (found, stamp) in looked:
            if isinstance(found, ClipFinding):
                of_video.append(found.verdict)
                yield found
            elif isinstance(item, _Video):
                verdict = found or self._absent(item.video_id, of_video)
                known = self._work.is_known_damaged(item.video_id)
                is_damaged = verdict.state is State.DAMAGED
                to_mend = is_damaged or (known and found is not None)
                yield VideoFinding(item.row, verdict, is_damaged and not known, to_mend)
                of_video = []
            if stamp is not None and self._checked is not None:
                self._checked.add(stamp)

    def is_adopted(self, clip: Clip) -> bool:
        """Say whether another program cut a clip that is complete, and `adopt` took it over."""
        record = self._work.ledger.clips.get((clip.video_id, clip.track_id))
        return record is not None and record.recipe == ORIGINAL

    def _items(self, rows: NDArray[np.int64]) -> Iterator[Clip | _Video]:
        ids = self._catalog.video_ids
        for begin in range(0, len(rows), VIDEOS_AT_ONCE):
            some = rows[begin : begin + VIDEOS_AT_ONCE]
            clips: dict[int, list[Clip]] = {row: [] for row in some.tolist()}
            for table in self._catalog.clips(some):
                for clip in _clips_of(table):
                    clips[clip.row].append(clip)
            for row, own in clips.items():
                yield from own
                yield _Video(row, ids[row])

    def _look_at(self, item: Clip | _Video) -> _Looked:
        return self._clip(item) if isinstance(item, Clip) else self._video(item)

    def _clip(self, clip: Clip) -> _Looked:
        name = (clip.video_id, clip.track_id)
        verdict = self._work.clip(*name, clip.clip_name)
        if verdict.state in (State.MISSING, State.UNRECOVERABLE):
            return self._contested(clip, verdict), None
        record = self._work.ledger.clips.get(name)
        frames = record.frames if record is not None else 0
        level = self._level
        if level is Level.PRESENCE:
            if frames or not self._needs_frames or verdict is not COMPLETE:
                return ClipFinding(clip, verdict, frames), None
            level = Level.PROBE
        if verdict.reason == "clip-damaged" and level < Level.CHECKSUM:
            # What a closer look found stands until as close a look says otherwise.
            return ClipFinding(clip, verdict), None
        path = self._layout.tracks / clip.clip_name
        place = None if path.exists() else self._work.place(*name)
        if record is None and place is None and level is Level.CHECKSUM:
            level = Level.DECODE  # a killed run left it, and its checksum is nowhere
        stamp = (
            Stamp.of(path if place is None else place.shard, " ".join(name))
            if self._checked is not None
            else None
        )
        is_known = stamp is not None and self._checked is not None and self._checked.holds(stamp)
        if is_known and verdict is COMPLETE and (frames or not self._needs_frames):
            return ClipFinding(clip, COMPLETE, frames), None
        try:
            facts = self._facts(path, place, name, record, level)
        except ItemError as error:
            if error.reason == "other-recipe" and verdict.reason in HELD | {"clip-damaged"}:
                return ClipFinding(clip, verdict), None  # `adopt` has said more
            return self._damaged(clip, error, record), None
        healed = None
        if verdict is not COMPLETE:
            digest = record.checksum if record is not None else ""
            digest = digest or (checksum(path) if place is None else place.checksum)
            healed = self._healed(facts, digest)
        return ClipFinding(clip, COMPLETE, facts.frames, healed=healed), stamp

    def _contested(self, clip: Clip, verdict: Verdict) -> ClipFinding:
        """Judge what lies in the place of a clip that is recorded as not to be had.

        It counts if it proves to be the clip, to its last frame; if not, what is recorded stands.
        """
        name = (clip.video_id, clip.track_id)
        contested = self._work.is_contested(*name, clip.clip_name)
        if self._level is Level.PRESENCE or not contested:
            return ClipFinding(clip, verdict)
        path = self._layout.tracks / clip.clip_name
        record = self._work.ledger.clips.get(name)
        try:
            facts = self._facts(path, None, name, record, Level.DECODE)
        except ItemError:
            return ClipFinding(clip, verdict)
        healed = self._healed(facts, checksum(path))
        return ClipFinding(clip, COMPLETE, facts.frames, healed=healed)

    def _healed(self, facts: ClipFacts, digest: str) -> ClipRecord:
        recipe = self._work.recipe if facts.origin is not None else ORIGINAL
        return ClipRecord(recipe, facts.frames, facts.bytes, digest)

    def _facts(
        self,
        path: Path,
        place: Place | None,
        name: tuple[str, str],
        record: ClipRecord | None,
        level: Level,
    ) -> ClipFacts:
        """Check a clip in its file, or in its shard; raises ItemError."""
        if place is not None:
            return check_member(place, *name, self._work.recipe, record, level)
        return check_clip(path, *name, self._work.recipe, record, level)

    def _damaged(self, clip: Clip, error: ItemError, record: ClipRecord | None) -> ClipFinding:
        known = self._work.ledger.failures.get((clip.video_id, clip.track_id))
        told = known is not None and known.reason == error.reason
        # A record of another recipe says as much as a line about it would.
        told = told or (error.reason == "other-recipe" and record is not None)
        verdict = Verdict(State.DAMAGED, error.reason, error.message)
        return ClipFinding(clip, verdict, is_news=not told)

    def _video(self, video: _Video) -> _Looked:
        path = self._work.video(video.video_id)
        if path is None:
            return None, None
        if self._level is Level.PRESENCE:
            return COMPLETE, None
        stamp = Stamp.of(path, video.video_id) if self._checked is not None else None
        if stamp is not None and self._checked is not None and self._checked.holds(stamp):
            return COMPLETE, None
        entry = self._work.ledger.videos.get(video.video_id)
        try:
            check_video(path, self._level, entry.checksum if entry is not None else "")
        except ItemError as error:
            return Verdict(State.DAMAGED, error.reason, error.message), None
        return COMPLETE, stamp

    def _absent(self, video_id: str, clips: list[Verdict]) -> Verdict:
        """Judge a video that is not on disk by its clips and by what became of it."""
        entry = self._work.ledger.videos.get(video_id)
        if clips and not any(verdict.due for verdict in clips):
            evicted = entry is not None and entry.state == "evicted"
            if evicted or all(verdict.state is State.COMPLETE for verdict in clips):
                return COMPLETE
        if entry is not None and entry.state == "failed":
            return not_there(entry.reason, entry.message)
        return not_there("video-missing")


def _clips_of(table: Any) -> Iterator[Clip]:
    columns = ("video_row", "video_id", "track_id", "clip_name")
    values = [table[name].to_pylist() for name in columns]
    values.append(table["label_name"].fill_null("").to_pylist())
    for one in zip(*values, strict=True):
        yield Clip(*one)
