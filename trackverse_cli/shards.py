"""Index and world size -> the videos of each rank: pure, and the same on every machine.

A few videos cost far more than the rest, so they are dealt out one by one to the rank that has
least. What remains is cut into contiguous ranges that fill every rank up to one level, so that a
rank reads one stretch of the index and a few single places.
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, Final

import numpy as np

from trackverse_cli.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_WORLD_SIZE: Final = 4096
HEAVY_SHARE: Final = 0.01
"""A video above this share of the mean shard is dealt out by itself."""

_UNITS = 1 << 50


def shard_rows(costs: NDArray[np.float64], rank: int, world_size: int) -> NDArray[np.int64]:
    """Return the rows of one rank.

    Args:
        costs: (n,) cost of each video, in any unit, as the index gives them.
        rank: 0 <= rank < world_size.
        world_size: how many ranks share the work, 1 to 4,096.

    Returns:
        (m,) row numbers, ascending; the ranks' rows are disjoint and complete.

    Raises:
        UsageError: the rank or the world size is out of range.
    """
    _check_world_size(world_size)
    if not 0 <= rank < world_size:
        raise UsageError(
            f"rank {rank} is outside a world of {world_size}; "
            f"give --rank from 0 to {world_size - 1}"
        )
    return np.flatnonzero(assign(costs, world_size) == rank).astype(np.int64)


def assign(costs: NDArray[np.float64], world_size: int) -> NDArray[np.int64]:
    """Return (n,) the rank of each video; the costliest rank stays close to the mean.

    Args:
        costs: (n,) cost of each video; one that is not finite or not above 0 counts as least.
        world_size: how many ranks share the work, 1 to 4,096.

    Raises:
        UsageError: the world size is out of range.
    """
    _check_world_size(world_size)
    ranks = np.zeros(len(costs), dtype=np.int64)
    if world_size == 1 or not len(costs):
        return ranks
    units = _whole_units(costs)
    heavy = units > max(1, int(HEAVY_SHARE * (int(units.sum()) // world_size)))
    loads = _deal(units, heavy, world_size, ranks)
    light = np.flatnonzero(~heavy)
    if len(light):
        ranks[light] = _fill(units[light], loads)
    return ranks


def _check_world_size(world_size: int) -> None:
    if not 1 <= world_size <= MAX_WORLD_SIZE:
        raise UsageError(
            f"a world size of {world_size} is not possible; "
            f"give --world-size from 1 to {MAX_WORLD_SIZE}"
        )


def _whole_units(costs: NDArray[np.float64]) -> NDArray[np.int64]:
    """Scale to integers: their sums come out the same on every machine and in every order."""
    clean = np.where(np.isfinite(costs) & (costs > 0), costs, 0.0)
    top = float(clean.max())
    if top <= 0:
        return np.ones(len(costs), dtype=np.int64)
    scaled = np.floor(clean / top * (_UNITS // len(costs)))
    return np.maximum(scaled.astype(np.int64), 1)


def _deal(
    units: NDArray[np.int64], heavy: NDArray[np.bool_], world_size: int, ranks: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Give each heavy video to the least loaded rank, the costliest first; return the loads."""
    rows = np.flatnonzero(heavy)
    rows = rows[np.argsort(-units[rows], kind="stable")]
    heap = [(0, rank) for rank in range(world_size)]
    for row, cost in zip(rows.tolist(), units[rows].tolist(), strict=True):
        load, rank = heap[0]
        ranks[row] = rank
        heapq.heapreplace(heap, (load + cost, rank))
    loads = np.zeros(world_size, dtype=np.int64)
    for load, rank in heap:
        loads[rank] = load
    return loads


def _fill(units: NDArray[np.int64], loads: NDArray[np.int64]) -> NDArray[np.int64]:
    """Cut light videos into one contiguous range a rank, so that all ranks end level."""
    ends = np.cumsum(units)
    level = _water_level(loads, int(ends[-1]))
    room = np.maximum(level - loads, 0)
    limits = np.cumsum(room)
    # A video belongs to the rank in whose room its middle lies.
    ranks = np.searchsorted(limits, ends - (units + 1) // 2, side="right")
    last = int(np.flatnonzero(room)[-1])
    return np.minimum(ranks, last).astype(np.int64)


def _water_level(loads: NDArray[np.int64], amount: int) -> int:
    """Return the level up to which `amount` fills the ranks that lie below it."""
    ordered = np.sort(loads)
    below = np.cumsum(ordered)
    count = np.arange(1, len(ordered) + 1)
    needed = ordered * count - below  # what it takes to lift the k lowest to the k-th
    k = int(np.searchsorted(needed, amount, side="right"))
    return -((-(int(below[k - 1]) + amount)) // k)
