"""Whether clips go into files or into shards, where nobody said."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from pathlib import Path

Output = Literal["auto", "files", "webdataset"]

SHARDS_ABOVE_CLIPS = 500_000
"""With more clips than this, `auto` means shards."""

SPARE_FILES = 0.8
"""The share of a file system's free files that clips may take under `auto`."""


def choose_output(
    output: Output, clips: int, folder: Path, quota_files: int | None = None
) -> Literal["files", "webdataset"]:
    """Return what `[extract] output` means for so many clips below a folder.

    Args:
        output: the setting.
        clips: how many the selection has, cut or not: the answer must not change on the way.
        folder: an existing folder on the file system that takes them.
        quota_files: how many files the user may have there, None if nobody said.
    """
    if output != "auto":
        return output
    facts = os.statvfs(folder)
    # A file system that counts no files says 0 of 0.
    limits = [limit for limit in (facts.f_files, quota_files) if limit]
    too_many = any(clips > SPARE_FILES * limit for limit in limits)
    return "webdataset" if too_many or clips > SHARDS_ABOVE_CLIPS else "files"
