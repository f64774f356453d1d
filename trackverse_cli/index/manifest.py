"""`index.json`: where an index comes from, what it holds, and which files are its tables."""

from __future__ import annotations

import hashlib
import os
from pathlib import PurePath
from typing import TYPE_CHECKING

import msgspec

from trackverse_cli.errors import IndexUnusableError
from trackverse_cli.index.schema import SCHEMA_VERSION

if TYPE_CHECKING:
    from pathlib import Path

MANIFEST_NAME = "index.json"
TABLES = frozenset(("tracks", "videos", "refused", "duplicates"))
_PIECES, _PIECE_BYTES = 32, 1 << 16


class Manifest(msgspec.Struct, kw_only=True):
    """What `index.json` holds.

    Attributes:
        schema: the version of the tables.
        source: the metadata file, relative to the dataset folder.
        size_bytes: its size.
        mtime_ns: its time of change.
        checksum: its `files.checksum`.
        sample: its `sample_of`, or "" in an index that is older than this field.
        dialect: `current`, `early`, `raw` or `mixed`.
        lines: its lines that are not blank; tracks, refused and duplicates add up to it.
        tracks: tracks of the index.
        clips: different clip names of the index.
        videos: videos of the index.
        classes: different best classes.
        hours: time from first to last box, over all tracks.
        refused: lines that give no track.
        duplicate_tracks: lines that repeat a track id within a video.
        duplicate_clips: lines that repeat the clip name of another track.
        files: table -> file in the folder of the index.
        checksums: table -> checksum of that file; empty in an index older than this field.
    """

    schema: int = SCHEMA_VERSION
    source: str
    size_bytes: int
    mtime_ns: int
    checksum: str
    sample: str = ""
    dialect: str
    lines: int
    tracks: int
    clips: int
    videos: int
    classes: int
    hours: float
    refused: int
    duplicate_tracks: int
    duplicate_clips: int
    files: dict[str, str]
    checksums: dict[str, str] = {}


def sample_of(path: Path) -> str:
    """Return a checksum of pieces of a file, so that a large one need not be read again.

    The last piece holds the CRC of what a gzip file unpacks to, so hardly a change escapes it.

    Raises:
        OSError: the file cannot be read.
    """
    digest = hashlib.blake2b(digest_size=16)
    with path.open("rb") as file:
        last = max(0, file.seek(0, os.SEEK_END) - _PIECE_BYTES)
        for piece in range(_PIECES + 1):
            file.seek(last * piece // _PIECES)
            digest.update(file.read(_PIECE_BYTES))
    return digest.hexdigest()


class _Version(msgspec.Struct):
    schema: int


def encode_manifest(manifest: Manifest) -> bytes:
    """Return the content of `index.json`."""
    return msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n"


def read_manifest(folder: Path) -> Manifest | None:
    """Return what `index.json` in `folder` holds, or None if there is none of this version."""
    try:
        return msgspec.json.decode((folder / MANIFEST_NAME).read_bytes(), type=Manifest)
    except (OSError, msgspec.DecodeError, ValueError):
        return None


def _stays_inside(manifest: Manifest) -> Manifest:
    """Return a manifest whose tables are all named, and whose files lie where an index's do."""
    source, files = PurePath(manifest.source), manifest.files.values()
    inside = not source.is_absolute() and ".." not in source.parts and "\0" not in manifest.source
    plain = all(name.isprintable() and PurePath(name).name == name != "" for name in files)
    if not (inside and plain and manifest.files.keys() >= TABLES):
        raise ValueError("its tables or its source lie elsewhere")
    return manifest


def fit_manifest(folder: Path, name: str, advice: str) -> Manifest:
    """Return the manifest in `folder`.

    Raises:
        IndexUnusableError: there is none, or none of this version; `advice` ends the sentence.
    """
    try:
        content = (folder / MANIFEST_NAME).read_bytes()
    except OSError as error:
        raise IndexUnusableError(f"there is no index of {name} in {folder}; {advice}") from error
    try:
        version = msgspec.json.decode(content, type=_Version).schema
        if version == SCHEMA_VERSION:
            return _stays_inside(msgspec.json.decode(content, type=Manifest))
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise IndexUnusableError(
            f"{folder / MANIFEST_NAME} cannot be read; {advice} again"
        ) from error
    raise IndexUnusableError(
        f"the index {folder} has schema {version}, and this version reads {SCHEMA_VERSION}; "
        f"{advice} again"
    )
