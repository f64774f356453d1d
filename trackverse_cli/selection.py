"""Which tracks are meant: by class, number per class, length, lists of videos or tracks.

A selection says the same on every machine: classes are filled in the order of a hash of the track,
so that a larger number per class contains a smaller one.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from trackverse_cli.errors import UsageError
from trackverse_cli.files import checksum
from trackverse_cli.keys import contains
from trackverse_cli.lists import TrackList, read_track_list, read_video_list
from trackverse_cli.manifest import read_manifest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from trackverse_cli.keys import Keys
    from trackverse_cli.settings import SelectSettings

    Mask = NDArray[np.bool_]

FILE_KEYS = ("videos", "tracks", "exclude_videos_of", "only")
"""The keys of `SelectSettings` that name a file."""


@dataclass(frozen=True)
class Selection:
    """What was asked for; its files are read when they are needed.

    Attributes:
        settings: what was asked for.
        files: key of `SelectSettings` -> checksum of the file that it names.
    """

    settings: SelectSettings
    files: dict[str, str]

    @classmethod
    def of(cls, settings: SelectSettings) -> Selection:
        """Return the selection of some settings, with the checksums of its files.

        Raises:
            UsageError: a file cannot be read.
        """
        files = {}
        for key in FILE_KEYS:
            path = getattr(settings, key)
            if path is not None:
                try:
                    files[key] = checksum(path)
                except OSError as error:
                    raise UsageError(
                        f"cannot read {path}: {error.strerror}; {option(key)} wants a file"
                    ) from error
        return cls(settings, files)

    @property
    def is_everything(self) -> bool:
        """Whether nothing is left out."""
        chosen = self.settings.classes or self.settings.per_class or self.settings.min_seconds
        return not chosen and not self.files

    @property
    def key(self) -> str:
        """32 hex digits that name the settings and the content of the files."""
        said = self.settings.model_dump(exclude=set(FILE_KEYS))
        text = json.dumps([said, self.files], sort_keys=True)
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()

    def describe(self) -> dict[str, Any]:
        """Return the settings that are not defaults; files by base name and checksum."""
        said = self.settings.model_dump(mode="json", exclude_defaults=True)
        for key, digest in self.files.items():
            said[key] = {"name": getattr(self.settings, key).name, "checksum": digest}
        return said

    @cached_property
    def videos(self) -> frozenset[str] | None:
        """The only videos, or None for all; raises UsageError if the file is no list."""
        path = self.settings.videos
        return None if path is None else read_video_list(path)

    @cached_property
    def excluded(self) -> frozenset[str]:
        """Videos that are left out; raises UsageError if the file is no list."""
        path = self.settings.exclude_videos_of
        return frozenset() if path is None else read_video_list(path)

    @cached_property
    def tracks(self) -> TrackList | None:
        """The only tracks, or None for all; raises UsageError if the file is no list."""
        path = self.settings.tracks
        return None if path is None else read_track_list(path)

    @cached_property
    def only(self) -> Keys | None:
        """The keys of the only tracks, ascending, or None for all.

        Raises as `read_manifest`, and UsageError for a manifest of a copy that holds no clip.
        """
        path = self.settings.only
        if path is None:
            return None
        held = read_manifest(path).held()
        if not len(held):
            raise UsageError(f"{path} lists no clip: the copy that it tells of holds none")
        return held

    @cached_property
    def labels(self) -> dict[str, str]:
        """Base name of a clip -> label that wins over the metadata's."""
        return {} if self.tracks is None else self.tracks.labels

    def label_of(self, clip_names: Sequence[str], labels: Sequence[str]) -> list[str]:
        """Return the class of each clip: the list's if it gives one, else the metadata's."""
        won = self.labels
        if not won:
            return list(labels)
        pairs = zip(clip_names, labels, strict=True)
        return [won.get(name.rpartition("/")[2], own) for name, own in pairs]

    def of_videos(self, video_ids: Sequence[str]) -> Iterator[tuple[str, Mask]]:
        """Yield each condition on videos: its key, and (v,) which videos fulfil it."""
        if self.videos is not None:
            yield "videos", _in(video_ids, self.videos)
        if self.excluded:
            yield "exclude_videos_of", ~_in(video_ids, self.excluded)

    def of_tracks(
        self, names: tuple[Sequence[str], Sequence[str]], keys: Keys, seconds: NDArray[np.float64]
    ) -> Iterator[tuple[str, Mask]]:
        """Yield each condition on tracks but that on classes.

        Args:
            names: the track ids and the clip names, n each.
            keys: (n,) their keys; may be empty where nothing but a manifest would need them.
            seconds: (n,) their lengths.

        Yields:
            The condition's key, and (n,) which tracks fulfil it.
        """
        if self.settings.min_seconds:
            yield "min_seconds", seconds >= self.settings.min_seconds
        if self.only is not None:
            yield "only", contains(self.only, keys)
        if self.tracks is not None:
            track_ids, clip_names = names
            base = [name.rpartition("/")[2] for name in clip_names]
            yield "tracks", _in(base, self.tracks.names) | _in(track_ids, self.tracks.ids)


def _in(values: Sequence[str], known: frozenset[str] | dict[str, str]) -> Mask:
    return np.fromiter((value in known for value in values), bool, len(values))


def option(key: str) -> str:
    """Return the flag of a key of `SelectSettings`."""
    return "--" + key.replace("_", "-")


def fill_classes(mask: Mask, codes: NDArray[np.int32], keys: Keys, per_class: int) -> Mask:
    """Keep at most so many selected tracks of each class, in the order of their keys.

    Args:
        mask: (n,) which tracks are selected.
        codes: (n,) the number of each track's class.
        keys: (n,) the key of each track.
        per_class: how many to keep.
    """
    places = np.flatnonzero(mask)
    order = places[np.lexsort((keys[places], codes[places]))]
    classes = codes[order]
    begins = np.flatnonzero(np.append(True, classes[1:] != classes[:-1])) if len(order) else order
    sizes = np.diff(np.append(begins, len(order)))
    within = np.arange(len(order)) - np.repeat(begins, sizes)
    kept = np.zeros_like(mask)
    kept[order[within < per_class]] = True
    return kept
