"""`TrackDataset`: the clips of a dataset folder, as a torch `Dataset`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict

import numpy as np
import torch
from torch.utils.data import Dataset

from trackverse_cli.config import load_config
from trackverse_cli.dataset.frames import ReadFrames, read_frames
from trackverse_cli.dataset.holdings import Holdings, holdings_of
from trackverse_cli.errors import DamagedFileError, RefusedNameError, UsageError
from trackverse_cli.outputs.check import member_url

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from trackverse_cli.dataset.sampling import FrameSampling

SKIPPED_IN_A_ROW = 100
"""With `on_error="skip"`, so many unusable clips one after the other are an error all the same."""


class TrackItem(TypedDict):
    """One clip.

    Attributes:
        clip: (T, C, H, W) uint8 RGB, C = 3; or what `transform` made of it.
        frames: (T,) int64, which frames of the clip they are.
        label_id: the class's number in the metadata, -1 where it is not known.
        label: the class's name, or "".
        label_index: the place of the name in `TrackDataset.classes`, -1 for none.
        video_id: 11 characters.
        track_id: unique within its video.
        index: the clip's place in the whole dataset, the same on every rank.
    """

    clip: Any
    frames: Any
    label_id: int
    label: str
    label_index: int
    video_id: str
    track_id: str
    index: int


class TrackDataset(Dataset[TrackItem]):
    """The clips of a dataset folder, from files and from tar shards alike.

    It can be pickled, opens nothing before an item is asked for, and keeps nothing open: workers
    of a DataLoader may be forked or spawned. Items are `TrackItem`.

    Args:
        root: the dataset folder.
        meta: the metadata files, as `--meta` takes them; by default those of the configuration.
        select: the name of a `[select.NAME]`, or its keys, such as {"per_class": 50}.
        manifest: a file of `verify --manifest`, which fixes length and order for all ranks of a
            training; without it the dataset is what is on disk now.
        frames: which frames of a clip; None for all of them, so that clips differ in length.
        size: (height, width) to scale to; None for each clip's own.
        rank: which part of a distributed training is this process's, from 0.
        world_size: how many share the clips: each has the same number, and none has another's.
            What does not divide evenly is left out, fewer clips than there are ranks.
        transform: takes the (T, C, H, W) uint8 tensor and returns what `clip` is to be.
        on_error: `raise`, or `skip` to take the next clip that can be read in the place of one
            that cannot.

    Raises:
        UsageError: something is wrong with the folder, the selection, the manifest or a number.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        meta: str | list[str] | None = None,
        select: str | Mapping[str, Any] | None = None,
        manifest: str | os.PathLike[str] | None = None,
        frames: FrameSampling | None = None,
        size: tuple[int, int] | None = None,
        rank: int = 0,
        world_size: int = 1,
        transform: Callable[[torch.Tensor], Any] | None = None,
        on_error: Literal["raise", "skip"] = "raise",
    ) -> None:
        if on_error not in ("raise", "skip"):
            raise UsageError(f"on_error={on_error!r} is not known; known: raise, skip")
        if not 0 <= rank < world_size:
            raise UsageError(f"rank {rank} is outside a world of {world_size}")
        if size is not None and min(size) < 1:
            raise UsageError(f"size={size!r} is no (height, width) in pixels")
        path = Path(manifest).absolute() if manifest is not None else None
        config = load_config(None, _flags(Path(root), meta, select, path))
        self._layout = config.layout
        self._holdings: Holdings = holdings_of(config, path)
        self._frames, self._size = frames, size
        self._transform, self._on_error = transform, on_error
        each = len(self._holdings) // world_size
        self._rows: NDArray[np.int64] = np.arange(each, dtype=np.int64) * world_size + rank
        # Shared memory, so that workers that live through many epochs hear of it.
        self._epoch = torch.zeros(1, dtype=torch.int64).share_memory_()  # type: ignore[no-untyped-call]  # torch's own gap

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of all labels of the whole dataset, sorted; `label_index` counts in it."""
        return self._holdings.classes

    def set_epoch(self, epoch: int) -> None:
        """Have `random` sampling pick other frames; call it before each epoch."""
        self._epoch[0] = epoch

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> TrackItem:
        if not -len(self) <= index < len(self):
            raise IndexError(f"index {index} of a dataset of {len(self)} clips")
        tries = min(SKIPPED_IN_A_ROW, len(self)) if self._on_error == "skip" else 1
        for further in range(tries):
            row = int(self._rows[(index + further) % len(self)])
            try:
                return self._item(row)
            except DamagedFileError as error:
                last = error
        raise last

    def _item(self, row: int) -> TrackItem:
        facts = self._holdings.row(row)
        read = self._read(row, facts)
        clip = torch.from_numpy(read.pictures).permute(0, 3, 1, 2).contiguous()
        label_id = facts["label_id"]
        return {
            "clip": clip if self._transform is None else self._transform(clip),
            "frames": torch.from_numpy(read.numbers),
            "label_id": -1 if label_id is None else label_id,
            "label": facts["label_name"] or "",
            "label_index": int(self._holdings.label_index[row]),
            "video_id": facts["video_id"],
            "track_id": facts["track_id"],
            "index": row,
        }

    def _read(self, row: int, facts: dict[str, Any]) -> ReadFrames:
        place = self._holdings.place(row)
        name = facts["clip_name"]
        where = self._layout.tracks / name if place is None else place.shard
        try:
            url = str(self._layout.clip(name)) if place is None else member_url(place)
            names = (facts["video_id"], facts["track_id"])
            return read_frames(url, names, lambda count: self._pick(count, row), self._size)
        except (DamagedFileError, RefusedNameError) as error:
            raise DamagedFileError(
                f"clip {name!a} cannot be read from {where}: {error}; run trackverse verify to "
                "record it and extract-tracks to cut it again, or pass on_error='skip'"
            ) from error

    def _pick(self, count: int, row: int) -> NDArray[np.int64]:
        if count < 1:
            raise DamagedFileError("it holds no frame")
        if self._frames is None:
            return np.arange(count, dtype=np.int64)
        return self._frames.pick(count, row, int(self._epoch[0]))


def _flags(
    root: Path,
    meta: str | list[str] | None,
    select: str | Mapping[str, Any] | None,
    manifest: Path | None,
) -> dict[str, Any]:
    flags: dict[str, Any] = {"dataset.root": root.absolute()}
    if meta is not None:
        flags["dataset.metadata"] = [meta] if isinstance(meta, str) else list(meta)
    if isinstance(select, str):
        flags["dataset.select"] = select
    elif select is not None:
        flags |= {f"selection.{key}": value for key, value in select.items()}
    if manifest is not None:
        flags["selection.only"] = manifest
    return flags
