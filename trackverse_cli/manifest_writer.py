"""Writes an availability manifest: lines come in any order, leave sorted, in bounded memory."""

from __future__ import annotations

import gzip
import heapq
import tempfile
from contextlib import ExitStack, contextmanager
from typing import IO, TYPE_CHECKING, Any

from trackverse_cli.errors import UsageError
from trackverse_cli.files import atomic_write, temporary_beside
from trackverse_cli.manifest import End, Head, Held, Lost, encode_line, is_packed, new_hash

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import Self

LINES_IN_MEMORY = 200_000


class ManifestWriter:
    """Collects the lines; `write` makes the file. A context manager that removes what it spooled.

    Args:
        path: the manifest to be.

    Raises:
        UsageError: nothing can be written there.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lines: list[bytes] = []
        self._runs: list[IO[bytes]] = []
        self._stack = ExitStack()
        self._counts = {Held: 0, Lost: 0}
        probe = temporary_beside(path)
        try:
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise self._told(error) from error

    def _told(self, error: OSError) -> UsageError:
        return UsageError(
            f"cannot write the manifest {self._path}: {error.strerror or error}; "
            "name a file in a folder that is yours"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def add(self, line: Held | Lost) -> None:
        """Take one line, in any order."""
        self._counts[type(line)] += 1
        self._lines.append(encode_line(line) + b"\n")
        if len(self._lines) >= LINES_IN_MEMORY:
            self._spool()

    def _spool(self) -> None:
        file = self._stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 - the stack closes it
        file.writelines(sorted(self._lines))
        file.seek(0)
        self._runs.append(file)
        self._lines = []

    def write(self, **facts: Any) -> Head:
        """Write the file, whole or not at all; return its first line.

        Args:
            facts: the fields of `Head` but for the counts and the hash.

        Raises:
            UsageError: it cannot be written.
        """
        self._spool()
        content = new_hash()
        with tempfile.TemporaryFile() as body:
            # "clip" sorts before "lost", so the clips come first, by video and track.
            for line in heapq.merge(*self._runs):
                if line.startswith(_CLIP):
                    content.update(line)
                body.write(line)
            body.seek(0)
            head = Head(
                clips=self._counts[Held],
                lost=self._counts[Lost],
                content=content.hexdigest(),
                **facts,
            )
            try:
                self._publish(head, body)
            except OSError as error:
                raise self._told(error) from error
        return head

    def _publish(self, head: Head, body: IO[bytes]) -> None:
        whole = new_hash()
        with atomic_write(self._path) as temporary, _opened(temporary, self._path) as file:
            first = encode_line(head) + b"\n"
            whole.update(first)
            file.write(first)
            while block := body.read(1 << 20):
                whole.update(block)
                file.write(block)
            file.write(encode_line(End(seal=whole.hexdigest())) + b"\n")


_CLIP = b'{"kind":"clip",'


@contextmanager
def _opened(path: Path, named: Path) -> Iterator[Any]:
    with path.open("xb") as file:
        if not is_packed(named):
            yield file
            return
        # Neither name nor time in the gzip: the same lines give the same bytes.
        with gzip.GzipFile("", "wb", 6, file, mtime=0) as packed:
            yield packed
