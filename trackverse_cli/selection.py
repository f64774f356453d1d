"""Which tracks are meant: by class, number per class, length, lists of videos or tracks.

A selection says the same on every machine: classes are filled in the order of a hash of the track,
so that a larger number per class contains a smaller one.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from trackverse_cli.errors import UsageError
from trackverse_cli.layout import check_video_id
from trackverse_cli.manifest import read_manifest
from trackverse_cli.metadata import LineError, parse_line

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from trackverse_cli.settings import SelectSettings

    Mask = NDArray[np.bool_]

COLUMNS = ("video_id", "track_id", "clip_name", "first_ts", "last_ts", "label_name")
"""The columns of an index that a selection looks at."""

_GZIP = b"\x1f\x8b"


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
    def has_labels(self) -> bool:
        """Whether some line gives a label, which then wins over the metadata's."""
        return any(self.names.values())


@dataclass(frozen=True, slots=True)
class Selection:
    """A selection with its files read.

    Attributes:
        settings: what was asked for.
        videos: the only videos, or None for all.
        tracks: the only tracks, or None for all.
        excluded: videos that are left out.
        only: the only (video id, track id), or None for all.
        key: 16 hex digits that name settings and the content of the files.
    """

    settings: SelectSettings
    videos: frozenset[str] | None
    tracks: TrackList | None
    excluded: frozenset[str]
    only: frozenset[tuple[str, str]] | None
    key: str

    @classmethod
    def read(cls, settings: SelectSettings) -> Selection:
        """Read the files of a selection.

        Raises:
            UsageError: a file cannot be read, or holds nothing of its kind.
        """
        videos = _ids(settings.videos) if settings.videos else None
        tracks = read_track_list(settings.tracks) if settings.tracks else None
        excluded = _ids(settings.exclude_videos_of) if settings.exclude_videos_of else frozenset()
        only = read_manifest(settings.only).held() if settings.only else None
        said = settings.model_dump(exclude={"videos", "tracks", "exclude_videos_of", "only"})
        parts: list[object] = [said, sorted(videos or ()), sorted(excluded), sorted(only or ())]
        if tracks is not None:
            parts += [sorted(tracks.ids), sorted(tracks.names.items())]
        text = json.dumps([parts, videos is None, tracks is None, only is None])
        return cls(settings, videos, tracks, excluded, only, _hash(text).hex())

    @property
    def is_everything(self) -> bool:
        """Whether nothing is left out."""
        chosen = self.settings.classes or self.settings.per_class or self.settings.min_seconds
        lists = (self.videos, self.tracks, self.only)
        return not chosen and not self.excluded and all(one is None for one in lists)

    def mask(self, table: Any) -> tuple[Mask, list[str]]:
        """Judge tracks one by one, without regard to the number per class.

        Args:
            table: an Arrow table with `COLUMNS`.

        Returns:
            (n,) whether each is selected so far, and the class of each.
        """
        labels: list[str] = table["label_name"].fill_null("").to_pylist()
        keep = np.ones(table.num_rows, dtype=bool)
        if self.videos is not None:
            keep &= _is_in(table["video_id"], self.videos)
        if self.excluded:
            keep &= ~_is_in(table["video_id"], self.excluded)
        if self.settings.min_seconds:
            keep &= _seconds(table) >= self.settings.min_seconds
        if self.only is not None:
            pairs = zip(table["video_id"].to_pylist(), table["track_id"].to_pylist(), strict=True)
            keep &= np.fromiter((pair in self.only for pair in pairs), bool, table.num_rows)
        if self.tracks is not None:
            names = [name.rpartition("/")[2] for name in table["clip_name"].to_pylist()]
            listed = np.fromiter((n in self.tracks.names for n in names), bool, len(names))
            keep &= listed | _is_in(table["track_id"], self.tracks.ids)
            if self.tracks.has_labels:
                labels = [
                    self.tracks.names.get(n) or own for n, own in zip(names, labels, strict=True)
                ]
        if self.settings.classes:
            wanted = frozenset(self.settings.classes)
            keep &= np.fromiter((label in wanted for label in labels), bool, len(labels))
        return keep, labels


def fill_classes(mask: Mask, labels: list[str], track_ids: list[str], per_class: int) -> Mask:
    """Keep at most so many selected tracks of each class, in the order of a hash of the track."""
    by_class: dict[str, list[tuple[bytes, int]]] = {}
    for place in np.flatnonzero(mask).tolist():
        by_class.setdefault(labels[place], []).append((_hash(track_ids[place]), place))
    kept = np.zeros_like(mask)
    for members in by_class.values():
        members.sort()
        kept[[place for _, place in members[:per_class]]] = True
    return kept


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
        name, _, label = line.partition(",")
        if name.lower().endswith(".mp4"):
            names.setdefault(name.rpartition("/")[2], label.strip())
        else:
            ids.add(name.strip())
    if not ids and not names:
        raise UsageError(f"{path} lists no track; it wants a track id or a clip's file name a line")
    return TrackList(frozenset(ids), names)


def _ids(path: Path) -> frozenset[str]:
    """Return the video ids of a list, of a track list, or of a metadata file."""
    found = set()
    with path.open("rb") as file:
        packed = file.read(2) == _GZIP
    if packed:
        found = set(_ids_of_metadata(path))
    else:
        for line in _lines(path):
            name = line.partition(",")[0].rpartition("/")[2]
            try:
                found.add(check_video_id(name if len(name) == 11 else name[:11]))
            except UsageError as error:
                raise UsageError(f"{path}: {error}; it wants a video id a line") from None
    if not found:
        raise UsageError(f"{path} names no video; it wants a video id a line")
    return frozenset(found)


def _ids_of_metadata(path: Path) -> Iterator[str]:
    import gzip

    try:
        with gzip.open(path) as lines:
            for line in lines:
                try:
                    yield parse_line(line).video_id
                except LineError:
                    continue
    except (OSError, EOFError) as error:
        raise UsageError(f"{path} cannot be read to its end: {error}") from error


def _lines(path: Path) -> list[str]:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is no text: {error}") from None
    return [line.strip() for line in re.split(r"[\r\n]+", text) if line.strip()]


def _is_in(column: Any, values: Collection[str]) -> Mask:
    import pyarrow as pa
    from pyarrow import compute

    kept: Mask = np.asarray(compute.is_in(column, value_set=pa.array(sorted(values), pa.string())))
    return kept


def _seconds(table: Any) -> NDArray[np.float64]:
    seconds: NDArray[np.float64] = table["last_ts"].to_numpy() - table["first_ts"].to_numpy()
    return seconds


def _hash(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=8).digest()
