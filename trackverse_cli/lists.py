"""The lists that a selection takes: videos, tracks, the validation list, metadata files."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from trackverse_cli.errors import RefusedNameError, UsageError
from trackverse_cli.layout import check_video_id

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_GZIP = b"\x1f\x8b"


class _MetadataLine(msgspec.Struct):
    yid: str


_metadata_line = msgspec.json.Decoder(_MetadataLine)


@dataclass(frozen=True, slots=True)
class TrackList:
    """A list of tracks from a file.

    Attributes:
        ids: track ids.
        names: base name of a clip -> label, "" where the list gives none.
    """

    ids: frozenset[str] = frozenset()
    names: dict[str, str] = field(default_factory=dict)

    @property
    def labels(self) -> dict[str, str]:
        """Base name of a clip -> label, where the list gives one: it wins over the metadata's."""
        return {name: label for name, label in self.names.items() if label}


def read_track_list(path: Path) -> TrackList:
    """Read a list of tracks: a track id, or `<clip file name>[,<label>]`, a line.

    Clip names are compared by their base name, as in the dataset's validation list; a name that
    stands there twice counts once, with its first label.

    Raises:
        UsageError: the file cannot be read, or is empty.
    """
    ids: set[str] = set()
    names: dict[str, str] = {}
    for line in _lines(path):
        name, _, label = (part.strip() for part in line.partition(","))
        if name.lower().endswith(".mp4"):
            names.setdefault(name.rpartition("/")[2], label)
        else:
            ids.add(name)
    if not ids and not names:
        raise UsageError(f"{path} lists no track; it wants a track id or a clip's file name a line")
    return TrackList(frozenset(ids), names)


def read_video_list(path: Path) -> frozenset[str]:
    """Read the video ids of a list, of a list of clips, or of a metadata file.

    A line is an id, the file name of a video or of a clip (whose first 11 characters are the id),
    with or without a label, or a JSON object with `yid`. The file may be gzipped. Of a metadata
    file the lines without a valid id are passed over, as they are when it is indexed.

    Raises:
        UsageError: the file cannot be read, a line holds no id, or no line holds any.
    """
    found: set[str] = set()
    for line in _lines(path):
        if line.startswith("{"):
            try:
                found.add(check_video_id(_metadata_line.decode(line).yid))
            except (msgspec.DecodeError, RefusedNameError):
                continue
        else:
            name = line.partition(",")[0].strip().rpartition("/")[2]
            try:
                found.add(check_video_id(name[:11]))
            except RefusedNameError as error:
                raise UsageError(f"{path}: {error}; it wants a video id a line") from None
    if not found:
        raise UsageError(f"{path} names no video; it wants a video id a line")
    return frozenset(found)


def _lines(path: Path) -> Iterator[str]:
    """Yield the lines that are not blank, of a file that may be gzipped."""
    from isal import igzip, isal_zlib

    errors: tuple[Any, ...] = (OSError, EOFError, isal_zlib.error)
    try:
        with path.open("rb") as file:
            packed = file.read(2) == _GZIP
        with igzip.open(path) if packed else path.open("rb") as lines:
            for raw in lines:
                # A list from an old Mac ends its lines with \r alone.
                for line in raw.decode("utf-8-sig").split("\r"):
                    if line.strip():
                        yield line.strip()
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is no text: {error}; give a list with a name a line") from None
    except errors as error:
        told = getattr(error, "strerror", None) or error
        raise UsageError(f"cannot read {path}: {told}; give a file that is whole") from error
