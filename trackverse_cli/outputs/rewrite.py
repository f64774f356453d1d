"""A shard without some of its clips: a clip that is cut anew must not be in two shards."""

from __future__ import annotations

import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from trackverse_cli.errors import DamagedFileError, ItemError
from trackverse_cli.files import checksum
from trackverse_cli.outputs.check import read_member
from trackverse_cli.outputs.index import Place
from trackverse_cli.outputs.names import IDX, TAR
from trackverse_cli.outputs.table import Member, read_index, scan_tar, table_of
from trackverse_cli.outputs.writer import ShardWriter

if TYPE_CHECKING:
    from collections.abc import Collection


def drop_members(
    shard: Path, unwanted: Collection[int], stage: str, run: str, number: int = 0
) -> Path | None:
    """Replace a shard by one without some of its clips.

    The new shard names the old one as replaced before that goes, so that whoever reads the index
    never counts a clip twice or not at all, whenever this is killed.

    Args:
        shard: the tar.
        unwanted: the keys (`keys.track_keys`) of the clips that go; further ones whose bytes are
            damaged go as well.
        stage: the command that does it.
        run: the run's id, 12 hex digits.
        number: counts the shards that one run replaces.

    Returns:
        The new shard, or None if no clip was left.

    Raises:
        OSError: it cannot be read, or the new one cannot be written.
    """
    stem = shard.name.removesuffix(TAR)
    read = read_index(shard.with_suffix(IDX))
    rows = (read.rows if read is not None else table_of(scan_tar(shard))).to_pylist()
    with (
        ShardWriter(
            shard.parent,
            stage,
            number,
            1,
            run,
            max_bytes=1 << 62,
            max_clips=1 << 62,
            replaces=[stem],
        ) as writer,
        tempfile.TemporaryDirectory(prefix="trackverse-") as spool,
    ):
        clip = Path(spool) / "clip"
        for row in rows:
            if row["key"] in unwanted:
                continue
            with suppress(DamagedFileError):
                _copy_out(shard, row, clip)
                names = ("video_id", "track_id", "clip_name", "label_id", "frames", "recipe")
                writer.add(clip, Member(label=row["label"] or "", **{n: row[n] for n in names}))
        new = writer.roll()
    shard.unlink()
    shard.with_suffix(IDX).unlink(missing_ok=True)
    return new


def _copy_out(shard: Path, row: dict[str, object], target: Path) -> None:
    offset, size = int(str(row["offset"])), int(str(row["size"]))
    place = Place(shard, offset, size, 0, "", str(row["checksum"]), True)
    try:
        with target.open("wb") as file:
            file.writelines(read_member(place))
    except ItemError as error:
        raise DamagedFileError(error.message) from error
    if checksum(target) != place.checksum:
        raise DamagedFileError(f"a clip in {shard} has another checksum than when it was cut")
