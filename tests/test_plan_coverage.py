"""The order by coverage: what it promises, and that ranks keep to it."""

from __future__ import annotations

import itertools
import os
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trackverse_cli.catalog import open_catalog
from trackverse_cli.config import load_config
from trackverse_cli.plan.coverage import PROMISED_SHARE, coverage_order, worth_of
from trackverse_cli.plan.order import catalog_order, rank_order, videos_in_order
from trackverse_cli.plan.reach import request_places, request_turns

if TYPE_CHECKING:
    from random import Random

    from numpy.typing import NDArray

    from tests.project import Project
    from trackverse_cli.catalog import Catalog

Clips = list[list[int]]
"""The classes of the clips of each video."""

some_videos = st.lists(st.lists(st.integers(0, 6), max_size=8), max_size=9)


def columns(videos: Clips) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
    rows = [row for row, classes in enumerate(videos) for _ in classes]
    classes = [one for classes in videos for one in classes]
    return np.array(rows, dtype=np.int64), np.array(classes, dtype=np.int64), len(videos)


def worth(videos: Clips, rows: list[int]) -> float:
    found = np.array([one for row in rows for one in videos[row]], dtype=np.int64)
    return worth_of(np.bincount(found, minlength=1))


@given(some_videos)
def test_it_is_a_permutation_and_videos_without_clips_come_last(videos: Clips) -> None:
    order = coverage_order(*columns(videos)).tolist()
    assert sorted(order) == list(range(len(videos)))
    empty = [row for row, classes in enumerate(videos) if not classes]
    assert order[len(videos) - len(empty) :] == empty


@given(some_videos)
def test_every_prefix_is_worth_what_is_promised_of_the_best_choice(videos: Clips) -> None:
    order = coverage_order(*columns(videos)).tolist()
    for number in range(1, len(videos) + 1):
        best = max(
            worth(videos, list(some))
            for some in itertools.combinations(range(len(videos)), number)
        )  # fmt: skip
        assert worth(videos, order[:number]) >= PROMISED_SHARE * best - 1e-9


@given(some_videos, st.permutations(range(7)), st.randoms())
def test_neither_the_numbers_of_classes_nor_the_order_of_clips_matter(
    videos: Clips, names: list[int], random: Random
) -> None:
    order = coverage_order(*columns(videos)).tolist()
    renamed = [[names[one] for one in classes] for classes in videos]
    for classes in renamed:
        random.shuffle(classes)
    assert coverage_order(*columns(renamed)).tolist() == order


def test_the_first_video_is_the_one_worth_most() -> None:
    videos = [[0, 0, 0], [0, 1], [1, 2, 3], [4], []]
    assert coverage_order(*columns(videos)).tolist() == [2, 0, 3, 1, 4]


def test_many_clips_count_and_so_do_rare_classes() -> None:
    common = [[0] * 30 for _ in range(20)]
    order = coverage_order(*columns([*common, [1], [2]])).tolist()
    assert order.index(20) < 3
    assert order.index(21) < 4
    assert order[0] == 0


def test_on_a_large_dataset_it_is_quick_and_far_better_than_the_order_of_the_file() -> None:
    random = np.random.default_rng(3)
    counts = np.minimum(1 + (4 * random.pareto(1.2, 20_000)).astype(int), 3000)
    rows = np.repeat(np.arange(len(counts)), counts)
    weights = 1 / np.arange(1, 1201) ** 1.5
    classes = random.choice(1200, len(rows), p=weights / weights.sum())
    order = coverage_order(rows, classes, len(counts))
    assert np.array_equal(np.sort(order), np.arange(len(counts)))
    places = np.empty(len(counts), dtype=np.int64)
    places[order] = np.arange(len(counts))
    tenth = len(counts) // 10
    early, first = places[rows] < tenth, rows < tenth
    assert np.count_nonzero(early) > 3 * np.count_nonzero(first)
    for least in (1, 10):
        by_coverage = np.count_nonzero(np.bincount(classes[early]) >= least)
        by_file = np.count_nonzero(np.bincount(classes[first]) >= least)
        assert by_coverage > by_file
        if least == 1:
            assert by_coverage >= 0.95 * len(np.unique(classes))


def test_places_take_turns_between_ranks() -> None:
    asked = np.array([True, True, False, True, True, True])
    ranks = np.array([0, 0, 0, 1, 0, 1])
    order = np.array([4, 3, 2, 1, 5, 0])
    turns = request_turns(asked, ranks, order)
    assert turns.tolist() == [2, 1, -1, 0, 0, 1]
    assert request_places(turns, ranks).tolist() == [4, 2, -1, 1, 0, 3]


