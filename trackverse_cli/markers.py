"""A marker for each rank that found nothing left to win: a quick way to what the ledger says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from trackverse_cli.files import atomic_write_bytes, make_folder

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from trackverse_cli.layout import Layout


class Marker(msgspec.Struct, frozen=True, kw_only=True):
    """When a rank ended with nothing left to win.

    Attributes:
        run: the run that ended so.
        time: seconds since 1970.
    """

    run: str
    time: float


def set_marker(layout: Layout, key: str, rank: int, run: str, time: float) -> None:
    """Keep that a rank is done.

    Args:
        layout: the dataset folder.
        key: what the rank was asked for (`fence.work_key`).
        rank: the rank.
        run: the run that found nothing left.
        time: seconds since 1970.

    Raises:
        UsageError: the folder cannot be made.
        OSError: the disk refused.
    """
    make_folder(layout.done / key, "the folder of the markers")
    text = msgspec.json.encode(Marker(run=run, time=time))
    atomic_write_bytes(_path(layout, key, rank), text)


def clear_markers(layout: Layout, key: str, ranks: Iterable[int]) -> None:
    """Forget that ranks were done: a look at the clips found otherwise."""
    for rank in ranks:
        _path(layout, key, rank).unlink(missing_ok=True)


def marked_ranks(layout: Layout, key: str) -> frozenset[int]:
    """Return the ranks that have a marker."""
    try:
        names = [path.name for path in (layout.done / key).iterdir()]
    except OSError:
        return frozenset()
    return frozenset(int(name[5:9]) for name in names if len(name) == 9 and name[5:].isdecimal())


def _path(layout: Layout, key: str, rank: int) -> Path:
    return layout.done / key / f"rank-{rank:04d}"
