"""What is left of a catalogue, as columns: one pass over its clips, the ledger and the folders."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from trackverse_cli.listed import ListedWorklist
from trackverse_cli.outputs import ShardIndex
from trackverse_cli.plan.order import class_codes
from trackverse_cli.plan.spans import LATEST_SECONDS, covered_seconds
from trackverse_cli.ranges import UnfitFileError, covers, read_held
from trackverse_cli.reasons import UNRECOVERABLE
from trackverse_cli.worklist import State

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from trackverse_cli.catalog import Catalog
    from trackverse_cli.layout import Layout
    from trackverse_cli.ledger import LedgerState

    Ints = NDArray[np.int64]
    Floats = NDArray[np.float64]

GONE: Final = 0
"""A clip that cannot be had."""
DUE: Final = 1
"""A clip that another run may win."""
DONE: Final = 2
"""A clip that is there."""


@dataclass(frozen=True, slots=True)
class Survey:
    """Where every clip and every video of a catalogue stands.

    Attributes:
        rows: (c,) the video of each clip.
        classes: (c,) the class of each clip, as a place in `names`.
        states: (c,) GONE, DUE or DONE.
        names: the classes; "" is no class.
        refused: lines of the metadata that give no clip.
        there: (v,) whether a video is on disk.
        asked: (v,) whether it has to be asked for: it is not there, or damaged, and has due clips.
        length_seconds: (v,) how long it is taken to be, from where its tracks end.
        decoded_seconds: (v,) how much of it the due clips cover together.
        encoded_seconds: (v,) the length of its due clips together.
        came: (n, 2) fetched bytes and taken length of videos that came, where the ledger has them.
        arrived: videos that the ledger says came, also where it has no bytes.
        gone: videos that the ledger says cannot be had.
        clip_bytes: of the clips that are there and recorded.
        clip_seconds: their length together.
        clips_measured: how many those are.
        video_bytes: of the videos on disk, as far as the ledger knows them.
        videos_measured: how many those are.
        videos_there: videos on disk, of this catalogue or not.
        folders: folders that the clips and the videos of the catalogue need.
    """

    rows: NDArray[np.int32]
    classes: NDArray[np.int32]
    states: NDArray[np.int8]
    names: list[str]
    refused: int
    there: NDArray[np.bool_]
    asked: NDArray[np.bool_]
    length_seconds: Floats
    decoded_seconds: Floats
    encoded_seconds: Floats
    came: Floats
    arrived: int
    gone: int
    clip_bytes: int
    clip_seconds: float
    clips_measured: int
    video_bytes: int
    videos_measured: int
    videos_there: int
    folders: int

    @property
    def due_rows(self) -> Ints:
        """(n,) the videos that have a due clip, ascending."""
        return np.unique(self.rows[self.states == DUE]).astype(np.int64)

    def clips(self, state: int) -> int:
        """Return how many clips are in a state."""
        return int(np.count_nonzero(self.states == state))


def take_survey(
    catalog: Catalog,
    layout: Layout,
    ledger: LedgerState,
    recipe: str,
    max_clip_seconds: float,
    retry: frozenset[str] = frozenset(),
) -> Survey:
    """Look at every clip as `verify --level presence` does: by the ledger and by listings.

    Args:
        catalog: what is meant.
        layout: the dataset folder.
        ledger: what all runs recorded.
        recipe: how clips are to be cut.
        max_clip_seconds: where a longer track is cut off.
        retry: reasons that are tried again though they would not be.

    Raises:
        IndexUnusableError: the index is damaged.
    """
    work = ListedWorklist(layout, ledger, recipe, retry, ShardIndex.load(layout))
    return _Surveyor(catalog, work, max_clip_seconds).survey()


class _Surveyor:
    def __init__(self, catalog: Catalog, work: ListedWorklist, max_clip_seconds: float) -> None:
        count = len(catalog.costs)
        self._catalog = catalog
        self._work = work
        self._longest = max_clip_seconds
        self._names: dict[str, int] = {}
        self._again = np.zeros(count, dtype=bool)
        listed = list(work.layout.listed_videos())
        self._listed = len(listed)
        self._short = {i for i, path in listed if path.stem.endswith(".ranges")}
        self._short -= {i for i, path in listed if not path.stem.endswith(".ranges")}
        self._needs: dict[int, list[tuple[float, float]]] = {}
        self._tracks, self._end = np.zeros(count, dtype=np.int64), np.zeros(count)
        self._decoded, self._encoded = np.zeros(count), np.zeros(count)
        self._clip_folders: set[str] = set()
        self._bytes, self._seconds, self._measured = 0, 0.0, 0

    def survey(self) -> Survey:
        rows, classes = [np.empty(0, np.int32)], [np.empty(0, np.int32)]
        states = [np.empty(0, np.int8)]
        for table in self._catalog.clips():
            rows.append(table["video_row"].to_numpy().astype(np.int32))
            classes.append(class_codes(table, self._names))
            states.append(self._look(table, rows[-1]))
        joined = (np.concatenate(rows), np.concatenate(classes), np.concatenate(states))
        ids, work = self._catalog.video_ids, self._work
        there = np.fromiter((work.video(one) is not None for one in ids), bool, len(ids))
        self._find_short(ids)
        due = np.zeros(len(ids), dtype=bool)
        due[joined[0][joined[2] == DUE]] = True
        # Tracks lie all over a video: the last of n ends at about n / (n + 1) of it.
        length = self._end * (self._tracks + 1) / np.maximum(self._tracks, 1)
        known = [work.ledger.videos.get(one) for one in ids]
        whole = [
            (entry.fetched_bytes or entry.bytes, length[row])
            for row, entry in enumerate(known)
            if entry is not None and entry.state != "failed" and entry.bytes and length[row] > 0
        ]
        held = [e.bytes for e, is_there in zip(known, there, strict=True) if e and is_there]
        return Survey(
            *joined,
            list(self._names),
            len(self._catalog.refused),
            there,
            due & (~there | self._again),
            length,
            self._decoded,
            self._encoded,
            np.array(whole, dtype=np.float64).reshape(-1, 2),
            sum(1 for entry in known if entry is not None and entry.state != "failed"),
            sum(1 for entry in known if entry is not None and entry.reason in UNRECOVERABLE),
            self._bytes,
            self._seconds,
            self._measured,
            sum(held),
            len([one for one in held if one]),
            self._listed,
            len(self._clip_folders) + len({one[:2] for one in ids}),
        )

    def _look(self, table: Any, rows: NDArray[np.int32]) -> NDArray[np.int8]:
        """Judge the clips of one table, and add up what is due of its videos."""
        first = np.clip(table["first_ts"].to_numpy(), 0.0, LATEST_SECONDS)
        last = np.clip(table["last_ts"].to_numpy(), 0.0, LATEST_SECONDS)
        # A table is of neighbouring videos: sums over all of them would cost more than the rest.
        base, count = int(rows.min(initial=1 << 30)), 0
        if len(rows):
            count = int(rows.max()) - base + 1
        near, own = rows - base, slice(base, base + count)
        np.maximum.at(self._end, rows, last)
        self._tracks[own] += np.bincount(near, minlength=count)
        ends: list[float] = last.tolist()
        last = np.minimum(last, first + self._longest)
        columns = ("video_id", "track_id", "clip_name")
        words = [table[name].to_pylist() for name in columns]
        judge, states = self._work.clip, np.full(len(rows), DUE, dtype=np.int8)
        recorded = self._work.ledger.clips
        for place, (video_id, track_id, name) in enumerate(zip(*words, strict=True)):
            verdict = judge(video_id, track_id, name)
            if verdict.state is State.COMPLETE:
                states[place] = DONE
                record = recorded.get((video_id, track_id))
                if record is not None:
                    self._bytes += record.bytes
                    self._seconds += float(last[place] - first[place])
                    self._measured += 1
            elif not verdict.due:
                states[place] = GONE
            elif verdict.reason == "video-damaged":
                self._again[rows[place]] = True
            elif video_id in self._short:
                needed = (float(first[place]), ends[place])
                self._needs.setdefault(int(rows[place]), []).append(needed)
        self._clip_folders.update({name.rpartition("/")[0] for name in words[2]})
        due = states == DUE
        self._encoded[own] += np.bincount(near[due], (last - first)[due], count)
        self._decoded[own] += covered_seconds(near[due], first[due], last[due], count)
        return states

    def _find_short(self, ids: list[str]) -> None:
        """Mark the videos of which only stretches are there, and not all that is needed."""
        for row, spans in self._needs.items():
            path = self._work.video(ids[row])
            try:
                held = read_held(path) if path is not None else None
            except (UnfitFileError, OSError):
                held = None
            if held is None or not covers(held.spans, tuple(spans), held.whole_seconds):
                self._again[row] = True
