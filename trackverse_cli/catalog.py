"""What a command works on: the selected tracks of one metadata file, or of several together.

A video that several files name is one video here: downloaded once, opened once. A track or a clip
name that two files give counts once, for the file that was named first.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from trackverse_cli.errors import UsageError
from trackverse_cli.files import atomic_write
from trackverse_cli.index import Index, RefusedLine, open_index, resolve_metadata
from trackverse_cli.index.writer import (
    DECODE_COST,
    ENCODE_COST,
    MAX_CLIP_SECONDS,
    REQUEST_COST,
)
from trackverse_cli.ledger import LedgerState, read_ledger
from trackverse_cli.reasons import UNRECOVERABLE
from trackverse_cli.selection import COLUMNS, Selection, fill_classes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from trackverse_cli.config import Config
    from trackverse_cli.metadata import Track

    Rows = NDArray[np.int64]

FROZEN_VARIABLE = "TRACKVERSE_SELECTION"
"""Names the choice that a job was submitted with, so that its ranks agree while it runs."""

VIDEOS_AT_ONCE = 4096
"""Videos whose clips are listed at once, which bounds memory."""


@dataclass(frozen=True, slots=True)
class Video:
    """One video of a catalogue.

    Attributes:
        video_id: its id.
        tracks: every known track, selected or not, since together they settle the geometry.
        selected: those that are to be cut.
    """

    video_id: str
    tracks: tuple[Track, ...]
    selected: tuple[Track, ...]


@dataclass(frozen=True, slots=True)
class Choice:
    """Which videos and tracks of several indexes are meant.

    Attributes:
        rows: for each index (v,) the row of every chosen video in it, or -1.
        masks: for each index (t,) whether each of its tracks is selected.
        costs: (v,) seconds of work for the selected tracks of every video.
    """

    rows: tuple[Rows, ...]
    masks: tuple[NDArray[np.bool_], ...]
    costs: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Gone:
    """What the ledger says cannot be had, so that others take its place in a class."""

    videos: frozenset[str] = frozenset()
    tracks: frozenset[tuple[str, str]] = frozenset()

    @classmethod
    def of(cls, ledger: LedgerState) -> Gone:
        """Return what has an unrecoverable reason as its newest."""
        videos = (v.video_id for v in ledger.videos.values() if v.reason in UNRECOVERABLE)
        tracks = (key for key, f in ledger.failures.items() if f.reason in UNRECOVERABLE)
        return cls(frozenset(videos), frozenset(tracks))


class Catalog:
    """The selected tracks of one or more indexes, by video.

    Args:
        indexes: at least one; the first one wins where two give the same track.
        choice: which of their videos and tracks are meant, None for all of a single index.
        selection: where the choice comes from.
        key: the name under which the choice is kept for other ranks, "" for everything.
    """

    def __init__(
        self,
        indexes: Sequence[Index],
        choice: Choice | None,
        selection: Selection,
        key: str = "",
    ) -> None:
        self.key = key
        self._indexes = tuple(indexes)
        self._choice = choice
        self.selection = selection

    @property
    def name(self) -> str:
        """The names of its indexes, joined by `+`."""
        return "+".join(index.name for index in self._indexes)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of its indexes."""
        return tuple(index.name for index in self._indexes)

    @cached_property
    def video_ids(self) -> list[str]:
        """The id of each video, by row."""
        if self._choice is None:
            return self._indexes[0].video_ids
        ids = np.empty(len(self._choice.costs), dtype=object)
        for index, rows in zip(self._indexes, self._choice.rows, strict=True):
            known = np.array(index.video_ids, dtype=object)
            ids[rows >= 0] = known[rows[rows >= 0]]
        names: list[str] = ids.tolist()
        return names

    @property
    def costs(self) -> NDArray[np.float64]:
        """(v,) estimated seconds of work, by row."""
        return self._indexes[0].costs if self._choice is None else self._choice.costs

    @cached_property
    def refused(self) -> list[RefusedLine]:
        """The lines of all indexes that gave no track; a selection leaves them out."""
        if not self.selection.is_everything:
            return []
        return [line for index in self._indexes for line in index.refused]

    def videos(self, rows: Rows | None = None) -> Iterator[Video]:
        """Yield videos with their tracks, in the order of the rows; raises as `Index.videos`."""
        wanted = np.arange(len(self.costs)) if rows is None else np.sort(rows)
        if self._choice is None:
            for video in self._indexes[0].videos(wanted):
                yield Video(video.video_id, video.tracks, video.tracks)
            return
        for begin in range(0, len(wanted), VIDEOS_AT_ONCE):
            yield from self._merged(wanted[begin : begin + VIDEOS_AT_ONCE], self._choice)

    def _merged(self, rows: Rows, choice: Choice) -> Iterator[Video]:
        parts: list[dict[int, tuple[tuple[Track, ...], NDArray[np.bool_]]]] = []
        for index, own, mask in zip(self._indexes, choice.rows, choice.masks, strict=True):
            chosen = np.unique(own[rows][own[rows] >= 0])
            begins = np.concatenate([[0], np.cumsum(index.track_counts)])
            read = zip(chosen.tolist(), index.videos(chosen), strict=True)
            parts.append({r: (v.tracks, mask[begins[r] : begins[r + 1]]) for r, v in read})
        for row in rows.tolist():
            tracks: list[Track] = []
            selected: list[Track] = []
            for part, own in zip(parts, choice.rows, strict=True):
                found, mask = part.get(int(own[row]), ((), np.empty(0, dtype=bool)))
                tracks += found
                selected += [track for track, keep in zip(found, mask, strict=True) if keep]
            yield Video(self.video_ids[row], tuple(tracks), tuple(selected))

    def clips(self, rows: Rows | None = None) -> Iterator[Any]:
        """Yield Arrow tables of the selected clips of some videos, or of all.

        Each has `video_row` (of this catalogue), video_id, track_id, clip_name, first_ts,
        last_ts, label_id, label_name.
        """
        import pyarrow as pa

        wanted = np.arange(len(self.costs)) if rows is None else np.sort(rows)
        for begin in range(0, len(wanted), VIDEOS_AT_ONCE):
            some = wanted[begin : begin + VIDEOS_AT_ONCE]
            if self._choice is None:
                yield self._indexes[0].clips(some)
                continue
            for index, own, mask in zip(
                self._indexes, self._choice.rows, self._choice.masks, strict=True
            ):
                there = some[own[some] >= 0]
                if not len(there):
                    continue
                table = index.clips(own[there])
                back = np.full(len(index.costs), -1, dtype=np.int64)
                back[own[there]] = there
                keep = _mask_of(index, mask, np.unique(own[there]))
                place = table.schema.get_field_index("video_row")
                catalog_rows = back[table["video_row"].to_numpy()]
                table = table.set_column(place, "video_row", pa.array(catalog_rows))
                yield table.filter(pa.array(keep))


