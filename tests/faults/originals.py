"""What the original scripts left: videos in both layouts, good clips, and one cut short."""

from __future__ import annotations

import gzip
import json
import shutil
from typing import TYPE_CHECKING, Any

from tests.faults.box import IDS, SOURCE
from tests.faults.workers import asked
from tests.original import Script

if TYPE_CHECKING:
    from pathlib import Path

    from tests.faults.box import Box

SHORT = 3
"""The track whose clip lacks its tail."""


def leave(box: Box, root: Path) -> None:
    """Make the folder that the scripts left, from a root that has its videos in `videos_mp4/`."""
    # Encoding starts threads, and this process must have none when it forks.
    asked(lambda: _cut(box, root), box.log.parent)
    flat = root / "videos_mp4" / f"{IDS[1]}.mp4"
    (root / "videos_mp4" / IDS[1][:2] / flat.name).rename(flat)
    (root / "downloaded.txt").write_text("".join(f"{video_id}\n" for video_id in IDS))


def _cut(box: Box, root: Path) -> None:
    text = gzip.decompress((box.folder / SOURCE).read_bytes())
    for number, line in enumerate(text.splitlines()):
        track: dict[str, Any] = json.loads(line)
        video_id = track["yid"]
        video = root / "videos_mp4" / video_id[:2] / f"{video_id}.mp4"
        Script(flushes=number != SHORT, delays=6).cut(video, track, root)


def forget(root: Path) -> None:
    """Take from a root what a trackverse knew of its videos."""
    for name in ("ledger", "state", "logs"):
        shutil.rmtree(root / name, ignore_errors=True)
