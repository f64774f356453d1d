"""Is a clip inside a shard what it claims to be: by header, by checksum, or frame by frame."""

from __future__ import annotations

import hashlib
import os
import tarfile
from typing import TYPE_CHECKING

from trackverse_cli.encode import ClipOrigin
from trackverse_cli.errors import ItemError
from trackverse_cli.means import raise_if_lacking
from trackverse_cli.outputs.names import member_key
from trackverse_cli.outputs.table import BLOCK
from trackverse_cli.probe import ClipFacts, Level
from trackverse_cli.recipe import ORIGINAL, fits

if TYPE_CHECKING:
    from collections.abc import Iterator

    from av.container import InputContainer

    from trackverse_cli.ledger import ClipRecord
    from trackverse_cli.outputs.index import Place

READABLE = {"protocol_whitelist": "file,subfile"}
"""What FFmpeg may open: a file of this machine, and a stretch of one."""


def member_url(place: Place) -> str:
    """Return what FFmpeg opens to read a clip where it stands, without copying it out."""
    end = place.offset + place.size
    return f"subfile,,start,{place.offset},end,{end},,:{place.shard.absolute()}"


def read_member(place: Place) -> Iterator[bytes]:
    """Yield the bytes of a clip in blocks.

    Raises:
        OSError: the shard cannot be read.
        ItemError: reason `clip-damaged`: it ends before the clip does.
    """
    fd = os.open(place.shard, os.O_RDONLY)
    try:
        at, left = place.offset, place.size
        while left:
            block = os.pread(fd, min(left, 1 << 20), at)
            if not block:
                raise ItemError("clip-damaged", f"{place.shard} ends within a clip")
            at, left = at + len(block), left - len(block)
            yield block
    finally:
        os.close(fd)


def check_member(
    place: Place,
    video_id: str,
    track_id: str,
    recipe: str,
    record: ClipRecord | None,
    level: Level,
) -> ClipFacts:
    """Check one clip in a shard; as `probe.check_clip` does for a file.

    Args:
        place: where it stands.
        video_id: the video that it must come from.
        track_id: the track that it must show.
        recipe: how it must have been cut.
        record: the ledger's newest record of it, or None; the shard has its own.
        level: at PRESENCE only the shard's length and what its index says are looked at.

    Returns:
        What its header says; at PRESENCE what the index says, without an origin.

    Raises:
        ItemError: reason `clip-damaged`, or `other-recipe`.
    """
    where = f"clip {member_key(video_id, track_id)} in {place.shard}"
    if not place.is_there:
        raise ItemError("clip-damaged", f"{where}: the shard is cut short")
    if record is not None and (record.bytes, record.checksum) != (place.size, place.checksum):
        raise ItemError("clip-damaged", f"{where} is not the one that the ledger records")
    if not fits(place.recipe, recipe):
        raise ItemError("other-recipe", f"{where} was cut with recipe {place.recipe!a}")
    if level is Level.PRESENCE:
        return ClipFacts(place.frames, place.size, None)
    try:
        _check_header(place, f"{member_key(video_id, track_id)}.mp4", where)
        facts = _read(place, where)
        if level >= Level.CHECKSUM:
            _check_bytes(place, where)
        if level >= Level.DECODE:
            _decode(place, where)
    except OSError as error:
        raise ItemError("clip-damaged", f"{where} cannot be read: {error}") from error
    origin = facts.origin
    if origin is None and place.recipe == ORIGINAL:
        origin = ClipOrigin(track_id, video_id, (0, 0), recipe)  # `adopt` held it against its video
    if origin is None or (origin.video, origin.track) != (video_id, track_id):
        raise ItemError("clip-damaged", f"{where} shows another track")
    if facts.frames != place.frames:
        raise ItemError("clip-damaged", f"{where} has {facts.frames} of {place.frames} frames")
    return facts


def _check_header(place: Place, name: str, where: str) -> None:
    fd = os.open(place.shard, os.O_RDONLY)
    try:
        block = os.pread(fd, BLOCK, place.offset - BLOCK)
    finally:
        os.close(fd)
    try:
        info = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.HeaderError as error:
        raise ItemError("clip-damaged", f"{where} has no header: {error}") from error
    if (info.name, info.size) != (name, place.size):
        raise ItemError("clip-damaged", f"{where}: {info.name!a} stands in its place")


def _check_bytes(place: Place, where: str) -> None:
    if member_checksum(place) != place.checksum:
        raise ItemError("clip-damaged", f"{where} has another checksum than when it was cut")


def open_member(place: Place) -> InputContainer:
    """Open a clip where it stands; raises av.error.FFmpegError if it is no video."""
    import av

    return av.open(member_url(place), format="mov", options=READABLE)


def _read(place: Place, where: str) -> ClipFacts:
    import av

    try:
        with open_member(place) as container:
            stream = container.streams.video[0]
            origin = ClipOrigin.from_comment(str(container.metadata.get("comment", "")))
            return ClipFacts(stream.frames, place.size, origin)
    except (av.error.FFmpegError, ValueError, IndexError) as error:
        raise_if_lacking(error)
        raise ItemError("clip-damaged", f"{where} cannot be opened: {error}") from error


def _decode(place: Place, where: str) -> None:
    import av

    seen, last = 0, -1
    try:
        with open_member(place) as container:
            for frame in container.decode(video=0):
                if frame.is_corrupt or frame.pts is None or frame.pts <= last:
                    raise ItemError("clip-damaged", f"{where}: frame {seen} is damaged")
                seen, last = seen + 1, frame.pts
    except (av.error.FFmpegError, ValueError) as error:
        raise_if_lacking(error)
        raise ItemError("clip-damaged", f"{where} cannot be decoded: {error}") from error
    if seen != place.frames:
        raise ItemError("clip-damaged", f"{where} decodes to {seen} of {place.frames} frames")


def member_checksum(place: Place) -> str:
    """Return the checksum of a clip's bytes as they are, or "" if they cannot all be read."""
    digest = hashlib.blake2b(digest_size=16)
    try:
        for block in read_member(place):
            digest.update(block)
    except (OSError, ItemError):
        return ""
    return digest.hexdigest()
