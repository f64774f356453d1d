"""`adopt` on real footage: clips that follow their boxes pass, those that stray a little do not."""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.original import Script

if TYPE_CHECKING:
    from tests.project import Project

SHARED = Path(__file__).parents[2] / "shared" / "media"
NEAR = ("7809909a", "fee88c18", "6aa4f837")
"""Tracks of objects that move least, so that the first two boxes show nearly the same."""


@pytest.mark.parametrize("follows", [True, False])
def test_tracks_that_hardly_move(project: Project, follows: bool) -> None:
    video, metadata = SHARED / "bottleBelt1.mp4", SHARED / "tracks.jsonl.gzip"
    if not (video.exists() and metadata.exists()):
        pytest.skip(f"{SHARED}, which holds real tracks, is not here")
    target = project.layout.videos / video.name
    target.parent.mkdir(parents=True)
    shutil.copy(video, target)
    with gzip.open(metadata) as file:
        lines: list[dict[str, Any]] = [json.loads(line) for line in file]
    for line in (line for line in lines if line["track_id"].startswith(NEAR)):
        project.lines.append(line)
        Script(flushes=True, follows=follows).cut(video, line, project.root)
    project.fetch()
    told = project.run("adopt", str(project.root), "--json").json
    assert told["clips"]["adopted"] == (3 if follows else 0)
    assert told["reasons"] == ({} if follows else {"wrong-crop": 3})
