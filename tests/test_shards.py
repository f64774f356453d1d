from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trackverse_cli.errors import UsageError
from trackverse_cli.shards import assign, shard_rows

COSTS = st.lists(
    st.one_of(
        st.floats(0, 1e6),
        st.sampled_from([0.0, 1.0, 1e-300, 1e300, float("nan"), float("inf"), -1.0]),
    ),
    max_size=60,
)


@settings(max_examples=200, deadline=None)
@given(COSTS, st.integers(1, 80))
def test_every_video_belongs_to_one_rank(costs: list[float], world_size: int) -> None:
    values = np.array(costs, dtype=np.float64)
    shards = [shard_rows(values, rank, world_size) for rank in range(world_size)]
    together = np.concatenate(shards)
    assert sorted(together.tolist()) == list(range(len(costs)))
    assert all((np.diff(rows) > 0).all() for rows in shards)
    assert all(rows.dtype == np.int64 for rows in shards)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.floats(0.1, 1e4), min_size=1, max_size=300), st.integers(1, 40))
def test_no_rank_is_above_the_mean_by_more_than_one_video(
    costs: list[float], world_size: int
) -> None:
    values = np.array(costs)
    loads = np.bincount(assign(values, world_size), values, world_size)
    assert loads.max() <= values.sum() / world_size + values.max() + 1e-6


@pytest.mark.parametrize("world_size", [128, 1024])
@pytest.mark.parametrize("tail", [1.1, 1.5, 3.0])
def test_heavy_tails_are_balanced(world_size: int, tail: float) -> None:
    costs = 3 + np.random.default_rng(7).pareto(tail, 200_000)
    loads = np.bincount(assign(costs, world_size), costs, world_size)
    assert loads.max() <= max(1.03 * loads.mean(), costs.max()) * (1 + 1e-9)


def test_equal_costs_are_cut_into_ranges() -> None:
    ranks = assign(np.full(1000, 5.0), 10)
    assert (np.diff(ranks) >= 0).all()
    assert np.bincount(ranks).tolist() == [100] * 10


def test_more_ranks_than_videos() -> None:
    ranks = assign(np.array([1.0, 2.0, 3.0]), 4096)
    assert len(set(ranks.tolist())) == 3
    assert not len(shard_rows(np.zeros(0), 4095, 4096))


def test_the_answer_is_fixed() -> None:
    costs = np.array([9, 1, 1, 1, 1, 1, 1, 1, 30, 2], dtype=np.float64)
    assert assign(costs, 3).tolist() == [1, 2, 2, 2, 2, 2, 2, 2, 0, 2]


def test_a_million_videos_are_quick() -> None:
    costs = 3 + np.random.default_rng(1).pareto(1.2, 1_000_000)
    begin = time.process_time()
    assign(costs, 1024)
    assert time.process_time() - begin < 5


@pytest.mark.parametrize(
    ("rank", "world_size"), [(3, 3), (-1, 3), (0, 0), (0, 4097), (0, -1), (5000, 4096)]
)
def test_a_rank_outside_the_world_is_refused(rank: int, world_size: int) -> None:
    with pytest.raises(UsageError, match=r"--rank|--world-size"):
        shard_rows(np.ones(5), rank, world_size)