@given(
    st.integers(1, 5).flatmap(
        lambda ranks: st.lists(st.tuples(st.booleans(), st.integers(0, ranks - 1)), max_size=30)
    )
)
def test_places_count_every_request_once(videos: list[tuple[bool, int]]) -> None:
    asked = np.array([one for one, _ in videos], dtype=bool)
    ranks = np.array([one for _, one in videos], dtype=np.int64)
    places = request_places(request_turns(asked, ranks, np.arange(len(videos))), ranks)
    assert sorted(places[asked].tolist()) == list(range(int(asked.sum())))
    assert (places[~asked] == -1).all()


@pytest.fixture
def catalog(project: Project) -> Catalog:
    """Four videos: two with many clips of one class, one with rare ones, one with none known."""
    for number, labels in enumerate((["a"] * 4, ["a"] * 3, ["b", "c"], [None])):
        for place, label in enumerate(labels):
            names = {"top10_label_ids": [], "top10_label_names": []} if label is None else {
                "top10_label_ids": [ord(label)], "top10_label_names": [label],
            }  # fmt: skip
            project.track(f"video-{number:05d}", place, place + 0.5, **names)
    project.fetch()
    return open_catalog(load_config(None, {"dataset.root": project.root}, {}))


def test_a_rank_takes_its_part_of_one_order(project: Project, catalog: Catalog) -> None:
    everything = catalog_order(catalog, project.layout).tolist()
    ids = [catalog.video_ids[row] for row in everything]
    assert ids[0] == "video-00000"  # 1 + 1/2 + 1/3 + 1/4
    assert ids[1] == "video-00002"
    assert ids[-1] == "video-00001"
    rows = np.array([3, 0, 1])
    own = rank_order(catalog, project.layout, rows, "coverage").tolist()
    assert own == [row for row in everything if row in rows]
    assert rank_order(catalog, project.layout, rows, "cost").tolist() == [0, 1, 3]


def test_the_order_is_kept_and_made_again_where_it_is_not_whole(
    project: Project, catalog: Catalog
) -> None:
    made = catalog_order(catalog, project.layout)
    (kept,) = project.layout.state.glob("order-*.npz")
    whole = kept.read_bytes()
    assert np.array_equal(catalog_order(catalog, project.layout), made)
    for bad in (b"", b"no archive", whole[: len(whole) // 2]):
        kept.write_bytes(bad)
        assert np.array_equal(catalog_order(catalog, project.layout), made)
        assert kept.read_bytes() != bad
    np.savez(kept, version=1, order=np.array([0, 0, 1, 2]))
    assert np.array_equal(catalog_order(catalog, project.layout), made)


@pytest.mark.skipif(os.getuid() == 0, reason="root writes everywhere")
def test_a_folder_that_cannot_be_written_costs_time_only(
    project: Project, catalog: Catalog
) -> None:
    project.root.chmod(0o500)
    try:
        assert len(catalog_order(catalog, project.layout)) == 4
    finally:
        project.root.chmod(0o700)


def test_videos_come_in_the_order_asked_for_with_all_their_tracks(catalog: Catalog) -> None:
    rows = np.array([2, 0, 3])
    found = list(videos_in_order(catalog, rows))
    assert [video.video_id for video in found] == [catalog.video_ids[row] for row in rows]
    by_row = {video.video_id: video for video in catalog.videos()}
    for video in found:
        same = [track.track_id for track in by_row[video.video_id].tracks]
        assert [track.track_id for track in video.tracks] == same
    assert list(videos_in_order(catalog, np.array([], dtype=np.int64))) == []


def test_many_videos_come_a_few_at_a_time(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(40):
        project.track(f"video-{number:05d}", 0, 0.5)
    project.fetch()
    catalog = open_catalog(load_config(None, {"dataset.root": project.root}, {}))
    monkeypatch.setattr("trackverse_cli.plan.order.VIDEOS_AT_ONCE", 8)
    monkeypatch.setattr("trackverse_cli.plan.order.FIRST_VIDEOS", 2)
    rows = np.random.default_rng(1).permutation(40)
    found = [video.video_id for video in videos_in_order(catalog, rows)]
    assert found == [catalog.video_ids[row] for row in rows]
