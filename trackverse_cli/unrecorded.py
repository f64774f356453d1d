"""Whole clips that no run recorded, and who may record them now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trackverse_cli.ledger import read_ledger

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trackverse_cli.clock import Clock
    from trackverse_cli.fence import Fence
    from trackverse_cli.ledger import ClipRecord, Ledger
    from trackverse_cli.metadata import Track
    from trackverse_cli.worklist import Worklist

YOUNG_SECONDS = 3600.0
"""A file this old when a run looks has been recorded by whoever made it, or never will be."""


class Unrecorded:
    """Takes over clips that a killed run left, or that one at work has not come to recording.

    Only who holds the video's lease can tell these apart, by the ledger as it is by then.

    Args:
        worklist: what was done and due when this run looked.
        ledger: this run's own record.
        fence: keeps other runs off what this one is at.
        clock: what to take the time from.
    """

    def __init__(self, worklist: Worklist, ledger: Ledger, fence: Fence, clock: Clock) -> None:
        self._ledger = ledger
        self._fence = fence
        self._clock = clock
        self.look(worklist)

    def look(self, worklist: Worklist) -> None:
        """Go on with another look at the disk and the ledger."""
        self._worklist = worklist
        self._looked = self._clock.time()
        self._unsettled: set[str] = set()

    def is_settled(self, video_id: str) -> bool:
        """Say whether no clip of a video had to be left to another run since the last look."""
        return video_id not in self._unsettled

    def take_over(self, found: Sequence[tuple[Track, ClipRecord]]) -> list[Track]:
        """Record whole clips of one video; return those that cannot be recorded yet: all or none.

        Raises:
            OSError: the disk refused the lease or the record.
        """
        if not found:
            return []
        video_id = found[0][0].video_id
        if not self._fence.claim("cut", video_id):
            self._unsettled.add(video_id)
            return [track for track, _ in found]
        known = self._worklist.ledger
        if any(self._is_young(track) for track, _ in found):
            known = read_ledger(self._worklist.layout, video_id.__eq__)
        lines = [
            (track.track_id, record.frames, record.bytes, record.checksum)
            for track, record in found
            if (video_id, track.track_id) not in known.clips
        ]
        if lines:
            self._ledger.clips(video_id, self._worklist.recipe, lines)
        self._fence.release("cut", video_id)
        return []

    def _is_young(self, track: Track) -> bool:
        """Say whether a clip may have come since this run looked."""
        try:
            came = self._worklist.layout.clip(track.clip_name).stat().st_mtime
        except OSError:
            return True  # in a shard
        return came > self._looked - YOUNG_SECONDS
