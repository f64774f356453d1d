"""The kinds of faults that the sweep brings about, each at one call of a command."""

from __future__ import annotations

import errno
import os
import shutil
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING

from tests.faults import shim

if TYPE_CHECKING:
    from pathlib import Path

    from tests.faults.shim import Breaker, Call

_ROOM = frozenset("cwml")
_ANY = frozenset("cwrslumt")


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of fault.

    Attributes:
        name: what it is called in the figures.
        what: for a person.
        action: what the library does at the call.
        ops: the calls that it can happen at.
        error: the errno, if the call fails.
        sticky: whether later calls fail too (see `shim.c`).
        power: what of the disk's cache is lost: nothing, data, or data and renames.
        group: whether all processes of the command are killed at once.
    """

    name: str
    what: str
    action: int
    ops: frozenset[str] = _ANY
    error: int = 0
    sticky: int = 0
    power: str = ""
    group: bool = False

    @property
    def kills(self) -> bool:
        """Whether the process dies of it."""
        return self.action in (shim.KILL_BEFORE, shim.KILL_AFTER, shim.KILL_HALF)

    def set(self, breaker: Breaker, at: int) -> None:
        """Have a breaker bring it about at a call."""
        breaker.set(
            self.action, at, error=self.error, sticky=self.sticky,
            group=self.group or bool(self.power), keeps=bool(self.power),
        )  # fmt: skip


KINDS: tuple[Kind, ...] = (
    Kind("kill-before", "kill -9 just before the call", shim.KILL_BEFORE),
    Kind("kill-after", "kill -9 just after the call", shim.KILL_AFTER, group=True),
    Kind("kill-half", "kill -9 with half of a write done", shim.KILL_HALF, frozenset("w")),
    Kind("power", "power lost: what was not fsynced is gone", shim.KILL_AFTER, power="data"),
    Kind("power-names", "the same, and renames undone", shim.KILL_AFTER, power="names"),
    Kind("disk-full", "ENOSPC from here on", shim.FAIL_HALF, _ROOM, errno.ENOSPC, 1),
    Kind("quota", "EDQUOT from here on", shim.FAIL, _ROOM, errno.EDQUOT, 1),
    Kind("io-error", "EIO, once", shim.FAIL, _ANY, errno.EIO),
    Kind("read-only", "EROFS from here on", shim.FAIL, _ANY, errno.EROFS, 2),
)


def lose_power(box: Path, calls: list[Call], backup: Path, names: bool) -> None:
    """Take from the disk what was still in memory when the machine lost its power.

    A file keeps the bytes that it had at its last fsync; one that was never synced is empty. With
    `names`, a rename is undone unless its folder was synced after it.

    Args:
        box: the folder.
        calls: what was done, in its order.
        backup: where files that a rename replaced are kept, by the number of the call.
        names: whether renames are lost as well.
    """
    synced: dict[int, int] = {}
    dirty: set[int] = set()
    renamed: dict[str, list[Call]] = {}
    for call in calls:
        if call.op in "cwt" and call.inode:
            synced.setdefault(call.inode, _before(call))
            dirty.add(call.inode)
        elif call.op == "s":
            renamed.pop(call.path, None)
            synced[call.inode] = call.size
            dirty.discard(call.inode)
        elif call.op == "r":
            renamed.setdefault(str(PurePath(call.path).parent), []).append(call)
    where = {path.lstat().st_ino: path for path in box.rglob("*") if path.is_file()}
    for inode in dirty:
        path = where.get(inode)
        if path is not None and path.stat().st_size > synced[inode]:
            os.truncate(path, synced[inode])
    if names:
        lost = [call for some in renamed.values() for call in some]
        for call in sorted(lost, key=lambda call: call.number, reverse=True):
            _undo(box, call, backup)


def _before(call: Call) -> int:
    """Return what of a file was on the disk before this command first touched it.

    One that the command made has nothing there; an older one that it opened is whole.
    """
    return 0 if call.op == "c" and not call.size else max(0, call.size)


def _undo(box: Path, call: Call, backup: Path) -> None:
    path, old = box / call.path, box / call.other
    if not path.exists() or path.lstat().st_ino != call.inode or not old.parent.is_dir():
        return
    path.rename(old)
    kept = backup / str(call.number)
    if kept.exists():
        shutil.copy2(kept, path)
