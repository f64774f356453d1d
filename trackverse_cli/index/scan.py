"""One pass over a metadata file: decompress, check every line, make tables, in step."""

from __future__ import annotations

import gc
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from trackverse_cli.errors import DamagedFileError
from trackverse_cli.index.pool import Pool, workers_for
from trackverse_cli.index.source import read_blocks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from trackverse_cli.index.rows import Found, RefusedLine
    from trackverse_cli.index.source import Block

    Progress = Callable[[int, int], None]

REFUSED_LIMIT: Final = 1_000_000
"""Bad lines are kept with their reasons; a file with more is none of ours, or means harm."""

_AHEAD: Final = 2
"""Blocks that may wait beside those being read: more would only cost memory."""


@dataclass(slots=True)
class Scan:
    """What one pass over a metadata file found.

    Attributes:
        lines: lines that are not blank.
        refused: lines that give no track, in order.
        dialects: good lines of each dialect.
    """

    lines: int = 0
    refused: list[RefusedLine] = field(default_factory=list)
    dialects: dict[str, int] = field(default_factory=dict)

    @property
    def dialect(self) -> str:
        """The dialect of the file, or `mixed`."""
        known = [name for name, count in self.dialects.items() if count]
        return known[0] if len(known) == 1 else "mixed"

    def _count(self, found: Found) -> None:
        self.lines += found.lines
        self.refused += found.refused
        for name, count in found.dialects.items():
            self.dialects[name] = self.dialects.get(name, 0) + count

    def _not_a_flood(self, shown: Path) -> None:
        if len(self.refused) > REFUSED_LIMIT:
            first = self.refused[0]
            raise DamagedFileError(
                f"over {REFUSED_LIMIT:,} lines of {shown} give no track, and line {first.line} "
                f"says why: {first.message}; check that this is TrackVerse metadata"
            )

    def read(
        self, path: Path, shown: Path, take: Callable[[Found, Any], None], report: Progress
    ) -> None:
        """Read a whole file; `report` gets compressed bytes read, and their total."""
        total = path.stat().st_size if path.is_file() else 0
        workers = workers_for(total)
        waiting: deque[Future[tuple[Found, Any]]] = deque()

        def finish(limit: int) -> None:
            while len(waiting) > limit:
                found, table = waiting.popleft().result()
                self._count(found)
                self._not_a_flood(shown)
                if table.num_rows:
                    take(found, table)

        blocks = read_blocks(path, shown)
        with ThreadPoolExecutor(1) as reader, Pool(workers) as pool, _no_collection():
            ahead: Future[Block | None] = reader.submit(next, blocks, None)
            while block := ahead.result():
                ahead = reader.submit(next, blocks, None)
                waiting.append(pool.read(block))
                finish(workers + _AHEAD)
                report(min(block.bytes_read, total), total)
            finish(0)
        report(total, total)


@contextmanager
def _no_collection() -> Iterator[None]:
    """Pause the cycle collector: lines make many small objects and no cycles, 15 % of the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def scan_file(
    source: Path,
    take: Callable[[Found, Any], None],
    *,
    progress: Progress | None = None,
    shown: Path | None = None,
) -> Scan:
    """Read a metadata file to its end and check every line.

    Args:
        source: the gzip file.
        take: gets what each block holds and its Arrow table, in the order of the file.
        progress: gets compressed bytes read, and their total.
        shown: the name for errors, `source` if None.

    Raises:
        DamagedFileError: the file is empty, no gzip, damaged, or no line of it gives a track.
    """
    shown = shown or source
    scan = Scan()
    scan.read(source, shown, take, progress or _no_report)
    if not scan.lines:
        raise DamagedFileError(f"the metadata file {shown} has no lines; fetch it again")
    if len(scan.refused) == scan.lines:
        first = scan.refused[0]
        raise DamagedFileError(
            f"no line of {shown} gives a track, and line {first.line} says why: "
            f"{first.message}; check that this is TrackVerse metadata"
        )
    return scan


def _no_report(_done: int, _total: int) -> None:
    pass
