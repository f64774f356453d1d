"""What came of one video."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from trackverse_cli.adopting.counts import LeftOut
from trackverse_cli.adopting.judge import MisfitError

if TYPE_CHECKING:
    from pathlib import Path

    from trackverse_cli.errors import ItemError


@dataclass(slots=True)
class Outcome:
    """What came of one video.

    Attributes:
        clips: clips by outcome, the words of `Adopted`.
        videos: likewise.
        left_out: what was not adopted.
        recipes: recipe -> (track id, frames, bytes, checksum) to be recorded.
        failed: (track id, reason, message) to be recorded.
        marked: clips that are to be cut again.
        unproven: adopted clips that no video was there for.
        came: what to record of the video, if it was adopted.
        sources: files of the other folder that are safe here once all this is recorded.
        bytes: of what was adopted.
        how: how it came.
    """

    clips: Counter[str] = field(default_factory=Counter)
    videos: Counter[str] = field(default_factory=Counter)
    left_out: list[LeftOut] = field(default_factory=list)
    recipes: dict[str, list[tuple[str, int, int, str]]] = field(default_factory=dict)
    failed: list[tuple[str, str, str]] = field(default_factory=list)
    marked: int = 0
    unproven: int = 0
    came: dict[str, Any] | None = None
    sources: list[Path] = field(default_factory=list)
    bytes: int = 0
    how: Counter[str] = field(default_factory=Counter)

    def leave_clip(self, clip_name: str, error: ItemError) -> None:
        """Count and name a clip that is not adopted."""
        numbers = (error.frames, error.expected) if isinstance(error, MisfitError) else ()
        self.clips["left_out"] += 1
        self.left_out.append(LeftOut(clip_name, error.reason, error.message, *numbers))

    def leave_video(self, video_id: str, error: ItemError) -> None:
        """Count and name a video that is not adopted."""
        self.videos["left_out"] += 1
        self.left_out.append(LeftOut(video_id, error.reason, error.message))
