"""The atoms (boxes) of an mp4 file, read from bytes that may lie (ISO 14496-12, 4.2)."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ATOM_HEADER_BYTES = 16
"""So many bytes tell an atom's kind and size, whichever way it is written."""

ATOMS_LIMIT = 4096
"""More atoms beside each other than any honest file has."""


class UnfitFileError(ValueError):
    """This file cannot be had in stretches; the whole one can. The message is half a sentence."""


@dataclass(frozen=True, slots=True)
class Atom:
    """One atom.

    Attributes:
        kind: its four characters.
        start: the offset of its first byte.
        body: the offset of what it holds.
        stop: the offset after its last byte.
    """

    kind: bytes
    start: int
    body: int
    stop: int


def atom_at(data: bytes, at: int, offset: int = 0) -> Atom:
    """Return the atom whose header is at `data[at:]`.

    Args:
        data: bytes.
        at: where it starts in `data`.
        offset: added to the offsets of the answer, for bytes from the middle of a file.

    Raises:
        UnfitFileError: there is no atom.
    """
    if at + 8 > len(data):
        raise UnfitFileError("an atom is cut short")
    size, kind = struct.unpack_from(">I4s", data, at)
    body = 8
    if size == 1:
        if at + 16 > len(data):
            raise UnfitFileError("an atom is cut short")
        (size,) = struct.unpack_from(">Q", data, at + 8)
        body = 16
    # 0 means "to the end of the file": nothing in a stretch can be so.
    if size < body:
        raise UnfitFileError("an atom is smaller than its header")
    return Atom(kind, offset + at, offset + at + body, offset + at + size)


def atoms_in(data: bytes, start: int, stop: int) -> Iterator[Atom]:
    """Yield the atoms that lie side by side in `data[start:stop]`.

    Raises:
        UnfitFileError: one of them leaves those bounds, or there are too many.
    """
    for _ in range(ATOMS_LIMIT):
        if start >= stop:
            return
        atom = atom_at(data, start)
        if atom.stop > stop:
            raise UnfitFileError("an atom is larger than what holds it")
        yield atom
        start = atom.stop
    raise UnfitFileError("the file has more atoms than can be true")


def find(data: bytes, atom: Atom, *path: bytes) -> Atom | None:
    """Return the first atom down a path of kinds below `atom`, or None.

    Raises:
        UnfitFileError: the atoms on the way are broken.
    """
    for kind in path:
        inner = next((a for a in atoms_in(data, atom.body, atom.stop) if a.kind == kind), None)
        if inner is None:
            return None
        atom = inner
    return atom


def need(data: bytes, atom: Atom, *path: bytes) -> Atom:
    """Return what `find` returns.

    Raises:
        UnfitFileError: it is not there.
    """
    found = find(data, atom, *path)
    if found is None:
        raise UnfitFileError(f"it has no {path[-1].decode('ascii', 'replace')} atom")
    return found


class Fields:
    """Reads big-endian numbers one after the other, never beyond an atom.

    Args:
        data: bytes.
        atom: the atom whose body is read; a version and flags come first.

    Attributes:
        version: of the atom.
        flags: of the atom.
    """

    def __init__(self, data: bytes, atom: Atom) -> None:
        self._data = data
        self._at, self._stop = atom.body, atom.stop
        word = self.u32()
        self.version, self.flags = word >> 24, word & 0xFFFFFF

    @property
    def left(self) -> int:
        """The bytes that have not been read."""
        return self._stop - self._at

    def skip(self, count: int) -> None:
        """Pass over bytes."""
        self._take(count)

    def u32(self) -> int:
        """Return an unsigned number of 32 bits."""
        return int(struct.unpack_from(">I", self._data, self._take(4))[0])

    def s32(self) -> int:
        """Return a signed number of 32 bits."""
        return int(struct.unpack_from(">i", self._data, self._take(4))[0])

    def u64(self) -> int:
        """Return an unsigned number of 64 bits."""
        return int(struct.unpack_from(">Q", self._data, self._take(8))[0])

    def s64(self) -> int:
        """Return a signed number of 64 bits."""
        return int(struct.unpack_from(">q", self._data, self._take(8))[0])

    def wide(self) -> int:
        """Return an unsigned number of 64 bits if the version is 1, else of 32."""
        return self.u64() if self.version else self.u32()

    def _take(self, count: int) -> int:
        at = self._at
        if at + count > min(self._stop, len(self._data)):
            raise UnfitFileError("an atom ends before its fields")
        self._at += count
        return at
