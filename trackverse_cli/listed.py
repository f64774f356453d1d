"""The worklist for all clips of a dataset at once: by directory listings, no path for each."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from trackverse_cli.errors import RefusedNameError
from trackverse_cli.recipe import fits
from trackverse_cli.worklist import COMPLETE, Verdict, Worklist


@dataclass(slots=True)
class ListedWorklist(Worklist):
    """A worklist that asks the disk once for each folder, and makes no path for each clip."""

    _names: dict[str, frozenset[str] | None] = field(default_factory=dict)

    def clip(self, video_id: str, track_id: str, clip_name: str) -> Verdict:
        """Judge one clip by the ledger and the directory listing alone."""
        folder, _, base = clip_name.rpartition("/")
        if folder not in self._names:
            self._names[folder] = self._list(clip_name)
        names = self._names[folder]
        key = (video_id, track_id)
        if names is not None and base not in names:
            return self._absent(video_id, track_id)
        if names is not None and key not in self.ledger.failures:
            record = self.ledger.clips.get(key)
            if record is None or fits(record.recipe, self.recipe):
                return COMPLETE
        return Worklist.clip(self, video_id, track_id, clip_name)

    def _list(self, clip_name: str) -> frozenset[str] | None:
        """Return the names beside a clip, None where a planted link leads out of the dataset."""
        try:
            return frozenset(os.listdir(self.layout.clip(clip_name).parent))  # noqa: PTH208 - names
        except RefusedNameError:
            return None
        except OSError:
            return frozenset()
