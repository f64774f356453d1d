"""Files of a dataset folder on their way between hosts: listed, packed, put in their place.

Used on both sides. Only regular files below the given top folders are read or written; a top
folder may be a symbolic link, nothing below it is followed.
"""

from __future__ import annotations

import os
import secrets
import shutil
import tarfile
from contextlib import suppress
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

Listing = dict[str, tuple[int, int]]
"""Name below the root, with `/` -> (size in bytes, modification time in ns)."""

_PERMISSIONS = 0o666
_SLACK_NS = 2_000_000_000
"""File systems keep times to between a nanosecond and two seconds."""


def listing(root: Path, tops: Iterable[str]) -> Listing:
    """Return the files below each top folder, or the top itself; hidden ones are left out."""
    found: Listing = {}
    for top in tops:
        path = root / top
        if path.is_dir():
            found.update(_below(path, top))
        elif path.is_file():
            found[top] = (path.stat().st_size, path.stat().st_mtime_ns)
    return found


def _below(folder: Path, name: str) -> Iterator[tuple[str, tuple[int, int]]]:
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            inside = f"{name}/{entry.name}"
            if entry.name.startswith("."):
                continue
            if entry.is_dir(follow_symlinks=False):
                yield from _below(folder / entry.name, inside)
            elif entry.is_file(follow_symlinks=False):
                with suppress(FileNotFoundError):
                    facts = entry.stat(follow_symlinks=False)
                    yield inside, (facts.st_size, facts.st_mtime_ns)


def newer(there: Listing, here: Listing) -> list[str]:
    """Return which files of `there` are to be brought to `here`.

    A ledger only grows, so a longer one replaces a shorter one and never the other way round;
    any other file is whole whenever it has its name, and the later one wins.
    """
    return sorted(name for name, facts in there.items() if _replaces(name, facts, here.get(name)))


def _replaces(name: str, new: tuple[int, int], old: tuple[int, int] | None) -> bool:
    if old is None:
        return True
    if name.startswith("ledger/"):
        return new[0] > old[0]
    return new[1] > old[1] + _SLACK_NS


def pack(root: Path, names: Iterable[str], stream: IO[bytes]) -> None:
    """Write the named files as a tar stream; one that has gone meanwhile is left out."""
    with tarfile.open(fileobj=stream, mode="w|", format=tarfile.PAX_FORMAT) as tar:
        for name in names:
            with suppress(FileNotFoundError), (root / checked(name)).open("rb") as file:
                facts = os.fstat(file.fileno())
                member = tarfile.TarInfo(name)
                member.size, member.mtime = facts.st_size, facts.st_mtime
                member.pax_headers = {"TRACKVERSE.mtime_ns": str(facts.st_mtime_ns)}
                tar.addfile(member, file)


def unpack(stream: IO[bytes], root: Path, wanted: frozenset[str]) -> int:
    """Put the files of a tar stream in their places, each when it is whole; return how many.

    Raises:
        ValueError: the stream holds something that was not asked for, or no regular file.
        tarfile.TarError, EOFError, OSError: it broke off, or cannot be written; what came before
            is in its place.
    """
    count = 0
    with tarfile.open(fileobj=stream, mode="r|") as tar:
        for member in tar:
            if member.name not in wanted or not member.isreg():
                raise ValueError(f"it sent {member.name!a}, which was not asked for")
            content = tar.extractfile(member)
            if content is not None:
                stamp = int(member.pax_headers.get("TRACKVERSE.mtime_ns", 0))
                count += _place(content, root, member.name, member.size, stamp)
    return count


def _place(content: IO[bytes], root: Path, name: str, size: int, mtime_ns: int) -> bool:
    target = target_of(root, name)
    target.parent.mkdir(parents=True, exist_ok=True)
    # The name is one that `trackverse clean` knows as a leftover.
    temporary = target.with_name(f".tv-{secrets.token_hex(8)}.tmp")
    try:
        with os.fdopen(
            os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _PERMISSIONS), "wb"
        ) as file:
            shutil.copyfileobj(content, file, 1 << 20)
            file.flush()
            os.fsync(file.fileno())
        if temporary.stat().st_size != size:
            raise EOFError(f"{name} came incomplete")
        os.utime(temporary, ns=(mtime_ns, mtime_ns))
        old = (target.stat().st_size, target.stat().st_mtime_ns) if target.exists() else None
        if not _replaces(name, (size, mtime_ns), old):
            return False
        temporary.replace(target)
        return True
    finally:
        temporary.unlink(missing_ok=True)


def checked(name: str) -> str:
    """Return a name that stays below its root.

    Raises:
        ValueError: it does not.
    """
    parts = name.split("/")
    if "\0" in name or any(part in ("", ".", "..") for part in parts):
        raise ValueError(f"the name {name!a} leads out of its folder")
    return name


def target_of(root: Path, name: str) -> Path:
    """Return where a file goes.

    Raises:
        ValueError: its name, or a symbolic link below the top folder, leads out of there.
    """
    parts = checked(name).split("/")
    top = os.path.realpath(root / parts[0] if len(parts) > 1 else root)
    target = root / name
    if os.path.commonpath([top, os.path.realpath(target.parent)]) != top:
        raise ValueError(f"the name {name!a} leads out of {root} by a symbolic link")
    return target
