"""Selection and indexes -> which videos and tracks are meant.

Tracks are looked at a stretch of videos at a time, and a few bytes of each are kept.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from trackverse_cli.choice import Choice
from trackverse_cli.errors import UsageError
from trackverse_cli.index.writer import (
    DECODE_COST,
    ENCODE_COST,
    MAX_CLIP_SECONDS,
    REQUEST_COST,
)
from trackverse_cli.keys import contains, text_keys, track_keys
from trackverse_cli.selection import fill_classes, option
from trackverse_cli.subsets import nearest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from trackverse_cli.choice import Gone
    from trackverse_cli.index import Index
    from trackverse_cli.keys import Keys
    from trackverse_cli.selection import Mask, Selection

    Rows = NDArray[np.int64]

VIDEOS_AT_ONCE = 2048
"""Videos whose tracks are looked at together, which bounds memory."""


@dataclass(eq=False)
class _Tracks:
    """What is kept of each track of one index, in its order."""

    index: Index
    mask: Mask
    codes: NDArray[np.int32]
    seconds: NDArray[np.float32]
    keys: Keys
    names: Keys

    @classmethod
    def of(cls, index: Index, with_keys: bool, with_names: bool) -> _Tracks:
        count = int(index.track_counts.sum())
        return cls(
            index,
            np.zeros(count, dtype=bool),
            np.zeros(count, dtype=np.int32),
            np.zeros(count, dtype=np.float32),
            np.zeros(count if with_keys else 0, dtype=np.uint64),
            np.zeros(count if with_names else 0, dtype=np.uint64),
        )

    @cached_property
    def video_rows(self) -> Rows:
        """(t,) the row of each track's video."""
        return np.repeat(np.arange(len(self.index.track_counts)), self.index.track_counts)


@dataclass(eq=False)
class _Chooser:
    """Looks at all tracks once.

    Attributes:
        selection: what was asked for.
        several: whether there are several indexes.
        matched: condition -> tracks that fulfil it.
        classes: class -> its number.
    """

    selection: Selection
    several: bool
    matched: dict[str, int] = field(default_factory=dict)
    classes: dict[str, int] = field(default_factory=dict)

    def look(self, index: Index) -> _Tracks:
        """Return the tracks of an index, judged by all but the number per class."""
        settings = self.selection.settings
        with_keys = self.several or bool(settings.per_class) or self.selection.only is not None
        tracks = _Tracks.of(index, with_keys, self.several)
        ends = np.cumsum(index.track_counts)
        of_videos = list(self.selection.of_videos(index.video_ids))
        for begin in range(0, len(ends), VIDEOS_AT_ONCE):
            rows = np.arange(begin, min(begin + VIDEOS_AT_ONCE, len(ends)))
            first = int(ends[begin] - index.track_counts[begin])
            self._look_at(index.clips(rows), tracks, slice(first, int(ends[rows[-1]])))
        for key, fulfilled in of_videos:
            self._narrow(key, tracks.mask, fulfilled[tracks.video_rows])
        return tracks

    def _look_at(self, table: Any, tracks: _Tracks, part: slice) -> None:
        track_ids, clip_names = (table[name].to_pylist() for name in ("track_id", "clip_name"))
        if len(tracks.keys):
            tracks.keys[part] = track_keys(table["video_id"].to_pylist(), track_ids)
        if len(tracks.names):
            tracks.names[part] = text_keys(clip_names)
        seconds = table["last_ts"].to_numpy() - table["first_ts"].to_numpy()
        codes = self._codes(table["label_name"], clip_names)
        tracks.seconds[part], tracks.codes[part] = seconds, codes
        mask = np.ones(len(track_ids), dtype=bool)
        keys = tracks.keys[part]
        for key, fulfilled in self.selection.of_tracks((track_ids, clip_names), keys, seconds):
            self._narrow(key, mask, fulfilled)
        wanted = self.selection.settings.classes
        if wanted:
            numbers = [self.classes[name] for name in wanted if name in self.classes]
            self._narrow("classes", mask, np.isin(codes, numbers))
        tracks.mask[part] = mask

    def _narrow(self, key: str, mask: Mask, fulfilled: Mask) -> None:
        self.matched[key] = self.matched.get(key, 0) + int(fulfilled.sum())
        mask &= fulfilled

    def _codes(self, labels: Any, clip_names: Sequence[str]) -> NDArray[np.int32]:
        if self.selection.labels:
            own = labels.fill_null("").to_pylist()
            names = self.selection.label_of(clip_names, own)
            return np.fromiter((self._code(name) for name in names), np.int32, len(names))
        encoded = labels.fill_null("").combine_chunks().dictionary_encode()
        known = np.array([self._code(name) for name in encoded.dictionary.to_pylist()], np.int32)
        return known[encoded.indices.to_numpy()] if len(known) else np.zeros(0, np.int32)

    def _code(self, name: str) -> int:
        return self.classes.setdefault(name, len(self.classes))

    def check_classes(self) -> None:
        """Raise UsageError for a class that no track has."""
        for name in self.selection.settings.classes:
            if name not in self.classes:
                known = sorted(one for one in self.classes if one)
                told = nearest(name, known) if len(known) <= 20 else _close(name, known)
                raise UsageError(f"no track is of class '{name}'; {told}")

    def nothing(self, names: str) -> UsageError:
        """Return the sentence for a selection that holds no track."""
        settings = self.selection.settings
        for key, number in self.matched.items():
            value = getattr(settings, key)
            if not number:
                return UsageError(
                    f"no track of {names} fulfils {option(key)} {value}; "
                    "is it meant for other metadata? `trackverse fetch-meta` says what there is"
                )
        told = ", ".join(f"{option(key)} {getattr(settings, key)}" for key in self.matched)
        return UsageError(
            f"no track of {names} fulfils all of {told or 'the selection'} together; "
            "leave one of them out"
        )


