"""Looking through folders whose names are hostile: no link is followed, whoever plants it and when.

A folder is read through a descriptor that was opened without following a link and compared with
what its parent listed. Its files are to be removed through that descriptor (`dir_fd`), so that a
folder which is swapped for a link in between leads nowhere.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_Folders = list[tuple[Path, os.stat_result]]


def files_below(
    top: Path, fits: Callable[[str], object]
) -> Iterator[tuple[str, int, str, os.stat_result]]:
    """Yield (folder relative to `top`, its descriptor, name, facts) of the files that fit."""
    real = Path(os.path.realpath(top))
    try:
        waiting: _Folders = [(real, real.lstat())]
    except OSError:
        return
    while waiting:
        folder, expected = waiting.pop()
        for fd, name, facts in files_in(folder, fits, expected, waiting):
            yield os.path.relpath(folder, real), fd, name, facts


def files_in(
    folder: Path,
    fits: Callable[[str], object],
    expected: os.stat_result | None = None,
    folders: _Folders | None = None,
) -> Iterator[tuple[int, str, os.stat_result]]:
    """Yield (descriptor of the folder, name, facts) of the regular files whose names fit.

    Args:
        folder: where to look; a link or no folder gives nothing.
        fits: says of a name whether it is of interest; a clip costs no call to the disk.
        expected: what the folder was when it was listed.
        folders: takes the folders inside.
    """
    fd = _open_folder(folder, expected)
    if fd is None:
        return
    try:
        names = []
        with os.scandir(fd) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    if folders is not None:
                        folders.append((folder / entry.name, entry.stat(follow_symlinks=False)))
                elif fits(entry.name):
                    names.append(entry.name)
        for name in names:
            with suppress(FileNotFoundError):
                facts = os.stat(name, dir_fd=fd, follow_symlinks=False)
                if stat.S_ISREG(facts.st_mode):
                    yield fd, name, facts
    finally:
        os.close(fd)


def _open_folder(path: Path, expected: os.stat_result | None) -> int | None:
    """Open a folder that is no link, and is the one that was seen before; None if it is not."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return None
    if expected is not None and not os.path.samestat(os.fstat(fd), expected):
        os.close(fd)
        return None
    return fd
