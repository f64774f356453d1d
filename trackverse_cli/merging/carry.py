"""Brings one file from another folder: shared with it where the file system can, else copied."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING, Literal

from trackverse_cli.errors import ItemError, StoppedError

if TYPE_CHECKING:
    import threading
    from pathlib import Path

Way = Literal["reflink", "link", "copy"]

_FICLONE = 0x40049409
_BLOCK_BYTES = 4 << 20
_CANNOT_SHARE = (
    errno.EXDEV, errno.EPERM, errno.EACCES, errno.EMLINK, errno.EOPNOTSUPP, errno.ENOSYS,
    errno.EINVAL, errno.ENOTTY, errno.EROFS,
)  # fmt: skip


class Carrier:
    """Brings files; several threads may use one.

    Args:
        stop: set by a signal; ends a copy on its way.
    """

    def __init__(self, stop: threading.Event) -> None:
        self._stop = stop
        self._no_reflink: set[tuple[int, int]] = set()

    def bring(self, source: Path, target: Path, reason: str) -> Way:
        """Make `target`, which must not exist, a file with the content of `source`.

        Args:
            source: the file of the other root; a link is not followed.
            target: a temporary name.
            reason: the ledger's word for a source that cannot be used.

        Raises:
            ItemError: the source is no regular file, or cannot be read.
            StoppedError: `stop` was set.
            OSError: the target cannot be written.
        """
        try:
            fd = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError as error:
            raise ItemError(reason, f"{source} cannot be read: {error.strerror}") from error
        try:
            facts = os.fstat(fd)
            if not stat.S_ISREG(facts.st_mode):
                raise ItemError(reason, f"{source} is not a regular file")
            if self._reflink(fd, facts, target):
                return "reflink"
            if _link(source, facts, target):
                return "link"
            self._copy(fd, source, target, reason)
            return "copy"
        finally:
            os.close(fd)

    def _reflink(self, fd: int, facts: os.stat_result, target: Path) -> bool:
        """Share the content, not the file: what later happens to one does not touch the other."""
        pair = (facts.st_dev, target.parent.stat().st_dev)
        if pair in self._no_reflink:
            return False
        with target.open("xb") as file:
            try:
                fcntl.ioctl(file.fileno(), _FICLONE, fd)
            except OSError as error:
                target.unlink()
                if error.errno not in _CANNOT_SHARE:
                    raise
                self._no_reflink.add(pair)
                return False
        return True

    def _copy(self, fd: int, source: Path, target: Path, reason: str) -> None:
        with target.open("xb") as file:
            while True:
                if self._stop.is_set():
                    raise StoppedError(15)
                try:
                    block = os.read(fd, _BLOCK_BYTES)
                except OSError as error:
                    told = f"{source} cannot be read: {error.strerror}"
                    raise ItemError(reason, told) from error
                if not block:
                    return
                file.write(block)


def _link(source: Path, facts: os.stat_result, target: Path) -> bool:
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError as error:
        if error.errno in _CANNOT_SHARE:
            return False
        raise
    # Somebody may have put another file there since it was opened.
    if os.path.samestat(target.lstat(), facts):
        return True
    with suppress(OSError):
        target.unlink()
    return False
