"""Failures of this machine's storage, told apart from those of a host."""

from __future__ import annotations

import errno
import os
import re
from typing import TYPE_CHECKING

from trackverse_cli.download.said import causes
from trackverse_cli.errors import LacksError, StorageFullError, TrackverseError

if TYPE_CHECKING:
    from pathlib import Path

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_DISK = _FULL | {
    errno.EACCES, errno.EPERM, errno.EROFS, errno.EIO, errno.ENOENT, errno.ENOTDIR, errno.EISDIR,
    errno.ENAMETOOLONG, errno.EMFILE, errno.ENFILE, errno.ESTALE, errno.EFBIG,
}  # fmt: skip
_SENTENCES = (
    "unable to open for writing", "unable to write data", "unable to open file",
    "unable to rename file",
)  # fmt: skip


def storage_problem(error: BaseException) -> OSError | None:
    """Return the error of this machine's storage that `error` comes from, None if it is another."""
    text = str(error).lower()
    chain = list(causes(error))
    local = any(part in text for part in _SENTENCES) or any(
        type(cause).__name__ == "UnavailableVideoError" for cause in chain
    )
    numbers = _DISK if local else _FULL
    for cause in chain:
        if isinstance(cause, OSError) and cause.errno in numbers:
            return cause
    # After its own retries the downloader hands on the sentence alone.
    said = re.search(r"\[errno (\d+)\]", text) if local else None
    if said and int(said[1]) in numbers:
        return OSError(int(said[1]), os.strerror(int(said[1])))
    return None


def storage_error(error: OSError, folder: Path) -> TrackverseError:
    """Return what to raise when nothing can be written below `folder`.

    Returns:
        A StorageFullError if there is no space or no quota left, else a LacksError.
    """
    if error.errno in _FULL:
        return StorageFullError(
            f"no space is left for {folder} ({error.strerror}); make room or ask for more quota, "
            "then run the same command again"
        )
    return LacksError(
        f"cannot write below {folder} ({error.strerror or error}); see to the disk, then run the "
        "same command again"
    )
