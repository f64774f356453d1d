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

from trackverse_cli import __version__
from trackverse_cli.catalog import open_catalog
from trackverse_cli.clock import Clock, SystemClock, utc_text
from trackverse_cli.errors import UsageError
from trackverse_cli.export_rows import Rows, export_schema
from trackverse_cli.files import STORAGE_FULL, atomic_write, storage_full
from trackverse_cli.probe import Level
from trackverse_cli.progress import progress
from trackverse_cli.recipe import recipe_id
from trackverse_cli.worklist import State

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from trackverse_cli.catalog import Catalog
    from trackverse_cli.config import Config

SCHEMA_VERSION = 1

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
    rows = Rows(config, catalog, level)
    done = Exported(path, level)
    schema = export_schema().with_metadata({"trackverse": _about(config, catalog, level, clock)})
    try:
        with (
            atomic_write(path) as temporary,
            parquet.ParquetWriter(temporary, schema, compression="zstd") as writer,
            progress("exporting", len(catalog.costs), "videos", clock) as advance,
        ):
            for table in _grouped(rows.tables(done.states, complete_only, advance)):
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
