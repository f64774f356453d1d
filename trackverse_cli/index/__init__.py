"""The index: a metadata file as Parquet tables, with the tracks of a video together."""

from __future__ import annotations

from trackverse_cli.index.build import build_index
from trackverse_cli.index.manifest import Manifest
from trackverse_cli.index.names import resolve_metadata
from trackverse_cli.index.opening import open_index
from trackverse_cli.index.reader import Index, VideoTracks
from trackverse_cli.index.rows import RefusedLine

__all__ = [
    "Index",
    "Manifest",
    "RefusedLine",
    "VideoTracks",
    "build_index",
    "open_index",
    "resolve_metadata",
]
