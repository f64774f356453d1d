"""What is done and what is due: the index held against the ledger and the disk.

Whether an item is done hangs on the item (video, track, recipe), never on rank or world size.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from trackverse_cli.errors import ItemError, RefusedNameError
from trackverse_cli.ledger import ClipRecord
from trackverse_cli.reasons import HELD, UNRECOVERABLE
from trackverse_cli.recipe import fits

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from trackverse_cli.layout import Layout
    from trackverse_cli.ledger import LedgerState, TrackEntry
    from trackverse_cli.outputs import Place, ShardIndex

CLIP_FAULTS = ("clip-damaged", "other-recipe", *sorted(HELD))
"""Reasons that a check of a clip gives, not the attempt to cut one."""


class State(StrEnum):
    """Where a clip or a video stands; the words of `verify --json`."""

    COMPLETE = "complete"
    MISSING = "missing"
    DAMAGED = "damaged"
    UNRECOVERABLE = "unrecoverable"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The state of one item, with the reason and sentence if it is not complete."""

    state: State
    reason: str = ""
    message: str = ""

    @property
    def due(self) -> bool:
        """Whether another try may win it, and is to be made."""
        return self.state in (State.MISSING, State.DAMAGED) and self.reason not in HELD


COMPLETE = Verdict(State.COMPLETE)


def not_there(reason: str, message: str = "") -> Verdict:
    """Return the verdict on an item that is not there for a reason."""
    state = State.UNRECOVERABLE if reason in UNRECOVERABLE else State.MISSING
    return Verdict(state, reason, message)


