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

from trackverse_cli.choice import Choice, Gone, load_choice, save_choice
from trackverse_cli.chooser import choose
from trackverse_cli.errors import UsageError
from trackverse_cli.index import Index, RefusedLine, open_index, resolve_metadata
from trackverse_cli.ledger import read_ledger
from trackverse_cli.recipe import recipe_id
from trackverse_cli.selection import Selection

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from trackverse_cli.config import Config
    from trackverse_cli.metadata import Track

    Rows = NDArray[np.int64]
    Part = dict[int, tuple[tuple[Track, ...], NDArray[np.bool_]]]

FROZEN_VARIABLE = "TRACKVERSE_SELECTION"
"""Names the choice that a job was submitted with, so that its ranks agree while it runs."""

CLIPS_AT_ONCE = 4096
"""Videos whose clips are listed at once, which bounds memory."""

FIRST_VIDEOS, VIDEOS_AT_ONCE = 16, 256
"""Videos whose boxes are in memory at once: few at first, so that a rank begins soon."""


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


class Catalog:
    """The selected tracks of one or more indexes, by video.

    Args:
        indexes: at least one; the first one wins where two give the same track.
        choice: which of their videos and tracks are meant, None for all of a single index.
        selection: where the choice comes from.
        key: the name under which the choice is kept for other ranks, "" for everything.
    """

    def __init__(
        self, indexes: Sequence[Index], choice: Choice | None, selection: Selection, key: str = ""
    ) -> None:
        self.key = key
        self._indexes = tuple(indexes)
        self._choice = choice
        self.selection = selection

    @property
    def names(self) -> tuple[str, ...]:
        """The names of its indexes."""
        return tuple(index.name for index in self._indexes)

    @property
    def name(self) -> str:
        """The names of its indexes, joined by `+`."""
        return "+".join(self.names)

    def check_bytes(self) -> None:
        """Hold every byte of its indexes, and of their metadata files, against their checksums.

        Raises:
            IndexUnusableError: one is not what it was.
        """
        for index in self._indexes:
            index.check_bytes()

    @property
    def sources(self) -> list[dict[str, str]]:
        """Name, file and checksum of each metadata file."""
        return [
            {
                "name": index.name,
                "file": index.manifest.source.rpartition("/")[2],
                "checksum": index.manifest.checksum,
            }
            for index in self._indexes
        ]

    @property
    def identity(self) -> str:
        """16 hex digits that name the files and the choice."""
        return _digest(str(self.sources), self.key)

    @cached_property
    def video_ids(self) -> list[str]:
        """The id of each video, by row."""
        if self._choice is None:
            return self._indexes[0].video_ids
        ids = np.empty(len(self._choice.costs), dtype=object)
        for index, _, rows, _ in self._parts:
            known = np.array(index.video_ids, dtype=object)
            ids[rows >= 0] = known[rows[rows >= 0]]
        names: list[str] = ids.tolist()
        return names

    @property
    def costs(self) -> NDArray[np.float64]:
        """(v,) estimated seconds of work, by row."""
        return self._indexes[0].costs if self._choice is None else self._choice.costs

    @property
    def tracks(self) -> int:
        """How many clips are selected."""
        if self._choice is None:
            return int(self._indexes[0].track_counts.sum())
        return sum(int(mask.sum()) for mask in self._choice.masks)

    @cached_property
    def refused(self) -> list[RefusedLine]:
        """The lines of all indexes that gave no track, rank 0's; a selection leaves them out."""
        whole = self._indexes if self.selection.is_everything else ()
        return [line for index in whole for line in index.refused]

    @cached_property
    def _parts(self) -> list[tuple[Index, Rows, Rows, NDArray[np.bool_]]]:
        """Each index with the place of each video's first track, its rows and its mask."""
        if self._choice is None:
            return []
        begins = [np.append(0, np.cumsum(index.track_counts)) for index in self._indexes]
        parts = (self._indexes, begins, self._choice.rows, self._choice.masks)
        return list(zip(*parts, strict=True))

    def videos(self, rows: Rows | None = None) -> Iterator[Video]:
        """Yield videos with their tracks, in the order of the rows; raises as `Index.videos`."""
        wanted = np.arange(len(self.costs)) if rows is None else np.sort(rows)
        if self._choice is None:
            for video in self._indexes[0].videos(wanted):
                yield Video(video.video_id, video.tracks, video.tracks)
            return
        size, begin = FIRST_VIDEOS, 0
        while begin < len(wanted):
            yield from self._merged(wanted[begin : begin + size])
            begin, size = begin + size, min(2 * size, VIDEOS_AT_ONCE)

    def _merged(self, rows: Rows) -> Iterator[Video]:
        parts: list[Part] = []
        for index, begins, own, mask in self._parts:
            chosen = np.unique(own[rows][own[rows] >= 0])
            read = zip(chosen.tolist(), index.videos(chosen), strict=True)
            parts.append({r: (v.tracks, mask[begins[r] : begins[r + 1]]) for r, v in read})
        for row in rows.tolist():
            tracks: dict[str, Track] = {}
            selected: list[Track] = []
            for part, (_, _, own, _) in zip(parts, self._parts, strict=True):
                found, keep = part.get(int(own[row]), ((), np.empty(0, dtype=bool)))
                for track, is_selected in zip(found, keep.tolist(), strict=True):
                    # What an earlier file gave is never selected again: it is the same track.
                    tracks.setdefault(track.track_id, track)
                    if is_selected:
                        selected.append(track)
            yield Video(self.video_ids[row], tuple(tracks.values()), tuple(selected))

    def clips(self, rows: Rows | None = None) -> Iterator[Any]:
        """Yield Arrow tables of the selected clips of some videos, or of all.

        Each has `video_row` (of this catalogue), video_id, track_id, clip_name, first_ts,
        last_ts, label_id, label_name; a label of a track list has taken the metadata's place.
        """
        wanted = np.arange(len(self.costs)) if rows is None else np.sort(rows)
        for begin in range(0, len(wanted), CLIPS_AT_ONCE):
            some = wanted[begin : begin + CLIPS_AT_ONCE]
            if self._choice is None:
                yield self._indexes[0].clips(some)
                continue
            for index, begins, own, mask in self._parts:
                there = some[own[some] >= 0]
                if len(there):
                    yield self._selected(index, begins, mask, own[there], there)

    def _selected(
        self, index: Index, begins: Rows, mask: NDArray[np.bool_], own: Rows, rows: Rows
    ) -> Any:
        """Return the selected clips of `own` rows of an index, with `rows` of this catalogue."""
        import pyarrow as pa

        order = np.argsort(own)
        own, rows = own[order], rows[order]
        counts = begins[own + 1] - begins[own]
        keep = np.concatenate([mask[begins[r] : begins[r + 1]] for r in own.tolist()])
        table = index.clips(own)
        place = table.schema.get_field_index("video_row")
        table = table.set_column(place, "video_row", pa.array(np.repeat(rows, counts)))
        table = table.filter(pa.array(keep))
        if self.selection.labels:
            place = table.schema.get_field_index("label_name")
            own_labels = table["label_name"].fill_null("").to_pylist()
            labels = self.selection.label_of(table["clip_name"].to_pylist(), own_labels)
            table = table.set_column(place, "label_name", pa.array(labels, pa.string()))
        return table


