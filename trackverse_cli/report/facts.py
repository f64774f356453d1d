"""All that a page says, before it is a page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from trackverse_cli.probe import Level

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trackverse_cli.findings import Audit, Tally
    from trackverse_cli.report.sheets import Sheet
    from trackverse_cli.report.timeline import Timeline
    from trackverse_cli.worklist import State

LOOKED = {
    Level.PRESENCE: "by the listings of folders and shards alone",
    Level.PROBE: "by the header of every file",
    Level.CHECKSUM: "by every byte",
    Level.DECODE: "by every frame",
}


@dataclass(frozen=True, slots=True)
class Facts:
    """All that a page says.

    Attributes:
        found: the outcome of the audit.
        made: when, in seconds since 1970.
        part: (rank, world size) where only a shard was looked at, or None.
        command: what to run next, or "" where nothing is to be done.
        note: some words on the command.
        shards: shard -> its clips; empty where they are not told apart.
        video_reasons: (state, reason) -> videos.
        timeline: clips and videos over time, or None.
        by_class: class -> clips with their pictures.
        damaged: damaged clips with what is wrong with each.
        left_out: clips that there was no time to make pictures of.
        recipe: how clips are to be cut.
        examples: reason -> a few sentences about it.
    """

    found: Audit
    made: float
    part: tuple[int, int] | None
    command: str
    note: str
    shards: Mapping[int, Tally]
    video_reasons: Mapping[tuple[State, str], int]
    timeline: Timeline | None
    by_class: dict[str, list[Sheet]]
    damaged: list[tuple[Sheet, str]]
    left_out: int
    recipe: str
    examples: Mapping[str, list[str]]
