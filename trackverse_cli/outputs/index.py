"""Which clips the shards of a dataset folder hold, and where: some 70 bytes a clip."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from loguru import logger

from trackverse_cli.keys import track_keys
from trackverse_cli.outputs.names import IDX, TAR, run_of_shard, shards_folder
from trackverse_cli.outputs.table import ReadTable, read_index, scan_tar, table_of

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from trackverse_cli.keys import Keys
    from trackverse_cli.layout import Layout

_NUMBERS = ("key", "offset", "size", "frames")
_COLUMNS = (*_NUMBERS, "recipe", "checksum", "video_id")
_ROW = np.dtype(
    [
        ("key", "<u8"), ("shard", "<i4"), ("recipe", "<i4"), ("frames", "<i4"),
        ("offset", "<i8"), ("size", "<i8"), ("checksum", "S32"),
    ]
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Place:
    """Where a clip stands in a shard.

    Attributes:
        shard: the tar.
        offset: where the clip's bytes begin in it.
        size: how many they are.
        frames: how many frames the clip has.
        recipe: how it was cut.
        checksum: of the clip's bytes.
        is_there: whether the tar is long enough to hold it.
    """

    shard: Path
    offset: int
    size: int
    frames: int
    recipe: str
    checksum: str
    is_there: bool


class ShardIndex:
    """The clips of all shards of a dataset folder, as of when it was loaded.

    Args:
        shards: the tars.
        tar_bytes: how large each of them is on disk.
        recipes: the names that the rows refer to.
        rows: the clips, by key; each key once.
        old: rows of clips that a newer shard holds as well.
    """

    def __init__(
        self,
        shards: Sequence[Path],
        tar_bytes: Sequence[int],
        recipes: Sequence[str],
        rows: NDArray[Any],
        old: NDArray[Any],
    ) -> None:
        self.shards = tuple(shards)
        self._tar_bytes = tuple(tar_bytes)
        self._recipes = tuple(recipes)
        self._rows = rows
        self._old = old

    @classmethod
    def load(cls, layout: Layout, videos: Collection[str] | None = None) -> ShardIndex:
        """Read the index of every shard; one that is lost or damaged is made up from its tar.

        Args:
            layout: the dataset folder; one without shards gives an empty index.
            videos: keep the clips of these videos alone, all if None.

        Raises:
            OSError: a shard whose index is lost cannot be read.
        """
        found = _by_age(_read_all(shards_folder(layout)))
        recipes: dict[str, int] = {}
        parts = [
            _rows_of(table.rows, number, recipes, videos)
            for number, (_, _, table) in enumerate(found)
        ]
        rows = np.concatenate(parts) if parts else np.empty(0, dtype=_ROW)
        # A clip that several shards hold counts for the newest: the last of equal keys.
        backwards = rows[::-1]
        _, newest = np.unique(backwards["key"], return_index=True)
        paths, sizes = [path for path, _, _ in found], [size for _, size, _ in found]
        is_old = np.ones(len(backwards), dtype=bool)
        is_old[newest] = False
        return cls(paths, sizes, list(recipes), backwards[newest], backwards[is_old])

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def keys(self) -> Keys:
        """The keys (`keys.track_keys`) of all clips, ascending."""
        keys: Keys = self._rows["key"]
        return keys

    def superseded(self) -> dict[Path, set[int]]:
        """Return shard -> keys of the clips in it that a newer shard holds (`drop_members`)."""
        found: dict[Path, set[int]] = {}
        for row in self._old:
            found.setdefault(self.shards[int(row["shard"])], set()).add(int(row["key"]))
        return found

    def find(self, video_id: str, track_id: str) -> Place | None:
        """Return where a clip is, or None."""
        if not len(self._rows):
            return None
        row = int(self.find_all(track_keys([video_id], [track_id]))[0])
        return self.place(row) if row >= 0 else None

    def find_all(self, keys: Keys) -> NDArray[np.int64]:
        """Return (n,) the row of each key, or -1; `place` takes rows."""
        if not len(self._rows):
            return np.full(len(keys), -1, dtype=np.int64)
        rows = np.minimum(np.searchsorted(self.keys, keys), len(self._rows) - 1)
        return np.where(self.keys[rows] == keys, rows, -1).astype(np.int64)

    def place(self, row: int) -> Place:
        """Return what one row says."""
        one = self._rows[row]
        number, end = int(one["shard"]), int(one["offset"] + one["size"])
        return Place(
            self.shards[number], int(one["offset"]), int(one["size"]), int(one["frames"]),
            self._recipes[int(one["recipe"])], one["checksum"].decode(),
            end <= self._tar_bytes[number],
        )  # fmt: skip


def _read_all(folder: Path) -> list[tuple[Path, int, ReadTable]]:
    found = []
    try:
        names = sorted(os.listdir(folder))  # noqa: PTH208 - names
    except OSError:
        return []
    for name in names:
        stem = name.removesuffix(TAR)
        path = folder / name
        if stem == name or run_of_shard(stem) is None or path.is_symlink() or not path.is_file():
            continue
        table = read_index(folder / f"{stem}{IDX}", _COLUMNS)
        if table is None:
            logger.warning(
                "the index of shard {} is lost or damaged; the shard itself is read", path
            )
            facts = path.stat()
            table = ReadTable(table_of(scan_tar(path)), facts.st_mtime, facts.st_size, ())
        found.append((path, path.stat().st_size, table))
    return found


def _by_age(found: list[tuple[Path, int, ReadTable]]) -> list[tuple[Path, int, ReadTable]]:
    """Return the shards that count, oldest first."""
    gone = {name for _, _, table in found for name in table.replaces}
    kept = [one for one in found if one[0].name.removesuffix(TAR) not in gone]
    return sorted(kept, key=lambda one: (one[2].made, one[0].name))


def _rows_of(
    table: Any, shard: int, recipes: dict[str, int], videos: Collection[str] | None
) -> NDArray[Any]:
    import pyarrow as pa
    import pyarrow.compute as pc

    if videos is not None:
        wanted = pa.array(sorted(videos), pa.string())
        table = table.filter(pc.is_in(table["video_id"], value_set=wanted))
    rows = np.empty(len(table), dtype=_ROW)
    for name in _NUMBERS:
        rows[name] = table[name].to_numpy()
    rows["shard"] = shard
    coded = table["recipe"].combine_chunks().dictionary_encode()
    codes = [recipes.setdefault(name, len(recipes)) for name in coded.dictionary.to_pylist()]
    rows["recipe"] = np.array(codes, dtype=np.int32)[coded.indices.to_numpy()] if codes else 0
    rows["checksum"] = table["checksum"].to_numpy(zero_copy_only=False).astype("S32")
    return rows
