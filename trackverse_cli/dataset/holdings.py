"""Which clips a training run works on and where each is, in some hundred bytes a clip.

Columns instead of objects: workers that were forked share them without copying.
"""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from trackverse_cli.catalog import open_catalog
from trackverse_cli.errors import UsageError
from trackverse_cli.keys import contains, track_keys
from trackverse_cli.layout import check_clip_name
from trackverse_cli.ledger import read_ledger
from trackverse_cli.listed import ListedWorklist
from trackverse_cli.manifest import AnyLine, Held, read_manifest
from trackverse_cli.outputs.index import Place, ShardIndex
from trackverse_cli.recipe import recipe_id
from trackverse_cli.worklist import COMPLETE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from trackverse_cli.config import Config
    from trackverse_cli.keys import Keys

_COLUMNS = ("video_id", "track_id", "clip_name", "label_id", "label_name")
_LINES_AT_ONCE = 50_000
_decode = msgspec.json.Decoder(AnyLine).decode


@dataclass(frozen=True, slots=True, eq=False)
class Holdings:
    """The clips of a dataset, in their order.

    Attributes:
        table: an Arrow table with video_id, track_id, clip_name, label_id (null where it is not
            known), label_name.
        classes: the names of all labels, sorted.
        label_index: (n,) the place of each clip's label in `classes`, -1 for none.
        places: (n,) the row of each clip in `shards`, or -1 for one in a file.
        shards: what the tar shards hold.
    """

    table: Any
    classes: tuple[str, ...]
    label_index: NDArray[np.int64]
    places: NDArray[np.int64]
    shards: ShardIndex

    def __len__(self) -> int:
        return len(self.table)

    def row(self, number: int) -> dict[str, Any]:
        """Return the table's columns of one clip."""
        return {name: self.table[name][number].as_py() for name in _COLUMNS}

    def place(self, number: int) -> Place | None:
        """Return where a clip stands in a shard, or None if it is in a file."""
        row = int(self.places[number])
        return self.shards.place(row) if row >= 0 else None


def holdings_of(config: Config, manifest: Path | None) -> Holdings:
    """Return the clips to train on.

    Args:
        config: the configuration in force, with its selection.
        manifest: what fixes them and their order; without it, what is on disk now, by video and
            track.

    Raises:
        UsageError: no usable index, a manifest that was changed or names clips that the selection
            does not know, or not a single clip.
    """
    shards = ShardIndex.load(config.layout)
    if manifest is None:
        table = _on_disk(config, shards)
        advice = "cut them first; trackverse verify says what is there"
    else:
        table = _listed(config, manifest)
        advice = "select other ones, or make another manifest"
    if not len(table):
        where = manifest or config.layout.root
        raise UsageError(f"{where} holds none of the selected clips; {advice}")
    order = [("video_id", "ascending"), ("track_id", "ascending")]
    return _arranged(table.sort_by(order), shards)


def _arranged(table: Any, shards: ShardIndex) -> Holdings:
    labels = table["label_name"].fill_null("").to_numpy(zero_copy_only=False)
    names, codes = np.unique(labels.astype(str), return_inverse=True)
    classes = tuple(names.tolist())
    if classes[0] == "":
        classes, codes = classes[1:], codes - 1
    places = shards.find_all(_keys(table)) if len(shards) else np.full(len(table), -1)
    return Holdings(table, classes, codes.astype(np.int64), places.astype(np.int64), shards)


def _keys(table: Any) -> Keys:
    return track_keys(table["video_id"].to_pylist(), table["track_id"].to_pylist())


def _on_disk(config: Config, shards: ShardIndex) -> Any:
    """Return the selected clips that are there, by listings and the ledger."""
    import pyarrow as pa

    catalog = open_catalog(config)
    work = ListedWorklist(config.layout, read_ledger(config.layout), recipe_id(config.settings))
    parts = []
    for table in catalog.clips():
        kept = table.select(list(_COLUMNS))
        names = (kept[name].to_pylist() for name in _COLUMNS[:3])
        verdicts = [work.clip(*name) for name in zip(*names, strict=True)]
        # How a clip was cut is no reason not to train on it.
        there = np.array([v is COMPLETE or v.reason == "other-recipe" for v in verdicts], bool)
        if len(shards) and len(kept):
            there |= shards.find_all(_keys(kept)) >= 0
        parts.append(kept.filter(pa.array(there)))
    return pa.concat_tables(parts)


def _listed(config: Config, manifest: Path) -> Any:
    """Return the clips of a manifest, with what the index adds to them."""
    import pyarrow as pa

    read_manifest(manifest)
    parts = list(_tables(manifest))
    schema = pa.schema([(name, pa.string()) for name in (*_COLUMNS[:3], "label_name")])
    table = pa.concat_tables(parts) if parts else schema.empty_table()
    narrowed = bool(config.selection.model_dump(exclude_unset=True).keys() - {"only"})
    if not narrowed and not (config.layout.root / "index").is_dir():
        # The manifest itself says all but the numbers of the classes.
        return _with_ids(table, pa.nulls(len(table), pa.int32()))
    known = pa.concat_tables(list(open_catalog(config).clips()))
    keys, own = _keys(known), _keys(table)
    order = np.argsort(keys)
    found = contains(keys[order], own)
    if not narrowed and not found.all():
        raise UsageError(
            f"the manifest {manifest} names {int((~found).sum()):,} clips that the metadata in "
            f"{config.layout.metadata} does not have; fetch the metadata that it was made from"
        )
    rows = order[np.searchsorted(keys[order], own[found])]
    ids = known["label_id"].combine_chunks().take(pa.array(rows))
    return _with_ids(table.filter(pa.array(found)), ids)


def _with_ids(table: Any, label_ids: Any) -> Any:
    return table.append_column("label_id", label_ids).select(list(_COLUMNS))


def _tables(manifest: Path) -> Iterator[Any]:
    with manifest.open("rb") as plain:
        is_packed = plain.read(2) == b"\x1f\x8b"
    lines: list[Held] = []
    with gzip.open(manifest) if is_packed else manifest.open("rb") as file:
        for text in file:
            line = _decode(text)
            if isinstance(line, Held):
                check_clip_name(line.clip_name)
                lines.append(line)
            if len(lines) == _LINES_AT_ONCE:
                yield _table_of(lines)
                lines = []
    if lines:
        yield _table_of(lines)


def _table_of(lines: list[Held]) -> Any:
    import pyarrow as pa

    text = pa.string()
    return pa.table(
        {
            "video_id": pa.array([line.video_id for line in lines], text),
            "track_id": pa.array([line.track_id for line in lines], text),
            "clip_name": pa.array([line.clip_name for line in lines], text),
            "label_name": pa.array([line.label or None for line in lines], text),
        }
    )