def _mask_of(index: Index, mask: NDArray[np.bool_], rows: Rows) -> NDArray[np.bool_]:
    """Return the mask of the tracks of some rows, in the order of the index."""
    ends = np.cumsum(index.track_counts)
    begins = ends - index.track_counts
    parts = [mask[begins[row] : ends[row]] for row in rows.tolist()]
    return np.concatenate(parts) if parts else np.empty(0, dtype=bool)


def open_catalog(config: Config) -> Catalog:
    """Open what the configuration selects.

    Args:
        config: its `[dataset] metadata` names the files, its selection the tracks.

    Raises:
        UsageError: no such metadata file, an unusable index, or a selection that selects nothing.
    """
    layout = config.layout
    wanted = config.settings.dataset.metadata or [""]
    names = list(dict.fromkeys(resolve_metadata(layout, one) for one in wanted))
    indexes = [open_index(layout, name) for name in names]
    selection = Selection.read(config.selection)
    if selection.is_everything and len(indexes) == 1:
        return Catalog(indexes, None, selection)
    gone = Gone.of(read_ledger(layout)) if config.selection.refill else Gone()
    key = os.environ.get(FROZEN_VARIABLE) or _key(indexes, selection, gone)
    cache = layout.state / f"selection-{key}.npz"
    choice = _load(cache, indexes)
    if choice is None:
        choice = _choose(indexes, selection, gone)
        _save(cache, choice)
    if not len(choice.costs):
        raise UsageError(
            f"the selection holds no track of {', '.join(names)}; "
            "`trackverse config` shows what is selected"
        )
    return Catalog(indexes, choice, selection, key)


