"""One item's whole story: what it is, what is on disk, what every run wrote, what is next."""

from __future__ import annotations

from trackverse_cli.story.parts import (
    SCHEMA_VERSION,
    ClipStory,
    LedgerLine,
    OnDisk,
    Standing,
    Story,
    VideoStory,
)
from trackverse_cli.story.tell import next_step, tell

__all__ = [
    "SCHEMA_VERSION",
    "ClipStory",
    "LedgerLine",
    "OnDisk",
    "Standing",
    "Story",
    "VideoStory",
    "next_step",
    "tell",
]
