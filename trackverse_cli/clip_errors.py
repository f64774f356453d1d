"""What a failed write of a clip means: for the clip, or for the whole run."""

from __future__ import annotations

import errno

from trackverse_cli.errors import RefusedNameError, StorageFullError
from trackverse_cli.files import STORAGE_FULL

_NO_SUCH_PLACE = (errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP)


def of_file_error(error: Exception, name: str) -> StorageFullError | tuple[str, str]:
    """Return what a failed write means: run again later, or (reason, message) of the clip."""
    number = getattr(error, "errno", None)
    if number in STORAGE_FULL:
        return StorageFullError(
            f"the storage is full: clip {name!a} cannot be written ({error}); free some "
            "space, then run the same command again"
        )
    if isinstance(error, RefusedNameError) or number in _NO_SUCH_PLACE:
        return "refused-name", f"clip name {name!a} cannot be a file here: {error}"
    return "write-failed", f"clip {name!a} cannot be written: {error}"
