"""What killed writers of shards left, which counts for nothing: their clips are cut again."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from trackverse_cli.outputs.names import (
    IDX,
    TAR,
    run_of_shard,
    run_of_temporary,
    shards_folder,
)
from trackverse_cli.outputs.table import read_index

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from trackverse_cli.layout import Layout


def discard_leftovers(layout: Layout, is_gone: Callable[[str], bool]) -> list[Path]:
    """Remove what runs that are gone left unfinished in the folder of the shards.

    Args:
        layout: the dataset folder.
        is_gone: says of a run's id whether that run is over; what belongs to others stays.

    Returns:
        What was removed: unpublished shards, indexes without a shard, and shards whose clips a
        newer shard has taken over.
    """
    folder = shards_folder(layout)
    try:
        names = sorted(os.listdir(folder))  # noqa: PTH208 - names
    except OSError:
        return []
    here = set(names)
    unfit = []
    for name in names:
        stem = name.removesuffix(IDX)
        is_index = stem != name
        run = run_of_shard(stem) if is_index else run_of_temporary(name)
        if run is None or not is_gone(run):
            continue
        if not is_index or f"{stem}{TAR}" not in here:
            unfit.append(name)
            continue
        for old in _replaced(folder / name):
            unfit += [both for both in (f"{old}{TAR}", f"{old}{IDX}") if both in here]
    removed = []
    for name in unfit:
        with suppress(OSError):
            (folder / name).unlink()
            removed.append(folder / name)
    return removed


def _replaced(index: Path) -> list[str]:
    table = read_index(index, ["key"])
    names = table.replaces if table is not None else ()
    return [name for name in names if run_of_shard(name) is not None]
