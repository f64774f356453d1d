"""The record of every outcome: append-only lines of JSON, one file per rank and run.

Format, version 1. Each line is one object with `kind`, and `time` in seconds since 1970:

- `run`: who writes this file (stage, rank, world size, host, pid, version, metadata names and the
  key of the selection).
- `video`: a video came (`present`), did not (`failed`, with reason) or was removed after all its
  clips were checked (`evicted`).
- `clips`: clips of one video that were cut with one recipe, each as
  [track id, frames, bytes, checksum].
- `track`: one track that could not be cut, with its reason.
- `end`: the last line of a run that closed its file; a killed run leaves none.

The newest line about an item wins, in whatever order files are read. A line that is torn (its
writer was killed, or its disk was full) is passed over; nothing else is.

How large it gets: a run writes at most two `video` lines for each video of its shard, `clips` for
the clips that it cut, about 75 bytes each, and a `track` line for each track that it could not
cut; no message is longer than `MESSAGE_CHARACTERS`. What is done is not written again, so only
items that fail in every run add lines with every run. Compaction (`trackverse clean`) takes the
files of ended runs together: at most four `video` lines for a video are left (the newest of each
state, and the one with the largest source size), and one record for each clip and failed track.
"""

from __future__ import annotations

from trackverse_cli.ledger.compaction import Compaction, compact
from trackverse_cli.ledger.entries import (
    MESSAGE_CHARACTERS,
    SCHEMA_VERSION,
    AnyEntry,
    ClipsEntry,
    EndEntry,
    Entry,
    RunEntry,
    TrackEntry,
    VideoEntry,
)
from trackverse_cli.ledger.follower import Followed, LedgerFollower, RankTally
from trackverse_cli.ledger.reader import read_ledger
from trackverse_cli.ledger.runs import RunFile, run_files
from trackverse_cli.ledger.state import ClipRecord, ClipTable, LedgerState
from trackverse_cli.ledger.writer import Ledger

__all__ = [
    "MESSAGE_CHARACTERS",
    "SCHEMA_VERSION",
    "AnyEntry",
    "ClipRecord",
    "ClipTable",
    "ClipsEntry",
    "Compaction",
    "EndEntry",
    "Entry",
    "Followed",
    "Ledger",
    "LedgerFollower",
    "LedgerState",
    "RankTally",
    "RunEntry",
    "RunFile",
    "TrackEntry",
    "VideoEntry",
    "compact",
    "read_ledger",
    "run_files",
]
