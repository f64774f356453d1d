"""What a report wants to know beyond the counts of an audit, gathered while it goes on."""

from __future__ import annotations

from array import array
from collections import Counter
from typing import TYPE_CHECKING

from trackverse_cli.findings import Clip, ClipFinding, Tally, VideoFinding
from trackverse_cli.report.sample import Few, Sample
from trackverse_cli.shards import assign
from trackverse_cli.worklist import State, Verdict

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from trackverse_cli.catalog import Catalog
    from trackverse_cli.ledger import LedgerState

DAMAGED_SHOWN = 12
"""Damaged clips that are shown at most."""


class Collector:
    """Watches an audit (`audit.Watcher`).

    Args:
        world_size: how many shards to tell apart.
        pictured: how many clips are to be shown with pictures.

    Attributes:
        shards: shard -> its clips, without refused lines.
        video_reasons: (state, reason) -> videos that are not complete for it.
        clip_times: of complete clips, when each was recorded, in seconds since 1970.
        video_times: the same of videos that came.
        sample: complete clips to show.
        verdicts: (video id, track id) -> what was found of damaged clips that are to be shown.
    """

    def __init__(self, world_size: int, pictured: int) -> None:
        self.world_size = world_size
        self.shards: dict[int, Tally] = {}
        self.video_reasons: Counter[tuple[State, str]] = Counter()
        self.clip_times = array("d")
        self.video_times = array("d")
        self.sample = Sample(pictured)
        self.verdicts: dict[tuple[str, str], Verdict] = {}
        self._damaged = Few(min(DAMAGED_SHOWN, pictured))
        self._ranks: NDArray[np.int64]
        self._catalog: Catalog
        self.ledger: LedgerState

    def begin(self, catalog: Catalog, ledger: LedgerState) -> None:
        """Take what is expected and what is recorded."""
        self._catalog, self.ledger = catalog, ledger
        self._ranks = assign(catalog.costs, self.world_size)

    def take(self, one: ClipFinding | VideoFinding) -> None:
        """Take one finding."""
        if isinstance(one, VideoFinding):
            self._take_video(one)
            return
        clip, state = one.clip, one.verdict.state
        rank = int(self._ranks[clip.row])
        if rank not in self.shards:
            self.shards[rank] = Tally()
        self.shards[rank].states[state] += 1
        if state is State.COMPLETE:
            self.sample.add(clip)
            recorded = self.ledger.clips.of_video(clip.video_id).get(clip.track_id)
            if recorded is not None:
                self.clip_times.append(recorded[0])
        elif state is State.DAMAGED:
            self._damaged.add(clip)
            self.verdicts[clip.video_id, clip.track_id] = one.verdict
            self._forget()

    def _take_video(self, one: VideoFinding) -> None:
        if one.verdict.state is not State.COMPLETE:
            self.video_reasons[one.verdict.state, one.verdict.reason] += 1
        entry = self.ledger.videos.get(self._catalog.video_ids[one.row])
        if entry is not None and entry.state != "failed":
            self.video_times.append(entry.time)

    def _forget(self) -> None:
        """Let go of the words on damaged clips that will not be shown."""
        if len(self.verdicts) > 64 * DAMAGED_SHOWN:
            kept = {(clip.video_id, clip.track_id) for clip in self._damaged.clips()}
            self.verdicts = {key: one for key, one in self.verdicts.items() if key in kept}

    def damaged(self) -> list[Clip]:
        """Return the damaged clips to show."""
        return self._damaged.clips()
