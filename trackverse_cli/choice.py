"""Which videos and tracks are meant, and what cannot be had: kept in a file for all ranks."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from trackverse_cli.files import atomic_write
from trackverse_cli.keys import contains, track_keys
from trackverse_cli.reasons import UNRECOVERABLE

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from trackverse_cli.index import Index
    from trackverse_cli.keys import Keys
    from trackverse_cli.ledger import LedgerState

    Mask = NDArray[np.bool_]
    Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Choice:
    """Which videos and tracks of several indexes are meant.

    Attributes:
        base: the name of the indexes and the selection that it belongs to.
        rows: for each index (v,) the row of every chosen video in it, or -1.
        masks: for each index (t,) whether each of its tracks is selected.
        costs: (v,) seconds of work for the selected tracks of every video.
    """

    base: str
    rows: tuple[Rows, ...]
    masks: tuple[Mask, ...]
    costs: NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Gone:
    """What the ledger says cannot be had, so that others take its place in a class.

    Attributes:
        videos: ids of videos that cannot be had.
        tracks: keys of tracks that cannot be cut, ascending.
        cut: keys of tracks of those videos that were cut while there was time, ascending.
    """

    videos: frozenset[str]
    tracks: Keys
    cut: Keys

    @classmethod
    def of(cls, ledger: LedgerState, recipe: str) -> Gone:
        """Return what has an unrecoverable reason as its newest, for clips of a recipe."""
        videos = frozenset(
            video_id for video_id, v in ledger.videos.items() if v.reason in UNRECOVERABLE
        )
        tracks = [
            key
            for key, failure in ledger.failures.items()
            if failure.reason in UNRECOVERABLE and failure.recipe == recipe
        ]
        cut = [(video, track) for video in videos for track in ledger.clips.of_video(video)]
        return cls(videos, _sorted_keys(tracks), _sorted_keys(cut))

    @property
    def key(self) -> str:
        """32 hex digits that name it."""
        digest = hashlib.blake2b(" ".join(sorted(self.videos)).encode(), digest_size=16)
        digest.update(self.tracks.tobytes() + b" " + self.cut.tobytes())
        return digest.hexdigest()

    def holds(self, keys: Keys, of_gone_video: Mask) -> Mask:
        """Return (n,) which tracks cannot be had."""
        lost: Mask = contains(self.tracks, keys) | (of_gone_video & ~contains(self.cut, keys))
        return lost


def _sorted_keys(pairs: Iterable[tuple[str, str]]) -> Keys:
    known = list(pairs)
    return np.sort(track_keys((video for video, _ in known), (track for _, track in known)))


def save_choice(path: Path, choice: Choice) -> None:
    """Keep a choice for the other ranks; a folder that cannot be written just costs time."""
    arrays: dict[str, Any] = {"base": np.array(choice.base), "costs": choice.costs}
    for number, (rows, mask) in enumerate(zip(choice.rows, choice.masks, strict=True)):
        arrays[f"rows{number}"], arrays[f"mask{number}"] = rows, np.packbits(mask)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as temporary, temporary.open("wb") as file:
            np.savez(file, **arrays)
    except OSError:
        return


def load_choice(path: Path, indexes: Sequence[Index]) -> Choice | None:
    """Return a choice that was kept, or None if there is none or it cannot be read."""
    import zipfile

    try:
        with np.load(path, allow_pickle=False) as arrays:
            numbers = range(len(indexes))
            rows = tuple(arrays[f"rows{number}"] for number in numbers)
            masks = tuple(
                np.unpackbits(arrays[f"mask{number}"], count=int(index.track_counts.sum())) > 0
                for number, index in enumerate(indexes)
            )
            return Choice(str(arrays["base"]), rows, masks, arrays["costs"])
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
