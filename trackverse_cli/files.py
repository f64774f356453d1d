"""Files that are whole or not there: write beside the target, fsync, rename; checksums."""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from trackverse_cli.errors import StorageFullError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_TEMPORARY_PREFIX = ".tv-"
_TEMPORARY_SUFFIX = ".tmp"

STORAGE_FULL = (errno.ENOSPC, errno.EDQUOT)


def temporary_beside(target: Path) -> Path:
    """Return an unused hidden name in the folder of `target`.

    The name does not grow with the target's, so a target of 255 bytes works too.
    """
    return target.parent / f"{_TEMPORARY_PREFIX}{secrets.token_hex(8)}{_TEMPORARY_SUFFIX}"


def is_temporary(name: str) -> bool:
    """Say whether `name` is one that `temporary_beside` makes."""
    middle = name.removeprefix(_TEMPORARY_PREFIX).removesuffix(_TEMPORARY_SUFFIX)
    return (
        name == f"{_TEMPORARY_PREFIX}{middle}{_TEMPORARY_SUFFIX}"
        and len(middle) == 16
        and all(c in "0123456789abcdef" for c in middle)
    )


def fsync_path(path: Path) -> None:
    """Bring a file's or a folder's content to the disk.

    Raises:
        OSError: the disk refused; for a folder on a file system without that call, nothing.
    """
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    except OSError:
        if not path.is_dir():
            raise
    finally:
        os.close(fd)


def publish(temporary: Path, target: Path) -> None:
    """Make the finished `temporary` the `target`, durably, replacing what was there."""
    fsync_path(temporary)
    temporary.replace(target)
    fsync_path(target.parent)


@contextmanager
def atomic_write(target: Path) -> Iterator[Path]:
    """Yield a temporary path beside `target`; on success it becomes the target, else it goes."""
    temporary = temporary_beside(target)
    try:
        yield temporary
        publish(temporary, target)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


def atomic_write_bytes(target: Path, content: bytes) -> None:
    """Write a whole small file by `atomic_write`; the umask decides its mode."""
    with atomic_write(target) as temporary:
        temporary.write_bytes(content)


def checksum(path: Path) -> str:
    """Return the BLAKE2b-128 of a file as 32 hex digits."""
    digest = hashlib.blake2b(digest_size=16)
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def storage_full(error: OSError, place: Path) -> StorageFullError:
    """Return what to raise when nothing more fits below `place`."""
    return StorageFullError(
        f"the storage is full: nothing can be written below {place} ({error.strerror}; files may "
        "be at their limit even where space is free); make room or ask for more quota, then run "
        "the same command again"
    )


def make_folder(path: Path, what: str) -> None:
    """Create a folder with its parents.

    Args:
        path: the folder.
        what: what it is for a person, as in "the dataset folder".

    Raises:
        StorageFullError: no space, no quota or no file is left.
        UsageError: it cannot be created or is no folder.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        if error.errno in STORAGE_FULL:
            raise storage_full(error, path) from error
        raise UsageError(
            f"cannot create {what} {path}: {error.strerror}; choose another with --root, "
            "or ask who owns it for write access"
        ) from error


def require_writable(folder: Path, what: str) -> None:
    """Write and remove an empty file, since permission bits lie on network file systems.

    Raises:
        StorageFullError: no space, no quota or no file is left.
        UsageError: nothing can be written there.
    """
    make_folder(folder, what)
    probe = temporary_beside(folder / "probe")
    try:
        probe.touch()
        probe.unlink()
    except OSError as error:
        if error.errno in STORAGE_FULL:
            raise storage_full(error, folder) from error
        raise UsageError(
            f"cannot write into {what} {folder}: {error.strerror}; choose another with --root, "
            "or ask who owns it for write access"
        ) from error
