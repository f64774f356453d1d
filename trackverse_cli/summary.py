"""What one run of one rank counts."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, field

from trackverse_cli.reasons import UNRECOVERABLE


@dataclass(slots=True)
class RankSummary:
    """What one run of one rank did; several threads may count.

    Attributes:
        clips: clips by outcome: `cut`, `there before`, or the reason why not.
        videos: videos by outcome: `downloaded`, `removed`, or the reason why not.
        retryable: clips and videos that another run may win.
        fetched_bytes: what downloads brought.
        whole_bytes: what the whole videos would have been.
    """

    clips: Counter[str] = field(default_factory=Counter)
    videos: Counter[str] = field(default_factory=Counter)
    retryable: int = 0
    fetched_bytes: int = 0
    whole_bytes: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def exit_code(self) -> int:
        """0 if nothing is left that a retry could win, else 1."""
        return 1 if self.retryable else 0

    def count(self, outcome: str, clips: int) -> None:
        """Count clips that need nothing more from this run."""
        with self._lock:
            self.clips[outcome] += clips

    def not_cut(self, reason: str, clips: int) -> None:
        """Count clips that were not cut, for a reason."""
        with self._lock:
            self.clips[reason] += clips
            if reason not in UNRECOVERABLE:
                self.retryable += clips

    def fetched(self, fetched_bytes: int, whole_bytes: int) -> None:
        """Count what a download brought, of how much."""
        with self._lock:
            self.fetched_bytes += fetched_bytes
            self.whole_bytes += whole_bytes

    def video(self, outcome: str) -> None:
        """Count a video."""
        with self._lock:
            self.videos[outcome] += 1
