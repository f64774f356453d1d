"""From clips to training: `TrackDataset`, a torch `Dataset` over clips in files or tar shards.

torch is imported when `TrackDataset` is first asked for, and not before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trackverse_cli.dataset.sampling import FrameSampling

if TYPE_CHECKING:
    from trackverse_cli.dataset.tracks import TrackDataset

__all__ = ["FrameSampling", "TrackDataset"]


def __getattr__(name: str) -> Any:
    if name != "TrackDataset":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        from trackverse_cli.dataset.tracks import TrackDataset
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise ImportError(
            "TrackDataset needs torch; install it with `pip install 'trackverse[torch]'`"
        ) from error
    return TrackDataset
