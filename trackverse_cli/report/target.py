"""Where a report goes: looked at before the long check begins, written whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from trackverse_cli.errors import UsageError
from trackverse_cli.files import STORAGE_FULL, atomic_write, storage_full, temporary_beside

if TYPE_CHECKING:
    from collections.abc import Iterable

GENERATOR = '<meta name="generator" content="trackverse '
"""How every report begins to say what it is; only such a file is ever replaced."""

_HEAD_BYTES = 2048
"""The generator stands within so many bytes."""


def report_target(path: Path) -> Path:
    """Return the file that a report named `path` is to be, a symbolic link followed.

    Raises:
        UsageError: it is a folder, is there and no report, or cannot be written.
    """
    target = Path(os.path.realpath(path))
    try:
        if target.is_dir():
            raise UsageError(f"{path} is a folder; name a file for the report, as {path}/it.html")
        if target.exists() and not _may_go(target):
            raise UsageError(
                f"{path} is there and is no report of trackverse; remove it or name another file"
            )
        probe = temporary_beside(target)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise _told(path, error) from error
    return target


def write_page(target: Path, pieces: Iterable[str]) -> int:
    """Write the page from its pieces, whole or not at all; return its bytes.

    Raises:
        StorageFullError: nothing more fits.
        UsageError: it cannot be written any more.
    """
    try:
        with atomic_write(target) as temporary, temporary.open("x", encoding="utf-8") as file:
            for piece in pieces:
                file.write(piece)
            file.flush()
        return target.stat().st_size
    except OSError as error:
        if error.errno in STORAGE_FULL:
            raise storage_full(error, target.parent) from error
        raise _told(target, error) from error


def _may_go(target: Path) -> bool:
    if not target.is_file():
        return False
    with target.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    return not head or GENERATOR.encode() in head


def _told(path: Path, error: OSError) -> UsageError:
    return UsageError(
        f"cannot write the report {path}: {error.strerror or error}; "
        "name a file in a folder that is yours"
    )
