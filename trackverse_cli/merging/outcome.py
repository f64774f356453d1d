"""What came of one video, and which failures of the other root are worth knowing here."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from trackverse_cli.reasons import UNRECOVERABLE

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from trackverse_cli.checked import Stamp
    from trackverse_cli.ledger import ClipRecord, TrackEntry, VideoEntry
    from trackverse_cli.merging.donor import Donor
    from trackverse_cli.merging.own import Own
    from trackverse_cli.outputs import FinishedClip

ELSEWHERE = frozenset({"geo"})
"""Failures that are the other root's alone: it may lie in another country."""


@dataclass(slots=True)
class VideoOutcome:
    """What came of one video.

    Attributes:
        clips: clips by outcome, the words of `RootTally`.
        videos: likewise.
        left_out: (what, reason, message).
        finished: the clips that were brought; the sink may still hold them.
        recipes: recipe -> (track id, frames, bytes, checksum) to be recorded.
        sources: files of the other root that are here now, and safe with the clips.
        stamps: files here that were found sound.
        failed: failures to be recorded.
        came: what to record of the video, if it was brought.
        bytes: of what was brought.
        how: how it came.
    """

    clips: Counter[str] = field(default_factory=Counter)
    videos: Counter[str] = field(default_factory=Counter)
    left_out: list[tuple[str, str, str]] = field(default_factory=list)
    finished: list[FinishedClip] = field(default_factory=list)
    recipes: dict[str, list[tuple[str, int, int, str]]] = field(default_factory=dict)
    sources: list[Path] = field(default_factory=list)
    stamps: list[Stamp] = field(default_factory=list)
    failed: list[VideoEntry | TrackEntry] = field(default_factory=list)
    came: VideoEntry | None = None
    bytes: int = 0
    how: Counter[str] = field(default_factory=Counter)

    def record(self, track_id: str, clip: ClipRecord) -> None:
        """Have a clip written into the ledger."""
        done = self.recipes.setdefault(clip.recipe, [])
        done.append((track_id, clip.frames, clip.bytes, clip.checksum))


def failures_to_carry(
    own: Own, donor: Donor, video_id: str, lacking: Sequence[str]
) -> list[VideoEntry | TrackEntry]:
    """Return what the other root knows to be gone for good and this one does not.

    Args:
        own: the root that takes.
        donor: the root that gives.
        video_id: of which video.
        lacking: its tracks that have no clip here.
    """
    found: list[VideoEntry | TrackEntry] = []
    if not lacking:
        return found
    gone, known = donor.ledger.videos.get(video_id), own.ledger.videos.get(video_id)
    if gone is not None and gone.state == "failed" and _is_final(gone.reason):
        settled = known is not None and (known.state != "failed" or _is_final(known.reason))
        if not settled and own.layout.find_video(video_id) is None:
            found.append(gone)
    for track_id in lacking:
        failure = donor.ledger.failures.get((video_id, track_id))
        told = own.ledger.failures.get((video_id, track_id))
        if failure is None or not _is_final(failure.reason) or failure.recipe != own.recipe:
            continue
        if told is None or not _is_final(told.reason):
            found.append(failure)
    return found


def _is_final(reason: str) -> bool:
    return reason in UNRECOVERABLE and reason not in ELSEWHERE