def open_catalog(config: Config) -> Catalog:
    """Open what the configuration selects.

    Args:
        config: its `[dataset] metadata` names the files, its selection the tracks.

    Raises:
        UsageError: no such metadata file, an unusable index, a selection that selects nothing or
            whose files cannot be used, or a job's choice that belongs to another selection.
    """
    layout = config.layout
    wanted = config.settings.dataset.metadata or [""]
    names = list(dict.fromkeys(resolve_metadata(layout, one) for one in wanted))
    indexes = [open_index(layout, name) for name in names]
    selection = Selection.of(config.selection)
    if selection.is_everything and len(indexes) == 1:
        return Catalog(indexes, None, selection)
    told = " ".join(f"{index.name} {index.manifest.checksum}" for index in indexes)
    base = _digest(told, selection.key)
    frozen = os.environ.get(FROZEN_VARIABLE, "")
    refill = selection.settings.refill and selection.settings.per_class
    gone = None
    if refill and not frozen:
        gone = Gone.of(read_ledger(layout), recipe_id(config.settings))
    key = frozen or (base if gone is None else _digest(base, gone.key))
    kept = layout.state / f"selection-{key}.npz"
    choice = load_choice(kept, indexes)
    if choice is None:
        if refill and gone is None:
            gone = Gone.of(read_ledger(layout), recipe_id(config.settings))
        choice = choose(indexes, selection, gone, base)
        save_choice(kept, choice)
    elif choice.base != base:
        raise UsageError(
            f"{kept} belongs to another selection or other metadata; "
            + (f"submit the job again, or unset {FROZEN_VARIABLE}" if frozen else "remove it")
        )
    return Catalog(indexes, choice, selection, key)


def _digest(*parts: str) -> str:
    return hashlib.blake2b(" ".join(parts).encode(), digest_size=8).hexdigest()
