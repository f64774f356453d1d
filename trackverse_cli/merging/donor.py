"""Another dataset folder, which is read and not trusted."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from trackverse_cli.errors import ItemError, RefusedNameError, UsageError
from trackverse_cli.layout import Layout
from trackverse_cli.ledger import ClipRecord, LedgerState, read_ledger
from trackverse_cli.outputs import Place, ShardIndex, shards_folder

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True)
class Found:
    """A clip of the other root that may be taken.

    Attributes:
        source: its file, or its place in a shard.
        record: what that root's ledger or shard says of it, or None.
    """

    source: Path | Place
    record: ClipRecord | None


class Donor:
    """What another root holds.

    Args:
        root: its folder.
        own: the root that takes.

    Raises:
        UsageError: it is no dataset folder, or the same one.
        OSError: its ledger cannot be read.
    """

    def __init__(self, root: Path, own: Layout) -> None:
        self.layout = Layout(root.absolute())
        tops = (
            self.layout.tracks, self.layout.videos, self.layout.ledger, shards_folder(self.layout),
        )  # fmt: skip
        if not any(top.is_dir() for top in tops):
            raise UsageError(
                f"{root} is no dataset folder: it has neither tracks_mp4 nor videos_mp4, "
                "tracks_tar or ledger; name the folder that holds them"
            )
        pairs = (
            (root, own.root),
            (self.layout.tracks, own.tracks),
            (self.layout.videos, own.videos),
        )
        for theirs, ours in pairs:
            if os.path.realpath(theirs) == os.path.realpath(ours):
                raise UsageError(f"{theirs} is {ours} itself; name another root to merge")
        self.ledger: LedgerState = read_ledger(self.layout)
        self._shards = ShardIndex.load(self.layout)

    @property
    def root(self) -> Path:
        """Its folder, absolute."""
        return self.layout.root

    def clip(self, video_id: str, track_id: str, clip_name: str) -> Found | None:
        """Return a clip that is there, or None.

        Raises:
            ItemError: reason `refused-name`: a link leads out of the root; or `clip-damaged`: what
                stands in its place is a link.
        """
        record = self.ledger.clips.get((video_id, track_id))
        path = clip_below(self.layout, clip_name)
        if path is not None:
            return Found(path, record)
        place = self._shards.find(video_id, track_id)
        if place is None:
            return None
        said = ClipRecord(place.recipe, place.frames, place.size, place.checksum)
        return Found(place, said)

    def videos(self, video_id: str) -> Iterator[tuple[Path, Path]]:
        """Yield what is there of a video; as `videos_below`."""
        return videos_below(self.layout, video_id)


def clip_below(layout: Layout, clip_name: str) -> Path | None:
    """Return the file of a clip in a folder that is not trusted, or None if there is none.

    Raises:
        ItemError: reason `refused-name`: a link leads out of the folder; or `clip-damaged`: what
            stands in its place is a link.
    """
    try:
        path = layout.clip(clip_name)
    except RefusedNameError as error:
        raise ItemError("refused-name", str(error)) from error
    if path.is_symlink():
        raise ItemError("clip-damaged", f"{path} is a link, which is not followed")
    return path if path.exists() else None


def videos_below(layout: Layout, video_id: str) -> Iterator[tuple[Path, Path]]:
    """Yield (file, its path relative to the folder of videos) of what is there of a video.

    The whole video comes first, then the file of its stretches.

    Raises:
        ItemError: reason `refused-name`: a link leads out of the folder.
    """
    top = os.path.realpath(layout.videos)
    deep = Path(video_id[:2])
    for relative in (
        deep / f"{video_id}.mp4", Path(f"{video_id}.mp4"), deep / f"{video_id}.ranges.mp4",
    ):  # fmt: skip
        path = layout.videos / relative
        if not os.path.lexists(path):
            continue
        if path.is_symlink() or os.path.commonpath([top, os.path.realpath(path)]) != top:
            raise ItemError("refused-name", f"{path} is a link, which is not followed")
        # Written where this program writes it, wherever it was found.
        yield path, deep / path.name
