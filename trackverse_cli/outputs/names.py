"""The names of shards, of what is inside them, and of what is still being written."""

from __future__ import annotations

import re
import secrets
from hashlib import blake2b
from typing import TYPE_CHECKING

from trackverse_cli.files import is_temporary

if TYPE_CHECKING:
    from pathlib import Path

    from trackverse_cli.layout import Layout

TAR, IDX = ".tar", ".idx"
_SHARD = re.compile(r"[a-z-]+-\d{4,}of\d{4,}-([0-9a-f]{12})-\d{6,}", re.ASCII)
_PLAIN_TRACK = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
_RUN = re.compile(r"[0-9a-f]{12}", re.ASCII)
_TEMPORARY_RUN = slice(4, 16)


def shards_folder(layout: Layout) -> Path:
    """Return where the shards of a dataset folder are."""
    return layout.root / "tracks_tar"


def shard_stem(stage: str, rank: int, world_size: int, run: str, number: int) -> str:
    """Return the name of a shard without its ending; no two runs give the same."""
    stem = f"{stage}-{rank:04d}of{world_size:04d}-{run}-{number:06d}"
    assert _SHARD.fullmatch(stem), f"{stem} would not be found again"
    return stem


def run_of_shard(stem: str) -> str | None:
    """Return the run that wrote a shard, or None if that is no shard's name."""
    match = _SHARD.fullmatch(stem)
    return match[1] if match else None


def temporary_of(folder: Path, run: str) -> Path:
    """Return an unused hidden name in a folder that tells which run it belongs to."""
    assert _RUN.fullmatch(run), f"{run!r} is no run's id"
    return folder / f".tv-{run}{secrets.token_hex(2)}.tmp"


def run_of_temporary(name: str) -> str | None:
    """Return the run that a temporary name belongs to, or None if it is no such name."""
    return name[_TEMPORARY_RUN] if is_temporary(name) else None


def member_key(video_id: str, track_id: str) -> str:
    """Return the name of a clip inside a shard, without its ending and without a dot.

    A track id that would not do as part of a name is replaced by its hash; the `+` before it is
    in no plain one, so that two tracks never get the same key.
    """
    if _PLAIN_TRACK.fullmatch(track_id):
        return f"{video_id}-{track_id}"
    digest = blake2b(track_id.encode("utf-8", "surrogatepass"), digest_size=16)
    return f"{video_id}-+{digest.hexdigest()}"
