"""The table that training code wants: a row for each selected clip, in a Parquet file.

Columns, version 1; what a clip does not have is null:

- `video_id`, `track_id`: whose clip it is.
- `path`: its file, relative to the dataset folder; null where there is none.
- `label_id`, `label_name`: its class.
- `state`: `complete`, `missing`, `damaged` or `unrecoverable`; `reason`: why it is not complete.
- `frames`, `bytes`, `checksum`: of the clip that is there.
- `seconds`: the time from its first to its last box, as far as clips go.
- `first_ts`, `last_ts`: those times in the video.
- `shard`, `offset`, `size`: where its bytes are if it stands in a tar shard; `shard` is relative to
  the dataset folder.

Lines of the metadata that were refused have no ids, and no row.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from trackverse_cli import __version__
from trackverse_cli.auditor import Auditor, ClipFinding
from trackverse_cli.catalog import open_catalog
from trackverse_cli.clock import Clock, SystemClock, utc_text
from trackverse_cli.errors import UsageError
from trackverse_cli.files import STORAGE_FULL, atomic_write, storage_full
from trackverse_cli.ledger import read_ledger
from trackverse_cli.machine import usable_cores
from trackverse_cli.outputs.index import ShardIndex
from trackverse_cli.outputs.judge import judge_member
from trackverse_cli.probe import Level
from trackverse_cli.progress import progress
from trackverse_cli.recipe import recipe_id
from trackverse_cli.worklist import State

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from trackverse_cli.catalog import Catalog
    from trackverse_cli.config import Config
    from trackverse_cli.ledger import LedgerState
    from trackverse_cli.outputs.index import Place

SCHEMA_VERSION = 1

VIDEOS_AT_ONCE = 2048
"""Videos whose clips are judged at once, which bounds memory."""

ROWS_IN_GROUP = 100_000


@dataclass(slots=True)
class Exported:
    """What was written.

    Attributes:
        path: the file.
        level: how closely clips were looked at.
        rows: how many clips it has.
        states: clips of the selection by state, whether they have a row or not.
    """

    path: Path
    level: Level
    rows: int = 0
    states: Counter[State] = field(default_factory=Counter)

    def to_json(self) -> dict[str, Any]:
        """Return what `export --json` prints."""
        return {
            "schema": SCHEMA_VERSION,
            "file": str(self.path),
            "level": self.level.name.lower(),
            "rows": self.rows,
            "bytes": self.path.stat().st_size,
            "clips": {"expected": self.states.total()} | {s.value: self.states[s] for s in State},
        }


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


def export(
    config: Config,
    path: Path,
    level: Level = Level.PRESENCE,
    *,
    complete_only: bool = False,
    clock: Clock | None = None,
) -> Exported:
    """Write the table of the selection's clips, whole or not at all.

    Args:
        config: the configuration in force.
        path: the file to be; replaced if it is there.
        level: how closely to look at clips; `verify` has the words.
        complete_only: leave out the clips that are not complete.
        clock: what to take the time from.

    Raises:
        UsageError: no usable index, or nothing can be written there.
        StorageFullError: no space, no quota or no file is left.
    """
    from pyarrow import parquet

    clock = clock or SystemClock()
    catalog = open_catalog(config)
    rows = _Rows(config, catalog, level)
    done = Exported(path, level)
    schema = export_schema().with_metadata({"trackverse": _about(config, catalog, level, clock)})
    try:
        with (
            atomic_write(path) as temporary,
            parquet.ParquetWriter(temporary, schema, compression="zstd") as writer,
            progress("exporting", len(catalog.costs), "videos", clock) as advance,
        ):
            for table in _grouped(rows.tables(done, complete_only, advance)):
                done.rows += len(table)
                writer.write_table(table.cast(schema))
    except OSError as error:
        if error.errno in STORAGE_FULL:
            raise storage_full(error, path.parent) from error
        raise UsageError(
            f"cannot write the table {path}: {error.strerror or error}; "
            "name a file in a folder that is there and yours"
        ) from error
    return done


def _about(config: Config, catalog: Catalog, level: Level, clock: Clock) -> str:
    return json.dumps(
        {
            "schema": SCHEMA_VERSION,
            "made": utc_text(clock.time()),
            "version": __version__,
            "level": level.name.lower(),
            "recipe": recipe_id(config.settings),
            "metadata": catalog.sources,
            "selection": catalog.selection.describe(),
        }
    )


def _grouped(tables: Iterator[Any]) -> Iterator[Any]:
    """Yield tables of about `ROWS_IN_GROUP` rows."""
    import pyarrow as pa

    kept: list[Any] = []
    for table in tables:
        kept.append(table)
        if sum(map(len, kept)) >= ROWS_IN_GROUP:
            yield pa.concat_tables(kept)
            kept = []
    if kept:
        yield pa.concat_tables(kept)


class _Rows:
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

    def tables(self, done: Exported, complete_only: bool, advance: Any) -> Iterator[Any]:
        """Yield Arrow tables of the rows; count in `done`."""
        everything = np.arange(len(self._catalog.costs))
        for begin in range(0, len(everything), VIDEOS_AT_ONCE):
            some = everything[begin : begin + VIDEOS_AT_ONCE]
            found = {
                (one.clip.video_id, one.clip.track_id): one
                for one in self._auditor.look(some, self._workers)
                if isinstance(one, ClipFinding)
            }
            for clips in self._catalog.clips(some):
                yield self._described(clips, found, done, complete_only)
            advance(len(some))

    def _described(
        self,
        clips: Any,
        found: dict[tuple[str, str], ClipFinding],
        done: Exported,
        complete_only: bool,
    ) -> Any:
        import pyarrow as pa

        rows = []
        for clip in clips.to_pylist():
            row = self._row(clip, found[clip["video_id"], clip["track_id"]])
            done.states[State(row["state"])] += 1
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