def _close(name: str, known: list[str]) -> str:
    import difflib

    near = difflib.get_close_matches(name, known, n=5, cutoff=0.5)
    return f"near are {', '.join(near)}" if near else f"{len(known):,} classes are known, none near"


def choose(indexes: Sequence[Index], selection: Selection, gone: Gone | None, base: str) -> Choice:
    """Apply a selection to some indexes; a track or clip name of two of them counts once.

    Args:
        indexes: the first one wins where two give the same.
        selection: what is meant.
        gone: what others take the place of, or None.
        base: kept in the result.

    Raises:
        UsageError: it selects nothing, names an unknown class, or a file of it cannot be used.
    """
    chooser = _Chooser(selection, len(indexes) > 1)
    looked: list[_Tracks] = []
    for index in indexes:
        tracks = chooser.look(index)
        for earlier in looked:
            tracks.mask &= ~contains(np.sort(earlier.keys), tracks.keys)
            tracks.mask &= ~contains(np.sort(earlier.names), tracks.names)
        looked.append(tracks)
    chooser.check_classes()
    if selection.settings.per_class:
        _fill(looked, selection.settings.per_class, gone)
    if not any(tracks.mask.any() for tracks in looked):
        raise chooser.nothing(", ".join(index.name for index in indexes))
    return _joined(looked, base)


def _fill(looked: Sequence[_Tracks], per_class: int, gone: Gone | None) -> None:
    if gone is not None:
        for tracks in looked:
            ids = tracks.index.video_ids
            videos = np.fromiter((name in gone.videos for name in ids), bool, len(ids))
            tracks.mask &= ~gone.holds(tracks.keys, videos[tracks.video_rows])
    mask, codes, keys = (
        np.concatenate([getattr(tracks, name) for tracks in looked])
        for name in ("mask", "codes", "keys")
    )
    kept = fill_classes(mask, codes, keys, per_class)
    ends = np.cumsum([len(tracks.mask) for tracks in looked])[:-1]
    for tracks, own in zip(looked, np.split(kept, ends), strict=True):
        tracks.mask = own


def _joined(looked: Sequence[_Tracks], base: str) -> Choice:
    """Number the videos that have a selected track, and find each of them in every index."""
    numbers: dict[str, int] = {}
    for tracks in looked:
        ids = tracks.index.video_ids
        for row in np.unique(tracks.video_rows[tracks.mask]).tolist():
            numbers.setdefault(ids[row], len(numbers))
    costs = np.full(len(numbers), REQUEST_COST)
    rows = []
    for tracks in looked:
        # Also videos of which this file's tracks are not selected: they settle the geometry.
        places = [numbers.get(name, -1) for name in tracks.index.video_ids]
        place = np.array(places, dtype=np.int64)
        own = np.full(len(numbers), -1, dtype=np.int64)
        known = np.flatnonzero(place >= 0)
        own[place[known]] = known
        rows.append(own)
        seconds = np.minimum(tracks.seconds, MAX_CLIP_SECONDS) * tracks.mask
        work = np.bincount(tracks.video_rows, seconds, len(place))
        costs[place[known]] += (DECODE_COST + ENCODE_COST) * work[known]
    return Choice(base, tuple(rows), tuple(tracks.mask for tracks in looked), costs)
