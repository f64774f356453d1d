"""Writes shards: one tar after the other, each under a temporary name until it is whole."""

from __future__ import annotations

import hashlib
import json
import os
import tarfile
from contextlib import suppress
from dataclasses import asdict
from typing import TYPE_CHECKING, Self

from trackverse_cli.clock import Clock, SystemClock
from trackverse_cli.files import make_folder, publish
from trackverse_cli.outputs.names import IDX, TAR, member_key, shard_stem, temporary_of
from trackverse_cli.outputs.table import BLOCK, Member, Row, write_index

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

MAX_BYTES = 512 << 20
MAX_CLIPS = 10_000
_SYNC_BYTES = 32 << 20
"""What is brought to the disk at once, so that the end of a shard is not held up by all of it."""


class ShardWriter:
    """Puts clips into shards; not for several threads at once (`sink.ShardSink` is).

    Args:
        folder: where the shards go.
        stage: the command that writes.
        rank: in [0, world_size).
        world_size: how many ranks share the work.
        run: the run's id, 12 hex digits.
        max_bytes: a shard that has grown to so much is full.
        max_clips: likewise in clips.
        clock: what to take the time from.
        replaces: names of shards that the first one written takes the place of.

    Raises:
        UsageError: the folder cannot be made.
        StorageFullError: no space, no quota or no file is left.
    """

    def __init__(
        self,
        folder: Path,
        stage: str,
        rank: int,
        world_size: int,
        run: str,
        *,
        max_bytes: int = MAX_BYTES,
        max_clips: int = MAX_CLIPS,
        clock: Clock | None = None,
        replaces: Sequence[str] = (),
    ) -> None:
        make_folder(folder, "the folder of the shards")
        self._folder = folder
        self._who = (stage, rank, world_size, run)
        self._limits = (max_bytes, max_clips)
        self._clock = clock or SystemClock()
        self._replaces = tuple(replaces)
        self._number = 0
        self._fd: int | None = None
        self._path = folder
        self._rows: list[Row] = []
        self._end = self._synced = 0
        self._begun = 0.0

    @property
    def waiting(self) -> int:
        """How many clips are in the shard that is not published yet."""
        return len(self._rows)

    @property
    def age_seconds(self) -> float:
        """How long the oldest of them has waited."""
        return self._clock.monotonic() - self._begun if self._rows else 0.0

    @property
    def is_full(self) -> bool:
        """Whether the shard wants to be published before more is added."""
        max_bytes, max_clips = self._limits
        return bool(self._rows) and (self._end >= max_bytes or len(self._rows) >= max_clips)

    @property
    def target(self) -> Path:
        """Where the shard that is being written will stand."""
        return self._folder / f"{shard_stem(*self._who, self._number)}{TAR}"

    def add(self, clip: Path, member: Member) -> Row:
        """Append one clip from a file; it counts only after `roll`.

        Raises:
            OSError: the disk refused; the shard is as it was before.
        """
        fd = self._open()
        begin = self._end
        key = member_key(member.video_id, member.track_id)
        try:
            row = self._append(fd, clip, key, member)
        except BaseException:
            with suppress(OSError):
                os.ftruncate(fd, begin)
            self._end = begin
            raise
        if not self._rows:
            self._begun = self._clock.monotonic()
        self._rows.append(row)
        if self._end - self._synced >= _SYNC_BYTES:
            os.fsync(fd)
            self._synced = self._end
        return row

    def _append(self, fd: int, clip: Path, key: str, member: Member) -> Row:
        digest = hashlib.blake2b(digest_size=16)
        with clip.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            self._write(fd, _header(f"{key}.mp4", size))
            offset, copied = self._end, 0
            while block := file.read(1 << 20):
                digest.update(block)
                copied += len(block)
                self._write(fd, block)
        if copied != size:
            raise OSError(f"{clip} changed while it was read")
        self._pad(fd, size)
        checksum = digest.hexdigest()
        said = json.dumps(asdict(member) | {"checksum": checksum}, sort_keys=True).encode()
        self._write(fd, _header(f"{key}.json", len(said)) + said)
        self._pad(fd, len(said))
        return Row(member, key, offset, size, checksum)

    def _write(self, fd: int, content: bytes) -> None:
        left = memoryview(content)
        while left:
            written = os.pwrite(fd, left, self._end)
            self._end += written
            left = left[written:]

    def _pad(self, fd: int, size: int) -> None:
        self._write(fd, bytes(-size % BLOCK))

    def _open(self) -> int:
        if self._fd is None:
            path = temporary_of(self._folder, self._who[3])
            self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
            self._path = path
            self._end = self._synced = 0
        return self._fd

    def roll(self) -> Path | None:
        """Publish the shard, and begin another with the next clip.

        Returns:
            Its path, or None if there was nothing to publish. It counts when this returns.

        Raises:
            OSError: the disk refused; the shard is as it was, and may be published later.
        """
        if self._fd is None:
            return None
        if not self._rows:
            self.abandon()
            return None
        stem = shard_stem(*self._who, self._number)
        # Two empty blocks end a tar; they are written over if this fails and more is added.
        tar_bytes = self._end + os.pwrite(self._fd, bytes(2 * BLOCK), self._end)
        os.ftruncate(self._fd, tar_bytes)
        os.fsync(self._fd)
        index = temporary_of(self._folder, self._who[3])
        try:
            write_index(index, self._rows, tar_bytes, self._clock.time(), self._replaces)
            # The index first: the tar is what counts, and must never lack it.
            publish(index, self._folder / f"{stem}{IDX}")
        except BaseException:
            with suppress(OSError):
                index.unlink()
            raise
        target = self.target
        publish(self._path, target)
        os.close(self._fd)
        self._fd, self._rows, self._replaces = None, [], ()
        self._number += 1
        return target

    def abandon(self) -> None:
        """Throw away what is not published."""
        if self._fd is not None:
            os.close(self._fd)
            with suppress(OSError):
                self._path.unlink()
        self._fd, self._rows = None, []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self.roll()
        else:
            self.abandon()


def _header(name: str, size: int) -> bytes:
    """Return the header of a member; the same clip gives the same bytes whoever writes it."""
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, 0o644
    return info.tobuf(tarfile.USTAR_FORMAT)
