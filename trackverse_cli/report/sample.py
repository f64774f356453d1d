"""Which clips are shown: a few of each class, the same ones on every machine, in little memory."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING
from zlib import crc32

if TYPE_CHECKING:
    from trackverse_cli.findings import Clip

OF_A_CLASS = 12
"""Clips of one class that are shown at most."""


class Few:
    """Keeps the clips whose hash is smallest, however many come.

    Args:
        limit: how many.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._heap: list[tuple[int, str, str, Clip]] = []

    def add(self, clip: Clip) -> None:
        """Take one clip."""
        rank = -crc32(f"{clip.video_id} {clip.track_id}".encode("utf-8", "replace"))
        if len(self._heap) < self._limit:
            heapq.heappush(self._heap, (rank, clip.video_id, clip.track_id, clip))
        elif self._heap and rank > self._heap[0][0]:
            heapq.heapreplace(self._heap, (rank, clip.video_id, clip.track_id, clip))

    def clips(self) -> list[Clip]:
        """Return what was kept, in the order of the hash."""
        return [one[3] for one in sorted(self._heap, key=lambda one: (-one[0], *one[1:3]))]


class Sample:
    """Keeps some clips of some classes.

    With more classes than clips, the classes whose hash is smallest are shown with one clip each.

    Args:
        limit: how many clips in all.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._classes: dict[str, Few] = {}
        self._order: list[tuple[int, str]] = []

    def add(self, clip: Clip) -> None:
        """Take one clip."""
        few = self._classes.get(clip.label)
        if few is None:
            few = self._enter(clip.label)
        if few is not None:
            few.add(clip)

    def _enter(self, label: str) -> Few | None:
        rank = -crc32(label.encode("utf-8", "replace"))
        if len(self._order) >= self._limit:
            if not self._order or (rank, label) <= self._order[0]:
                return None
            _, gone = heapq.heapreplace(self._order, (rank, label))
            del self._classes[gone]
        else:
            heapq.heappush(self._order, (rank, label))
        few = self._classes[label] = Few(min(OF_A_CLASS, self._limit))
        return few

    def by_class(self) -> dict[str, list[Clip]]:
        """Return class -> its clips, dealt out evenly; classes by name."""
        kept = {label: self._classes[label].clips() for label in sorted(self._classes)}
        left = self._limit
        dealt: dict[str, list[Clip]] = {label: [] for label in kept}
        for place in range(OF_A_CLASS):
            for label, clips in kept.items():
                if left and place < len(clips):
                    dealt[label].append(clips[place])
                    left -= 1
        return {label: clips for label, clips in dealt.items() if clips}
