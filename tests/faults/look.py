"""A dataset folder at one moment: what is recorded, and which files are there."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from trackverse_cli.files import checksum
from trackverse_cli.layout import Layout
from trackverse_cli.ledger import ClipRecord, LedgerState, read_ledger

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.faults.box import Box

Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A dataset folder at one moment.

    Attributes:
        clips: (video, track) -> its newest record.
        videos: video -> the state of its newest record.
        failures: tracks that could not be cut.
        files: path of every sound clip, video and shard, relative -> (mtime in ns, checksum).
        elsewhere: path of every clip and video in another root, relative to the box -> checksum.
    """

    clips: dict[Key, ClipRecord]
    videos: dict[str, str]
    failures: frozenset[Key]
    files: dict[str, tuple[int, str]]
    elsewhere: dict[str, str] = field(default_factory=dict)


def snapshot(box: Box) -> Snapshot:
    """Look at a dataset folder."""
    layout = Layout(box.root)
    ledger = read_ledger(layout)
    files = {
        str(path.relative_to(box.root)): (path.stat().st_mtime_ns, checksum(path))
        for path in published(layout)
    }
    videos = {video_id: entry.state for video_id, entry in ledger.videos.items()}
    return Snapshot(records(ledger), videos, frozenset(ledger.failures), files, elsewhere(box))


def elsewhere(box: Box) -> dict[str, str]:
    """Return every clip and video in another root, relative to the box -> checksum."""
    return {
        str(path.relative_to(box.folder)): checksum(path)
        for path in published(Layout(box.folder / "elsewhere" / "root"))
    }


def records(ledger: LedgerState) -> dict[Key, ClipRecord]:
    """Return the newest record of every clip."""
    found = {}
    for video_id in ledger.clips.videos():
        for track_id, (_, record) in ledger.clips.of_video(video_id).items():
            found[video_id, track_id] = record
    return found


def published(layout: Layout) -> Iterator[Path]:
    """Yield every file in sight below the folders of clips and videos."""
    for top in (layout.tracks, layout.videos):
        for path in sorted(top.rglob("*")):
            hidden = any(part.startswith(".") for part in path.relative_to(top).parts)
            if path.is_file() and not hidden:
                yield path
