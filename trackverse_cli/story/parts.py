"""What a story is made of."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True)
class OnDisk:
    """A file, or a stretch of a tar shard.

    Attributes:
        kind: `video`, `ranges`, `clip` or `shard`.
        path: relative to the dataset folder.
        bytes: the size of the file, or of the clip in the shard.
        offset: where the clip begins in the shard, None for a file.
        matches: whether its checksum is the recorded one; None where none is recorded.
    """

    kind: str
    path: str
    bytes: int
    offset: int | None
    matches: bool | None


@dataclass(frozen=True, slots=True)
class Standing:
    """Where an item stands: the words of `verify`, the reason's meaning, and the ledger's words."""

    state: str
    reason: str
    meaning: str
    message: str


@dataclass(frozen=True, slots=True)
class ClipStory:
    """One track, its clip, and what metadata says of it."""

    track_id: str
    clip_name: str
    selected: bool
    standing: Standing
    boxes: int
    first_ts: float
    last_ts: float
    label_ids: tuple[int, ...]
    labels: tuple[str, ...]
    video_size: tuple[int, int] | None
    files: tuple[OnDisk, ...]


@dataclass(frozen=True, slots=True)
class LedgerLine:
    """One line about the item: when, who wrote it, what it says."""

    time: str
    run: str
    job: str
    host: str
    stage: str
    rank: int
    world_size: int
    file: str
    line: dict[str, Any]


@dataclass(frozen=True, slots=True)
class VideoStory:
    """A video with the tracks that were asked for."""

    video_id: str
    rank: int
    world_size: int
    tracks: int
    standing: Standing
    files: tuple[OnDisk, ...]
    clips: tuple[ClipStory, ...]
    ledger: tuple[LedgerLine, ...]
    next: str


@dataclass(frozen=True, slots=True)
class Story:
    """What is known of an id or a clip's name; several videos where a track id stands in many."""

    asked: str
    kind: str
    metadata: str
    videos: tuple[VideoStory, ...]

    def to_json(self) -> dict[str, Any]:
        """Return what `show --json` prints."""
        return {"schema": SCHEMA_VERSION} | asdict(self)