@dataclass(slots=True)
class Worklist:
    """Answers for one dataset folder and recipe, with as few calls to the disk as it takes.

    Attributes:
        layout: the dataset folder.
        ledger: what all runs recorded.
        recipe: how clips are to be cut.
        retry: reasons that are tried again though they would not be.
        shards: what the tar shards hold, None where there are none.
    """

    layout: Layout
    ledger: LedgerState
    recipe: str
    retry: frozenset[str] = frozenset()
    shards: ShardIndex | None = None
    _listings: dict[Path, frozenset[str]] = field(default_factory=dict)
    _videos: dict[str, Path] | None = None

    def listed(self, path: Path) -> bool:
        """Say whether a file was in its folder's listing, read once."""
        if path.parent not in self._listings:
            try:
                names = frozenset(os.listdir(path.parent))  # noqa: PTH208 - names, not a million Paths
            except OSError:
                names = frozenset()
            self._listings[path.parent] = names
        return path.name in self._listings[path.parent]

    def video(self, video_id: str) -> Path | None:
        """Return where a video was when the folder was listed, or None."""
        if self._videos is None:
            # As for `find_video`: the two-character layout wins, and a whole file over stretches.
            listed = list(self.layout.listed_videos())
            whole = [(i, p) for i, p in listed if not p.stem.endswith(".ranges")]
            deep = {i: p for i, p in whole if p.parent != self.layout.videos}
            self._videos = dict(listed) | dict(whole) | deep
        return self._videos.get(video_id)

    def clip(self, video_id: str, track_id: str, clip_name: str) -> Verdict:
        """Judge one clip by the ledger and the directory listing alone."""
        key = (video_id, track_id)
        failure = self.ledger.failures.get(key)
        try:
            path = self.layout.clip(clip_name)
        except RefusedNameError as error:
            return Verdict(State.UNRECOVERABLE, "refused-name", str(error))
        if self.listed(path):
            if failure is not None and failure.reason in CLIP_FAULTS:
                again = failure.reason in HELD & self.retry
                reason = "clip-damaged" if again else failure.reason
                return Verdict(State.DAMAGED, reason, failure.message)
            if failure is not None and self.is_contested(video_id, track_id, clip_name):
                return self._not_there(failure.reason, failure.message)
            record = self.ledger.clips.get(key)
            if record is not None and not fits(record.recipe, self.recipe):
                told = f"{path} was cut with recipe {record.recipe}"
                return Verdict(State.DAMAGED, "other-recipe", told)
            return COMPLETE
        return self._absent(video_id, track_id)

    def is_contested(self, video_id: str, track_id: str, clip_name: str) -> bool:
        """Say whether a file lies in the place of a clip that is recorded as not to be cut.

        It counts only if a closer look proves it to be the clip.
        """
        failure = self.ledger.failures.get((video_id, track_id))
        if failure is None or not self._counts(failure, self.video(video_id)):
            return False
        try:
            return self.listed(self.layout.clip(clip_name))
        except RefusedNameError:
            return False

    def place(self, video_id: str, track_id: str) -> Place | None:
        """Return where a clip stands in a shard, or None."""
        return None if self.shards is None else self.shards.find(video_id, track_id)

    def _absent(self, video_id: str, track_id: str) -> Verdict:
        place = self.place(video_id, track_id)
        if place is None:
            return self._nowhere(video_id, track_id)
        from trackverse_cli.outputs.judge import judge_listed

        return judge_listed(place, video_id, track_id, self.recipe, self.ledger)

    def _nowhere(self, video_id: str, track_id: str) -> Verdict:
        failure = self.ledger.failures.get((video_id, track_id))
        source = self.video(video_id)
        if failure is not None and self._counts(failure, source):
            return self._not_there(failure.reason, failure.message)
        if source is not None:
            return not_there("not-cut")
        entry = self.ledger.videos.get(video_id)
        if entry is not None and entry.state == "failed":
            return self._not_there(entry.reason, entry.message)
        return not_there("video-missing" if entry is not None else "not-tried")

    def _not_there(self, reason: str, message: str) -> Verdict:
        if reason in self.retry:
            return Verdict(State.MISSING, reason, message)
        return not_there(reason, message)

    def _counts(self, failure: TrackEntry, source: Path | None) -> bool:
        """Say whether a failed cut says something about the next: same recipe, same video."""
        if failure.reason in CLIP_FAULTS or failure.recipe != self.recipe:
            return False
        return source is None or failure.source_bytes in (0, source.stat().st_size)

    def source_is_bad(self, video_id: str, track_ids: Sequence[str], source: Path) -> bool:
        """Say whether a check or a cut has already failed because this very file is damaged."""
        if self.is_known_damaged(video_id):
            return True
        failures = [self.ledger.failures.get((video_id, track_id)) for track_id in track_ids]
        return any(
            failure is not None
            and failure.reason == "video-damaged"
            and self._counts(failure, source)
            for failure in failures
        )

    def is_known_damaged(self, video_id: str) -> bool:
        """Say whether a video was on disk when a check found it damaged, and none came since."""
        entry = self.ledger.videos.get(video_id)
        return entry is not None and (entry.state, entry.reason) == ("failed", "video-damaged")

    def has_changed(self, video_id: str, source: Path) -> bool:
        """Say whether a video has another checksum than it came with, where that is recorded."""
        from trackverse_cli.files import checksum

        entry = self.ledger.videos.get(video_id)
        if entry is None or not entry.checksum:
            return False
        try:
            return checksum(source) != entry.checksum
        except OSError:
            return False  # whoever decodes it meets that as well

    def is_due(self, video_id: str, track_id: str, clip_name: str) -> bool:
        """Say whether a clip has to be cut; unlike `clip`, look at the file's size as well."""
        verdict = self.clip(video_id, track_id, clip_name)
        if verdict.state is not State.COMPLETE:
            return verdict.due
        record = self.ledger.clips.get((video_id, track_id))
        if record is None:
            return True
        if not self.listed(self.layout.clip(clip_name)):
            return False  # in a shard, whose length has been looked at
        try:
            return self.layout.clip(clip_name).stat().st_size != record.bytes
        except OSError:
            return True

    def adopted(self, video_id: str, track_id: str, clip_name: str) -> ClipRecord | None:
        """Return a record of a whole clip of this recipe that a killed run left unrecorded."""
        from trackverse_cli.files import checksum
        from trackverse_cli.probe import Level, check_clip

        path = self.layout.clip(clip_name)
        if (video_id, track_id) in self.ledger.clips:
            return None
        if not self.listed(path):
            place = self.place(video_id, track_id)
            if place is None:
                return None
            return ClipRecord(place.recipe, place.frames, place.size, place.checksum)
        try:
            facts = check_clip(path, video_id, track_id, self.recipe, None, Level.PROBE)
        except ItemError:
            return None
        return ClipRecord(self.recipe, facts.frames, facts.bytes, checksum(path))
