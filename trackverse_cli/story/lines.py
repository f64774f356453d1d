"""What the ledger has about one video, line by line, with who wrote it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from trackverse_cli.clock import utc_text
from trackverse_cli.ledger import RunEntry
from trackverse_cli.ledger.reader import ledger_names, read_file
from trackverse_cli.story.parts import LedgerLine

if TYPE_CHECKING:
    from trackverse_cli.layout import Layout
    from trackverse_cli.ledger.reader import PackedEntry


def lines_about(layout: Layout, video_id: str, wanted: str | None) -> list[LedgerLine]:
    """Return every line about a video, or about one track and its video, oldest first.

    Args:
        layout: the dataset folder.
        video_id: the video.
        wanted: the track, None for all.

    Raises:
        OSError: a file of the ledger cannot be read.
    """
    found: list[tuple[float, LedgerLine]] = []
    for name in ledger_names(layout):
        runs: list[RunEntry] = []

        def take(entry: PackedEntry, name: str = name, runs: list[RunEntry] = runs) -> None:
            if isinstance(entry, RunEntry):
                runs.append(entry)
                return
            line = _told(entry, wanted)
            if line is not None:
                who = runs[-1] if runs else None
                found.append((entry.time, _line(entry.time, name, who, line)))

        read_file(layout.ledger / name, lambda one: one == video_id, take)
    return [line for _, line in sorted(found, key=lambda pair: pair[0])]


def _told(entry: PackedEntry, wanted: str | None) -> dict[str, Any] | None:
    """Return what a line says, without the tracks that were not asked for; None if nothing."""
    said: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(entry))
    said.pop("time", None)
    if said["kind"] == "end":
        return None
    if wanted is not None and said["kind"] == "track" and said["track_id"] != wanted:
        return None
    if said["kind"] == "clips":
        said["done"] = [one for one in said["done"] if wanted is None or one[0] == wanted]
        if not said["done"]:
            return None
    return said


def _line(time: float, name: str, who: RunEntry | None, said: dict[str, Any]) -> LedgerLine:
    if who is None:
        return LedgerLine(utc_text(time), "", "", "", "", 0, 1, name, said)
    share = (who.rank, who.world_size)
    return LedgerLine(utc_text(time), who.run, who.job, who.host, who.stage, *share, name, said)
