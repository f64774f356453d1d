"""Which videos and tracks an id, a clip's name or its path means."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trackverse_cli.catalog import Catalog
    from trackverse_cli.config import Config

MATCHES = 20
"""Videos that are told of at most, where a track id stands in many."""

_VIDEO_ID = re.compile(r"[A-Za-z0-9_-]{11}", re.ASCII)


def look_up(catalog: Catalog, config: Config, asked: str) -> tuple[str, dict[int, str | None]]:
    """Return what was asked for, and row -> track id, None for all tracks of the video."""
    import pyarrow.compute as pc

    if _VIDEO_ID.fullmatch(asked) and asked in catalog.video_ids:
        return "video", {catalog.video_ids.index(asked): None}
    name = _clip_name(config, asked)
    found: dict[int, str | None] = {}
    kind = "track"
    for table in catalog.clips():
        for column, value in (("clip_name", name), ("track_id", asked)):
            some = table.filter(pc.equal(table[column], value))
            for row, track in zip(
                some["video_row"].to_pylist(), some["track_id"].to_pylist(), strict=True
            ):
                kind = "clip" if column == "clip_name" else "track"
                if len(found) < MATCHES:
                    found.setdefault(row, track)
    return kind, found


def _clip_name(config: Config, asked: str) -> str:
    """Return the name below `tracks_mp4/` that a path means, or what was asked as it is."""
    for path in (Path(asked).absolute(), config.layout.root / asked):
        if path.is_relative_to(config.layout.tracks):
            return path.relative_to(config.layout.tracks).as_posix()
    return asked
