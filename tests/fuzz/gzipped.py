"""A gzipped metadata file: all of its lines with their numbers, or one sentence that names it."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

from tests.fuzz import metadata
from trackverse_cli.errors import DamagedFileError
from trackverse_cli.index.source import read_blocks

if TYPE_CHECKING:
    from pathlib import Path


def seeds() -> list[bytes]:
    """Return whole, joined, cut and padded files."""
    text = b"\n".join(metadata.seeds()[:4]) + b"\n"
    one = gzip.compress(text, mtime=0)
    stored = gzip.compress(text, 0, mtime=0)
    return [one, one + stored, one[:-5], one + b"\0" * 20, stored, stored[:40], gzip.compress(b"")]


def check(data: bytes, folder: Path) -> None:
    """Read `data` as a file."""
    path = folder / "File.jsonl.gzip"
    path.write_bytes(data)
    lines = 0
    try:
        for block in read_blocks(path):
            assert block.first_line == lines + 1, "lines are counted without a gap"
            assert 0 <= block.bytes_read <= len(data)
            lines += block.text.count(b"\n") + 1
    except DamagedFileError as error:
        said = str(error)
        assert path.name in said
        assert said.isprintable()
        return
    try:
        text = gzip.decompress(data)
    except (OSError, EOFError, ValueError) as error:
        raise AssertionError(f"a damaged file was taken for a whole one: {error}") from error
    assert lines == text.count(b"\n") + bool(text and not text.endswith(b"\n"))
