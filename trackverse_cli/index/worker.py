"""One process that reads blocks of lines for a build, over its standard input and output.

It gets `(first line, length)` and so many bytes of lines, and answers `(length, 0)`, so many bytes
of msgpack, which say what it found, and the table as an Arrow stream. It ends when its input does,
which the end of the building process, whatever ends it, brings about.
"""

from __future__ import annotations

import gc
import signal
import struct
import sys
from typing import TYPE_CHECKING, Any, Final

import msgspec

from trackverse_cli.index.rows import Found, read_text

if TYPE_CHECKING:
    from typing import IO

HEADER: Final = struct.Struct("<qq")


def ask(worker: IO[bytes], first_line: int, begin: bytes, rest: memoryview) -> None:
    """Send a worker a block of lines, which is in two parts."""
    worker.write(HEADER.pack(first_line, len(begin) + len(rest)))
    worker.write(begin)
    worker.write(rest)
    worker.flush()


def answer(worker: IO[bytes]) -> tuple[Found, Any]:
    """Return what a worker found in the block that it was sent.

    Raises:
        EOFError: it ended before it answered.
    """
    import pyarrow as pa

    length, _ = HEADER.unpack(_exactly(worker, HEADER.size))
    found = msgspec.msgpack.decode(_exactly(worker, length), type=Found)
    try:
        return found, pa.ipc.open_stream(worker).read_all()
    except (OSError, pa.ArrowInvalid) as error:
        raise EOFError from error


def _exactly(stream: IO[bytes], length: int) -> bytes:
    content = stream.read(length)
    if len(content) < length:
        raise EOFError
    return content


def main() -> None:
    """Answer until there is no more to answer."""
    import pyarrow as pa

    # A scheduler asks all processes to stop; the one that builds decides what that means.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    gc.disable()  # a line makes many small objects and no cycles
    source, target = sys.stdin.buffer, sys.stdout.buffer
    while header := source.read(HEADER.size):
        first_line, length = HEADER.unpack(header)
        found, table = read_text(first_line, _exactly(source, length))
        said = msgspec.msgpack.encode(found)
        target.write(HEADER.pack(len(said), 0))
        target.write(said)
        with pa.ipc.new_stream(target, table.schema) as stream:
            stream.write_table(table)
        target.flush()
