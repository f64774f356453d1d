"""Where finished clips go: files, or tar shards where file systems hate small files.

A shard is `tracks_tar/<stage>-<rank>of<world size>-<run>-<number>.tar`; the `webdataset` package
reads it as it is: `KEY.mp4` and `KEY.json` for each clip, the clips of a video together. Beside
it lies its index `….idx`, a Parquet table (`outputs.table`), so that any clip is found without
reading a shard.

A shard appears whole: it grows under a temporary name that carries the run's id, its index is
published first, and the rename of the tar is what makes its clips count. So a tar never lacks an
index, an index without a tar says nothing, and what a killed run left is told by its name.
"""

from __future__ import annotations

from trackverse_cli.outputs.arrivals import Arrivals
from trackverse_cli.outputs.check import check_member, member_url
from trackverse_cli.outputs.choice import SHARDS_ABOVE_CLIPS, choose_output
from trackverse_cli.outputs.index import Place, ShardIndex
from trackverse_cli.outputs.judge import judge_listed, judge_member
from trackverse_cli.outputs.leftovers import discard_leftovers
from trackverse_cli.outputs.names import member_key, shards_folder
from trackverse_cli.outputs.rewrite import drop_members
from trackverse_cli.outputs.sink import (
    ClipSink,
    FileSink,
    FinishedClip,
    Gathered,
    ShardSink,
)
from trackverse_cli.outputs.table import SCHEMA_VERSION, Member
from trackverse_cli.outputs.writer import ShardWriter

__all__ = [
    "SCHEMA_VERSION",
    "SHARDS_ABOVE_CLIPS",
    "Arrivals",
    "ClipSink",
    "FileSink",
    "FinishedClip",
    "Gathered",
    "Member",
    "Place",
    "ShardIndex",
    "ShardSink",
    "ShardWriter",
    "check_member",
    "choose_output",
    "discard_leftovers",
    "drop_members",
    "judge_listed",
    "judge_member",
    "member_key",
    "member_url",
    "shards_folder",
]
