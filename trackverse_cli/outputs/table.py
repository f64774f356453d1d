"""The index of one shard: a row for each clip, in the order of the tar.

Columns of `<shard>.idx`, version 1, a Parquet file:

- `key`: eight bytes that stand for (video id, track id), see `trackverse_cli.keys`.
- `member`: the clip's name in the tar without its ending.
- `video_id`, `track_id`, `clip_name`: as in `metadata.Track`.
- `label_id`, `label`: its class, or null.
- `frames`, `recipe`, `checksum`: as in the ledger.
- `offset`, `size`: where the clip's bytes are in the tar.

The table's own key `trackverse` holds JSON: `schema`, `made` (seconds since 1970), `tar_bytes`, and
`replaces`, the names of shards whose clips this one has taken over.
"""

from __future__ import annotations

import json
import tarfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trackverse_cli.keys import track_keys

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

SCHEMA_VERSION = 1
BLOCK = tarfile.BLOCKSIZE
_ABOUT = b"trackverse"


@dataclass(frozen=True, slots=True)
class Member:
    """What a shard says of one clip.

    Attributes:
        video_id: 11 checked characters.
        track_id: unique within its video.
        clip_name: what its file would be called below `tracks_mp4/`.
        label_id: its class, or None.
        label: the name of its class, or "".
        frames: how many it has.
        recipe: how it was cut.
    """

    video_id: str
    track_id: str
    clip_name: str
    label_id: int | None
    label: str
    frames: int
    recipe: str


@dataclass(frozen=True, slots=True)
class Row:
    """A clip that stands in a shard: `offset` and `size` of its bytes, and their checksum."""

    member: Member
    key: str
    offset: int
    size: int
    checksum: str


def schema() -> Any:
    """Return the columns as an Arrow schema."""
    import pyarrow as pa

    return pa.schema(
        [
            ("key", pa.uint64()),
            ("member", pa.string()),
            ("video_id", pa.string()),
            ("track_id", pa.string()),
            ("clip_name", pa.string()),
            ("label_id", pa.int32()),
            ("label", pa.string()),
            ("frames", pa.int32()),
            ("recipe", pa.string()),
            ("checksum", pa.string()),
            ("offset", pa.int64()),
            ("size", pa.int64()),
        ]
    )


def table_of(rows: Sequence[Row]) -> Any:
    """Return the rows as an Arrow table."""
    import pyarrow as pa

    members = [row.member for row in rows]
    columns: dict[str, Any] = {
        "key": track_keys((m.video_id for m in members), (m.track_id for m in members)),
        "member": [row.key for row in rows],
        "video_id": [m.video_id for m in members],
        "track_id": [m.track_id for m in members],
        "clip_name": [m.clip_name for m in members],
        "label_id": [m.label_id for m in members],
        "label": [m.label or None for m in members],
        "frames": [m.frames for m in members],
        "recipe": [m.recipe for m in members],
        "checksum": [row.checksum for row in rows],
        "offset": [row.offset for row in rows],
        "size": [row.size for row in rows],
    }
    return pa.table(columns, schema=schema())


def write_index(
    path: Path, rows: Sequence[Row], tar_bytes: int, made: float, replaces: Sequence[str] = ()
) -> None:
    """Write the index of a shard to `path`, which the caller renames."""
    from pyarrow import parquet

    about = {
        "schema": SCHEMA_VERSION, "made": made, "tar_bytes": tar_bytes, "replaces": list(replaces),
    }  # fmt: skip
    table = table_of(rows).replace_schema_metadata({_ABOUT: json.dumps(about)})
    parquet.write_table(table, path, compression="zstd")


@dataclass(frozen=True, slots=True)
class ReadTable:
    """An index that was read: the Arrow table, and what it says about itself."""

    rows: Any
    made: float
    tar_bytes: int
    replaces: tuple[str, ...]


def read_index(path: Path, columns: Sequence[str] | None = None) -> ReadTable | None:
    """Read an index, or return None if it is not there, damaged, or of a later version."""
    import pyarrow as pa
    from pyarrow import parquet

    try:
        table = parquet.read_table(path, columns=columns and list(columns), partitioning=None)
        about = json.loads((table.schema.metadata or {})[_ABOUT])
        if about["schema"] > SCHEMA_VERSION:
            return None
        replaces = tuple(str(name) for name in about["replaces"])
        return ReadTable(table, float(about["made"]), int(about["tar_bytes"]), replaces)
    except (OSError, pa.ArrowException, ValueError, KeyError, TypeError):
        return None


def scan_tar(path: Path) -> list[Row]:
    """Read from a shard itself what its index would say; what is cut off at its end is left out.

    Raises:
        OSError: it cannot be read.
    """
    rows: list[Row] = []
    clip: tarfile.TarInfo | None = None
    try:
        with tarfile.open(path, "r:") as tar:
            for member in tar:
                stem, _, ending = member.name.partition(".")
                if ending == "mp4":
                    clip = member
                elif ending == "json" and clip is not None and clip.name == f"{stem}.mp4":
                    file = tar.extractfile(member)
                    if file is not None and (row := _scanned(stem, clip, file.read(1 << 20))):
                        rows.append(row)
    except tarfile.TarError:
        return rows
    return rows


def _scanned(key: str, clip: tarfile.TarInfo, text: bytes) -> Row | None:
    try:
        said = json.loads(text)
        told = said.pop("checksum"), clip.offset_data, clip.size
        return Row(Member(**said), key, told[1], told[2], str(told[0]))
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
