"""The availability manifest: what one copy of the dataset holds, and what could not be had.

Two labs that train on the same manifest train on the same clips. It names ids, frames and the
recipe, never bytes or checksums of clips, which differ between encoders. `docs/schemas.md` has
its lines; the file is gzipped if its name ends in `.gz`.
"""

from __future__ import annotations

import gzip
import hashlib
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import msgspec
import numpy as np

from trackverse_cli.errors import UsageError
from trackverse_cli.keys import track_keys

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from trackverse_cli.keys import Keys

SCHEMA_VERSION = 1
LINES_AT_ONCE = 50_000
_MAX_LINE_BYTES = 1 << 20


class Line(msgspec.Struct, frozen=True, tag_field="kind", kw_only=True):
    """What every line has: its `kind`."""


class Head(Line, tag="manifest", frozen=True, kw_only=True):
    """The first line.

    Attributes:
        schema: the version of this format.
        made: when, as `2026-11-22T15:30:00Z`.
        version: of the program.
        level: how closely `verify` looked.
        recipe: the name of how the clips were cut.
        settings: what the recipe stands for.
        metadata: name, file and checksum of each metadata file.
        selection: what was selected, {} for everything; files by name and checksum.
        clips: how many lines of clips follow.
        lost: how many lines of what could not be had follow.
        content: hash of the clips' lines: the same for two copies that hold the same.
    """

    schema: int = SCHEMA_VERSION
    made: str
    version: str
    level: str
    recipe: str
    settings: dict[str, Any]
    metadata: list[dict[str, str]]
    selection: dict[str, Any]
    clips: int
    lost: int
    content: str


class Held(Line, tag="clip", frozen=True, kw_only=True):
    """A clip that the copy holds; `label` is its class, or ""."""

    video_id: str
    track_id: str
    clip_name: str
    frames: int
    label: str


class Lost(Line, tag="lost", frozen=True, kw_only=True):
    """A clip that the copy does not hold, and why; a refused line has no ids."""

    video_id: str
    track_id: str
    clip_name: str
    label: str
    state: Literal["missing", "damaged", "unrecoverable"]
    reason: str


class End(Line, tag="end", frozen=True, kw_only=True):
    """The last line; `seal` is the hash of every byte before it."""

    seal: str


AnyLine = Head | Held | Lost | End
encode_line = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(AnyLine).decode


class _Version(msgspec.Struct):
    kind: Literal["manifest"]
    schema: int


@dataclass(frozen=True, slots=True, eq=False)
class Manifest:
    """A manifest that was read and found unchanged.

    Attributes:
        head: its first line.
        keys: the keys of (video id, track id) of every clip, ascending.
    """

    head: Head
    keys: Keys

    def held(self) -> Keys:
        """Return the keys (`keys.track_keys`) of every clip that the copy holds, ascending."""
        return self.keys


def new_hash() -> hashlib.blake2b:
    """Return the hash of `content` and `seal`."""
    return hashlib.blake2b(digest_size=16)


def is_packed(path: Path) -> bool:
    """Say whether a manifest of that name is gzipped."""
    return path.name.endswith(".gz")


def read_head(path: Path) -> Head:
    """Return the first line of a manifest, without looking at the rest.

    Raises:
        UsageError: it cannot be read, or is no manifest of this version.
    """
    return _head(path, next(_lines(path), b""))


def read_manifest(path: Path) -> Manifest:
    """Read a manifest to its end and check that nobody changed it; some 8 bytes a clip are kept.

    Raises:
        UsageError: it cannot be read, is no manifest of this version, was cut short or changed.
    """
    whole, content = new_hash(), new_hash()
    parts: list[Keys] = []
    clips: list[Held] = []
    seal = ""
    lost = 0
    lines = _lines(path)
    first = next(lines, b"")
    head = _head(path, first)
    whole.update(first)
    for raw in lines:
        line = _line(path, raw)
        if seal or isinstance(line, Head):
            raise _changed(path)
        if isinstance(line, End):
            seal = line.seal
            continue
        whole.update(raw)
        if isinstance(line, Held):
            content.update(raw)
            clips.append(line)
        else:
            lost += 1
        if len(clips) == LINES_AT_ONCE:
            parts.append(_keys(clips))
            clips = []
    parts.append(_keys(clips))
    keys = np.sort(np.concatenate(parts))
    if not seal:
        raise UsageError(
            f"the manifest {path} was cut short: its last line is not there; fetch it again"
        )
    if (seal, head.content) != (whole.hexdigest(), content.hexdigest()):
        raise _changed(path)
    if (head.clips, head.lost) != (len(keys), lost):
        raise _changed(path)
    return Manifest(head, keys)


def _keys(clips: list[Held]) -> Keys:
    return track_keys((clip.video_id for clip in clips), (clip.track_id for clip in clips))


def _changed(path: Path) -> UsageError:
    return UsageError(
        f"the manifest {path} was changed after it was written: its hash is another; "
        "fetch it again, or write one with verify --manifest"
    )


def _head(path: Path, raw: bytes) -> Head:
    try:
        version = msgspec.json.decode(raw, type=_Version)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise UsageError(
            f"{path} is no manifest; `trackverse verify --manifest FILE` writes one"
        ) from None
    if version.schema != SCHEMA_VERSION:
        raise UsageError(
            f"the manifest {path} has schema {version.schema}, and this version reads "
            f"{SCHEMA_VERSION}; upgrade trackverse"
        )
    line = _line(path, raw)
    if not isinstance(line, Head):
        raise _changed(path)
    return line


def _line(path: Path, raw: bytes) -> AnyLine:
    try:
        line: AnyLine = _decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise _changed(path) from None
    return line


def _lines(path: Path) -> Iterator[bytes]:
    """Yield the lines of a manifest with their line ends."""
    try:
        # Reads a plain file as well as a gzipped one, whatever its name says.
        with path.open("rb") as plain:
            packed = plain.read(2) == b"\x1f\x8b"
            plain.seek(0)
            file = gzip.GzipFile(fileobj=plain) if packed else plain
            while line := file.readline(_MAX_LINE_BYTES):
                yield line
    except (OSError, EOFError, zlib.error) as error:
        told = getattr(error, "strerror", None) or error
        raise UsageError(f"cannot read the manifest {path}: {told}; fetch it again") from error
