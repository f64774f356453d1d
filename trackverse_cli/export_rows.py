"""The rows of `export`'s table: each clip of a catalogue, judged and described."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from trackverse_cli.auditor import Auditor
from trackverse_cli.findings import ClipFinding
from trackverse_cli.ledger import read_ledger
from trackverse_cli.machine import usable_cores
from trackverse_cli.outputs.index import ShardIndex
from trackverse_cli.outputs.judge import judge_member
from trackverse_cli.recipe import recipe_id
from trackverse_cli.worklist import State

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterator

    from trackverse_cli.catalog import Catalog
    from trackverse_cli.config import Config
    from trackverse_cli.ledger import LedgerState
    from trackverse_cli.outputs.index import Place
    from trackverse_cli.probe import Level

VIDEOS_AT_ONCE = 2048
"""Videos whose clips are judged at once, which bounds memory."""


def export_schema() -> Any:
    """Return the columns as an Arrow schema."""
    import pyarrow as pa

    text = pa.string()
    return pa.schema(
        [
            ("video_id", text),
            ("track_id", text),
            ("path", text),
            ("label_id", pa.int32()),
            ("label_name", text),
            ("state", text),
            ("reason", text),
            ("frames", pa.int32()),
            ("bytes", pa.int64()),
            ("checksum", text),
            ("seconds", pa.float64()),
            ("first_ts", pa.float64()),
            ("last_ts", pa.float64()),
            ("shard", text),
            ("offset", pa.int64()),
            ("size", pa.int64()),
        ]
    )


class Rows:
    """Judges the clips of a catalogue, and describes each in a row."""

    def __init__(self, config: Config, catalog: Catalog, level: Level) -> None:
        self._catalog = catalog
        self._layout = config.layout
        self._level = level
        self._recipe = recipe_id(config.settings)
        self._longest = config.settings.extract.max_clip_seconds
        self._workers = config.settings.extract.workers or usable_cores()
        self._ledger: LedgerState = read_ledger(self._layout)
        self._shards = ShardIndex.load(self._layout)
        self._auditor = Auditor(
            catalog, self._layout, self._ledger, self._recipe, level, None, needs_frames=True
        )

    def tables(self, states: Counter[State], complete_only: bool, advance: Any) -> Iterator[Any]:
        """Yield Arrow tables of the rows; count every clip in `states`."""
        everything = np.arange(len(self._catalog.costs))
        for begin in range(0, len(everything), VIDEOS_AT_ONCE):
            some = everything[begin : begin + VIDEOS_AT_ONCE]
            found = {
                (one.clip.video_id, one.clip.track_id): one
                for one in self._auditor.look(some, self._workers)
                if isinstance(one, ClipFinding)
            }
            for clips in self._catalog.clips(some):
                yield self._described(clips, found, states, complete_only)
            advance(len(some))

    def _described(
        self,
        clips: Any,
        found: dict[tuple[str, str], ClipFinding],
        states: Counter[State],
        complete_only: bool,
    ) -> Any:
        import pyarrow as pa

        rows = []
        for clip in clips.to_pylist():
            row = self._row(clip, found[clip["video_id"], clip["track_id"]])
            states[State(row["state"])] += 1
            if row["state"] == State.COMPLETE or not complete_only:
                rows.append(row)
        return pa.Table.from_pylist(rows, schema=export_schema())

    def _row(self, clip: dict[str, Any], one: ClipFinding) -> dict[str, Any]:
        video_id, track_id = clip["video_id"], clip["track_id"]
        verdict = one.verdict
        place = self._shards.find(video_id, track_id)
        is_sound = verdict.state is State.COMPLETE
        if place is not None and is_sound and (self._layout.tracks / clip["clip_name"]).exists():
            place = None  # a sound file comes first
        if place is not None:
            name = (video_id, track_id)
            verdict = judge_member(place, *name, self._recipe, self._ledger, self._level)
        row = {
            "video_id": video_id,
            "track_id": track_id,
            "label_id": clip["label_id"],
            "label_name": clip["label_name"],
            "state": verdict.state.value,
            "reason": verdict.reason or None,
            "seconds": min(clip["last_ts"] - clip["first_ts"], self._longest),
            "first_ts": clip["first_ts"],
            "last_ts": clip["last_ts"],
        }
        if place is not None:
            return row | self._in_shard(place)
        if verdict.state in (State.COMPLETE, State.DAMAGED):
            return row | self._in_file(one)
        return row

    def _in_shard(self, place: Place) -> dict[str, Any]:
        return {
            "frames": place.frames,
            "bytes": place.size,
            "checksum": place.checksum,
            "shard": self._layout.relative(place.shard),
            "offset": place.offset,
            "size": place.size,
        }

    def _in_file(self, one: ClipFinding) -> dict[str, Any]:
        clip = one.clip
        path = self._layout.tracks / clip.clip_name
        record = self._ledger.clips.get((clip.video_id, clip.track_id))
        known: dict[str, Any] = {"frames": one.frames or None}
        if record is not None:
            known = {"frames": record.frames, "bytes": record.bytes, "checksum": record.checksum}
        elif path.is_file():
            known["bytes"] = path.stat().st_size
        return {"path": self._layout.relative(path)} | known
