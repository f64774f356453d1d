"""Is a file on disk what it claims to be: clips and videos, by header or frame by frame."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

import av

from trackverse_cli.download.check import MOST_PIXELS
from trackverse_cli.encode import ClipOrigin
from trackverse_cli.errors import ItemError
from trackverse_cli.files import checksum
from trackverse_cli.means import raise_if_lacking
from trackverse_cli.recipe import ORIGINAL

if TYPE_CHECKING:
    from pathlib import Path

    from av.container import InputContainer

    from trackverse_cli.ledger import ClipRecord


class Level(IntEnum):
    """How closely `verify` looks; each level includes those below it."""

    PRESENCE = 0
    PROBE = 1
    CHECKSUM = 2
    DECODE = 3


@dataclass(frozen=True, slots=True)
class ClipFacts:
    """What a clip's header says.

    Attributes:
        frames: frames in the container's table.
        bytes: size of the file.
        origin: where it was cut from; None if another program wrote it.
    """

    frames: int
    bytes: int
    origin: ClipOrigin | None


def _opened(path: Path) -> InputContainer:
    return av.open(str(path.absolute()), options={"protocol_whitelist": "file"})


def read_clip(path: Path) -> ClipFacts:
    """Read a clip's header.

    Raises:
        ItemError: reason `clip-damaged`: it is no regular file or no video.
    """
    if path.is_symlink() or not path.is_file():
        raise ItemError("clip-damaged", f"{path} is not a regular file")
    try:
        with _opened(path) as container:
            stream = container.streams.video[0]
            origin = ClipOrigin.from_comment(str(container.metadata.get("comment", "")))
            return ClipFacts(stream.frames, path.stat().st_size, origin)
    except (av.error.FFmpegError, OSError, ValueError, IndexError) as error:
        raise_if_lacking(error)
        raise ItemError("clip-damaged", f"{path} cannot be opened: {error}") from error


def check_clip(
    path: Path, video_id: str, track_id: str, recipe: str, record: ClipRecord | None, level: Level
) -> ClipFacts:
    """Check one clip against what the ledger and its own header say.

    Args:
        path: the clip.
        video_id: the video that it must come from.
        track_id: the track that it must show.
        recipe: how it must have been cut.
        record: the ledger's newest record of it, or None.
        level: PROBE and above.

    Raises:
        ItemError: reason `clip-damaged`, or `other-recipe` for a whole clip that was cut with
            other settings or by another program.
    """
    facts = read_clip(path)
    if record is not None and (facts.frames, facts.bytes) != (record.frames, record.bytes):
        raise ItemError(
            "clip-damaged",
            f"{path} has {facts.frames} frames in {facts.bytes} bytes, "
            f"it was cut with {record.frames} in {record.bytes}",
        )
    origin = facts.origin
    if origin is None and record is not None and record.recipe == ORIGINAL:
        origin = ClipOrigin(track_id, video_id, (0, 0), recipe)  # `adopt` held it against its video
    if origin is None:
        raise ItemError("other-recipe", f"{path} was not cut by trackverse")
    if (origin.video, origin.track) != (video_id, track_id):
        raise ItemError(
            "clip-damaged", f"{path} shows track {origin.track!a} of video {origin.video!a}"
        )
    if origin.recipe != recipe:
        raise ItemError("other-recipe", f"{path} was cut with recipe {origin.recipe!a}")
    if level >= Level.CHECKSUM and record is not None and checksum(path) != record.checksum:
        raise ItemError("clip-damaged", f"{path} has another checksum than when it was cut")
    if level >= Level.DECODE:
        _decode(path, facts.frames)
    return facts


def _decode(path: Path, frames: int) -> None:
    try:
        with _opened(path) as container:
            seen = 0
            last = -1
            for frame in container.decode(video=0):
                if frame.is_corrupt or frame.pts is None or frame.pts <= last:
                    raise ItemError("clip-damaged", f"{path}: frame {seen} is damaged")
                seen, last = seen + 1, frame.pts
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise_if_lacking(error)
        raise ItemError("clip-damaged", f"{path} cannot be decoded: {error}") from error
    if seen != frames:
        raise ItemError("clip-damaged", f"{path} decodes to {seen} of {frames} frames")


def check_video(path: Path, level: Level, expected_checksum: str = "") -> None:
    """Check one source video.

    Args:
        path: the video.
        level: PROBE reads its header and its first frame; CHECKSUM compares what the ledger has;
            DECODE reads every packet to the end, without decoding them all.
        expected_checksum: the ledger's, or "".

    Raises:
        ItemError: reason `video-damaged`.
    """
    try:
        with _opened(path) as container:
            stream = container.streams.video[0]
            if stream.width * stream.height > MOST_PIXELS:
                size = f"{stream.width}x{stream.height}"
                raise ItemError(
                    "video-damaged", f"{path} has pictures of {size}, too large to open"
                )
            if next(container.decode(stream), None) is None:
                raise ItemError("video-damaged", f"{path} holds no frame")
            if level >= Level.DECODE:
                _demux(path)
    except (av.error.FFmpegError, OSError, ValueError, IndexError) as error:
        raise_if_lacking(error)
        raise ItemError("video-damaged", f"{path} cannot be read: {error}") from error
    if level >= Level.CHECKSUM and expected_checksum and checksum(path) != expected_checksum:
        raise ItemError("video-damaged", f"{path} has another checksum than when it came")


def _demux(path: Path) -> None:
    with _opened(path) as container:
        stream = container.streams.video[0]
        packets = sum(1 for packet in container.demux(stream) if packet.size)
        if stream.frames and packets < stream.frames:
            raise ItemError("video-damaged", f"{path} holds {packets} of {stream.frames} frames")
