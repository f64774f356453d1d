"""Which videos' clips other runs have published in shards since an index was loaded."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

from trackverse_cli.outputs.names import IDX, TAR, run_of_shard, shards_folder
from trackverse_cli.outputs.table import read_index, scan_tar

if TYPE_CHECKING:
    from trackverse_cli.layout import Layout
    from trackverse_cli.outputs.index import ShardIndex


class Arrivals:
    """Looks for new shards; each is read once. Several threads may ask.

    Args:
        layout: the dataset folder.
        index: what is known already.
    """

    def __init__(self, layout: Layout, index: ShardIndex) -> None:
        self._folder = shards_folder(layout)
        self._known = {path.name for path in index.shards}
        self._videos: set[str] = set()
        self._lock = threading.Lock()

    def holds(self, video_id: str) -> bool:
        """Say whether a shard that came since holds a clip of a video."""
        with self._lock:
            try:
                names = os.listdir(self._folder)  # noqa: PTH208 - names
            except OSError:
                return False
            for name in names:
                stem = name.removesuffix(TAR)
                if stem != name and name not in self._known and run_of_shard(stem):
                    self._known.add(name)
                    self._videos |= self._videos_of(stem)
            return video_id in self._videos

    def _videos_of(self, stem: str) -> set[str]:
        table = read_index(self._folder / f"{stem}{IDX}", ["video_id"])
        if table is not None:
            return set(table.rows["video_id"].to_pylist())
        return {row.member.video_id for row in scan_tar(self._folder / f"{stem}{TAR}")}
