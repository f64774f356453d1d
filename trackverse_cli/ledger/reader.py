"""Reading the ledger: all of it, or what concerns some videos, while others write it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import msgspec

from trackverse_cli.ledger.entries import EndEntry, Entry, RunEntry, TrackEntry, VideoEntry
from trackverse_cli.ledger.state import LedgerState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from trackverse_cli.layout import Layout

BLOCK_BYTES = 1 << 22
_ID_KEY = b'"video_id":"'
_ID_BEFORE = 128
"""The video's id stands within so many bytes: only `kind` and `time` come before it."""


class PackedClips(Entry, tag="clips", frozen=True, kw_only=True):
    """A `clips` line whose list is checked to be JSON, but still text."""

    video_id: str
    recipe: str
    done: msgspec.Raw


PackedEntry = RunEntry | VideoEntry | PackedClips | TrackEntry | EndEntry
_decode = msgspec.json.Decoder(PackedEntry).decode


def read_ledger(layout: Layout, wanted: Callable[[str], bool] | None = None) -> LedgerState:
    """Read every ledger file of a dataset folder, also while runs write and `clean` compacts.

    Args:
        layout: the dataset folder; one without a ledger gives an empty state.
        wanted: which video ids to keep, all if None; lines of others are not decoded.

    Returns:
        The newest record of every item.

    Raises:
        OSError: a file is there and cannot be read.
    """
    state = LedgerState()
    read: set[str] = set()
    while True:
        names = [name for name in ledger_names(layout) if name not in read]
        gone = False
        for name in names:
            try:
                if read_file(layout.ledger / name, wanted, lambda e: take(state, e)):
                    state.torn.append(name)
            except FileNotFoundError:
                # Compacted since the folder was listed: what it held is in a new file by now.
                gone = True
            read.add(name)
        if not gone:
            return state


def ledger_names(layout: Layout) -> list[str]:
    """Return the names of the ledger's files, sorted."""
    try:
        with os.scandir(layout.ledger) as entries:
            return sorted(e.name for e in entries if e.name.endswith(".jsonl") and e.is_file())
    except (FileNotFoundError, NotADirectoryError):
        return []


def take(state: LedgerState, entry: PackedEntry) -> None:
    """Take one line into a state."""
    if isinstance(entry, PackedClips):
        state.add_clips(entry.video_id, entry.time, entry.recipe, bytes(entry.done))
    elif isinstance(entry, VideoEntry | TrackEntry):
        state.add(entry)


def read_file(
    path: Path,
    wanted: Callable[[str], bool] | None,
    found: Callable[[PackedEntry], None],
    size: int | None = None,
) -> bool:
    """Hand every whole line of one file to `found`.

    Args:
        path: the file.
        wanted: which video ids are of interest, all if None.
        found: takes the lines, in their order.
        size: how many bytes to read, all if None.

    Returns:
        Whether a line was torn: cut off by a kill, a full disk or a lost node. The items on it
        count as not recorded. Lines of unwanted videos are not looked at so closely.
    """
    torn = False
    for line in _lines(path, size):
        if line is None:
            torn = True
            continue
        if wanted is not None:
            video_id = _video_id(line)
            if video_id is not None and not wanted(video_id):
                continue
        try:
            entry = _decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            torn = True
            continue
        if wanted is None or isinstance(entry, RunEntry | EndEntry) or wanted(entry.video_id):
            found(entry)
    return torn


def _lines(path: Path, size: int | None) -> Iterator[bytes | None]:
    """Yield the lines that are not empty; None stands for a last one without a line end."""
    pieces: list[bytes] = []
    left = size
    with path.open("rb", buffering=0) as file:
        while block := file.read(BLOCK_BYTES if left is None else min(left, BLOCK_BYTES)):
            if left is not None:
                left -= len(block)
            if b"\n" not in block:
                pieces.append(block)
                continue
            lines = block.split(b"\n")
            lines[0] = b"".join(pieces) + lines[0]
            pieces = [lines.pop()]
            yield from filter(None, lines)
    if any(pieces):
        yield None


def _video_id(line: bytes) -> str | None:
    """Return the id of a line without decoding it, or None where that takes a closer look.

    An unescaped quote cannot stand inside a JSON text, so what is found is the key itself.
    """
    at = line.find(_ID_KEY, 0, _ID_BEFORE)
    if at < 0:
        return None
    begin = at + len(_ID_KEY)
    # A key that comes twice counts by its last value, which only decoding finds.
    if line[begin + 11 : begin + 12] != b'"' or _ID_KEY in line[begin:]:
        return None
    try:
        return line[begin : begin + 11].decode("ascii")
    except UnicodeDecodeError:
        return None