def _choose(indexes: Sequence[Index], selection: Selection, gone: Gone) -> Choice:
    masks: list[NDArray[np.bool_]] = []
    labels: list[list[str]] = []
    seen = _Seen()
    tables = [index.clips().select([*COLUMNS, "video_row"]) for index in indexes]
    for table in tables:
        mask, own_labels = selection.mask(table)
        masks.append(mask & seen.new(table))
        labels.append(own_labels)
    if selection.settings.per_class:
        masks = _filled(tables, masks, labels, selection.settings.per_class, gone)
    ids: dict[str, int] = {}
    for index, table, mask in zip(indexes, tables, masks, strict=True):
        for row in np.unique(table["video_row"].to_numpy()[mask]).tolist():
            ids.setdefault(index.video_ids[row], len(ids))
    costs = np.full(len(ids), REQUEST_COST)
    rows = []
    for index, table, mask in zip(indexes, tables, masks, strict=True):
        own = np.full(len(ids), -1, dtype=np.int64)
        # Also videos of which this file's tracks are not selected: they settle the geometry.
        for row, name in enumerate(index.video_ids):
            if name in ids:
                own[ids[name]] = row
        rows.append(own)
        seconds = np.minimum(_lengths(table), MAX_CLIP_SECONDS) * mask
        work = np.bincount(table["video_row"].to_numpy(), seconds, len(index.costs))
        costs[own >= 0] += (DECODE_COST + ENCODE_COST) * work[own[own >= 0]]
    return Choice(tuple(rows), tuple(masks), costs)


def _lengths(table: Any) -> NDArray[np.float64]:
    lengths: NDArray[np.float64] = table["last_ts"].to_numpy() - table["first_ts"].to_numpy()
    return lengths


class _Seen:
    """Tracks and clip names of earlier files."""

    def __init__(self) -> None:
        self._names: set[str] = set()
        self._tracks: set[tuple[str, str]] = set()

    def new(self, table: Any) -> NDArray[np.bool_]:
        names = table["clip_name"].to_pylist()
        tracks = list(
            zip(table["video_id"].to_pylist(), table["track_id"].to_pylist(), strict=True)
        )
        fresh = [
            n not in self._names and t not in self._tracks
            for n, t in zip(names, tracks, strict=True)
        ]
        self._names.update(names)
        self._tracks.update(tracks)
        return np.array(fresh, dtype=bool)


def _filled(
    tables: Sequence[Any],
    masks: Sequence[NDArray[np.bool_]],
    labels: Sequence[list[str]],
    per_class: int,
    gone: Gone,
) -> list[NDArray[np.bool_]]:
    track_ids = [name for table in tables for name in table["track_id"].to_pylist()]
    mask = np.concatenate(masks)
    if gone.videos or gone.tracks:
        videos = [name for table in tables for name in table["video_id"].to_pylist()]
        keys = zip(videos, track_ids, strict=True)
        lost = (key[0] in gone.videos or key in gone.tracks for key in keys)
        mask &= ~np.fromiter(lost, bool, len(track_ids))
    kept = fill_classes(mask, [x for own in labels for x in own], track_ids, per_class)
    return np.split(kept, np.cumsum([len(mask) for mask in masks])[:-1])


def _key(indexes: Sequence[Index], selection: Selection, gone: Gone) -> str:
    digest = hashlib.blake2b(digest_size=8)
    for index in indexes:
        digest.update(f"{index.name} {index.manifest.checksum} ".encode())
    digest.update(selection.key.encode())
    digest.update(repr((sorted(gone.videos), sorted(gone.tracks))).encode())
    return digest.hexdigest()


def _save(path: Path, choice: Choice) -> None:
    """Keep a choice for the other ranks; a folder that cannot be written just costs time."""
    arrays: dict[str, Any] = {"costs": choice.costs}
    for number, (rows, mask) in enumerate(zip(choice.rows, choice.masks, strict=True)):
        arrays[f"rows{number}"], arrays[f"mask{number}"] = rows, np.packbits(mask)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as temporary, temporary.open("wb") as file:
            np.savez(file, **arrays)
    except OSError:
        return


def _load(path: Path, indexes: Sequence[Index]) -> Choice | None:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            rows = tuple(arrays[f"rows{number}"] for number in range(len(indexes)))
            masks = tuple(
                np.unpackbits(arrays[f"mask{number}"], count=int(index.track_counts.sum())).astype(
                    bool
                )
                for number, index in enumerate(indexes)
            )
            return Choice(rows, masks, arrays["costs"])
    except (OSError, ValueError, KeyError, EOFError):
        return None
