"""What an adoption works with, and a clip on its way through it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from trackverse_cli.adopting.counts import AdoptOptions
    from trackverse_cli.adopting.folder import Folder
    from trackverse_cli.adopting.judge import Wanted
    from trackverse_cli.adopting.media import ClipHeader, ClipSight
    from trackverse_cli.adopting.source import Eyes
    from trackverse_cli.layout import Layout
    from trackverse_cli.ledger import LedgerState
    from trackverse_cli.merging.carry import Carrier
    from trackverse_cli.metadata import Track
    from trackverse_cli.outputs import ClipSink, ShardIndex


@dataclass(frozen=True, slots=True)
class Means:
    """What every video's adoption works with; threads share it.

    Attributes:
        layout: the root that takes.
        ledger: what its runs recorded.
        shards: what its shards hold.
        recipe: how its clips are to be cut.
        folder: what is taken over.
        eyes: how sources are looked at.
        carrier: brings files.
        sink: where clips go, None to write nothing.
        options: how to adopt.
    """

    layout: Layout
    ledger: LedgerState
    shards: ShardIndex
    recipe: str
    folder: Folder
    eyes: Eyes
    carrier: Carrier
    sink: ClipSink | None
    options: AdoptOptions


@dataclass(slots=True, eq=False)
class Candidate:
    """A clip that has passed so far.

    Attributes:
        track: what it is to show.
        found: its file in the folder.
        at: what is checked: that file, or the one that was brought under a temporary name.
        way: how it was brought, "" if it was not.
        header: what it says.
        recipe: what to record.
        sight: what was seen of it, None of a clip that this program cut.
        wanted: what to hold that against, None without a video.
    """

    track: Track
    found: Path
    at: Path
    way: str
    header: ClipHeader
    recipe: str
    sight: ClipSight | None = None
    wanted: Wanted | None = None
