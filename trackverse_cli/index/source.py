"""A gzipped metadata file -> blocks of lines, with every way in which it can be damaged."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from trackverse_cli.errors import DamagedFileError, UsageError
from trackverse_cli.metadata import MAX_LINE_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import BinaryIO

BLOCK_BYTES: Final = 4 << 20
_NEWLINE: Final = 0x0A
_NOTHING: Final = memoryview(b"")


@dataclass(frozen=True, slots=True)
class Block:
    """Some whole lines of a file.

    Attributes:
        first_line: the number of the first, from 1.
        begin: what the last block left of a line.
        rest: what follows it, as it was read.
        bytes_read: how far the compressed file has been read.
    """

    first_line: int
    begin: bytes
    rest: memoryview
    bytes_read: int

    @property
    def text(self) -> bytes:
        """The lines without the last newline; one over the limit is cut to a byte above it."""
        return b"".join((self.begin, self.rest))


def read_blocks(path: Path, shown: Path | None = None) -> Iterator[Block]:
    """Yield all lines of a gzip file; its checksum has been checked when the last one came.

    Args:
        path: the file.
        shown: the name to use in errors, `path` if None.

    Raises:
        UsageError: the file is not there or cannot be opened.
        DamagedFileError: it is empty, no gzip, cut short or damaged.
    """
    shown = shown or path
    try:
        file = path.open("rb")
    except OSError as error:
        raise UsageError(
            f"cannot read the metadata file {shown}: {error.strerror}; check the path"
        ) from error
    with file:
        head = file.read(2)
        if not head:
            raise DamagedFileError(f"the metadata file {shown} is empty; fetch it again")
        if head != b"\x1f\x8b":
            raise DamagedFileError(
                f"{shown} is no gzip file; give a metadata file as released (.jsonl.gzip)"
            )
        file.seek(0)
        yield from _blocks(file, shown)


def _blocks(file: BinaryIO, shown: Path) -> Iterator[Block]:
    from isal import igzip

    number = 1
    rest = b""
    skipping = False
    reader = igzip.IGzipFile(fileobj=file)
    while True:
        try:
            data = reader.read(BLOCK_BYTES)
        except _damage() as error:
            kind = "ends too early, in" if isinstance(error, EOFError) else "is damaged at"
            raise DamagedFileError(
                f"the metadata file {shown} {kind} line {_line_reached(file)}; fetch it again"
            ) from error
        except OSError as error:
            raise DamagedFileError(
                f"the metadata file {shown} cannot be read on after line {number - 1}: "
                f"{error.strerror}; check the disk and fetch it again"
            ) from error
        if not data:
            break
        if skipping:
            _, newline, data = data.partition(b"\n")
            if not newline:
                continue
            skipping = False
        end = data.rfind(b"\n")
        if end < 0:
            rest += data
        else:
            yield Block(number, rest, memoryview(data)[:end], file.tell())
            rest = data[end + 1 :]
            number += _newlines(data)
        if len(rest) > MAX_LINE_BYTES:
            yield Block(number, rest[: MAX_LINE_BYTES + 1], _NOTHING, file.tell())
            number += 1
            rest = b""
            skipping = True
    if rest:
        yield Block(number, rest, _NOTHING, file.tell())


def _newlines(data: bytes) -> int:
    """Count newlines; bytes.count takes twice as long, with the interpreter to itself."""
    return int(np.count_nonzero(np.frombuffer(data, np.uint8) == _NEWLINE))


def _damage() -> tuple[type[Exception], ...]:
    """Return what the decompressor raises for a damaged file."""
    from isal import igzip, isal_zlib

    errors: tuple[Any, ...] = (EOFError, zlib.error, igzip.BadGzipFile, isal_zlib.error)
    return errors


def _line_reached(file: BinaryIO) -> int:
    """Read the damaged file once more in small steps, since a failed read gives nothing."""
    from isal import isal_zlib

    file.seek(0)
    newlines = 0
    reader = isal_zlib.decompressobj(wbits=31)
    while data := file.read(512):
        try:
            newlines += reader.decompress(data).count(b"\n")
            while reader.eof:
                rest = reader.unused_data.lstrip(b"\0")
                reader = isal_zlib.decompressobj(wbits=31)
                if not rest:
                    break
                newlines += reader.decompress(rest).count(b"\n")
        except _damage():
            break
    return newlines + 1
