"""The crop plan: the original's numbers, and what holds for any boxes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from trackverse_cli.boxes import CropPlan, plan_crop
from trackverse_cli.errors import ItemError

GOLDEN = Path(__file__).parents[2] / "shared" / "golden" / "boxes.json"

# One track whose box drifts and grows, as the original scripts cut it (720p, every 1/16 s).
TS = [round(57.0278 + k / 16, 4) for k in range(20)]
BOXES = [[400.0 + 3 * k, 180.0 + k, 450.0 + 2 * k, 350.0 - k] for k in range(20)]


def test_equals_the_original_where_its_numbers_are_at_hand() -> None:
    if not GOLDEN.is_file():
        pytest.skip(f"no golden numbers at {GOLDEN}")
    for case in json.loads(GOLDEN.read_text()):
        plan = plan_crop(case["frame_ts"], case["frame_bboxes"], case["video_size"])
        assert plan.clip_size == tuple(case["clip_size_wh"]), case["name"]
        got = plan.boxes_at(case["video_frame_times"])
        np.testing.assert_allclose(got, case["crop_xywh"], atol=0.01, err_msg=case["name"])


def test_a_still_box_of_fitting_shape_is_cut_as_it_is() -> None:
    plan = plan_crop([0, 1, 2], [[100, 50, 300, 240]] * 3, (720, 1280))
    assert plan.clip_size == (300, 240)
    np.testing.assert_allclose(plan.boxes_at([-5, 0.3, 99]), [[100, 50, 300, 240]] * 3)


def test_a_flat_box_grows_about_its_centre_to_three_halves() -> None:
    plan = plan_crop([0.0], [[100, 300, 600, 100]], (720, 1280))
    np.testing.assert_allclose(plan.boxes_at([0.0])[0], [100, 150, 600, 400])


def test_a_narrow_box_grows_to_two_thirds_and_is_moved_into_the_frame() -> None:
    plan = plan_crop([0.0], [[0, 100, 60, 300]], (720, 1280))
    np.testing.assert_allclose(plan.boxes_at([0.0])[0], [0, 100, 200, 300])


def test_a_box_larger_than_the_frame_on_both_sides_fits_it() -> None:
    plan = plan_crop([0.0], [[-50, -50, 2000, 2000]], (720, 1280))
    x, y, w, h = plan.boxes_at([0.0])[0]
    assert (w, h) == (720, 720)
    assert (x, y) == (560, 0)


def test_equal_times_count_as_their_mean() -> None:
    plan = plan_crop([1, 1, 2], [[0, 0, 90, 90], [20, 0, 90, 90], [40, 0, 90, 90]], (720, 1280))
    assert plan.boxes_at([1.0])[0, 0] == pytest.approx(10, abs=8)
    assert np.isfinite(plan.boxes_at([0.0, 1.0, 1.5, 3.0])).all()


def test_unsorted_times_are_sorted() -> None:
    order = [3, 0, 2, 1, *range(4, 20)]
    shuffled = plan_crop([TS[k] for k in order], [BOXES[k] for k in order], (720, 1280))
    straight = plan_crop(TS, BOXES, (720, 1280))
    np.testing.assert_allclose(shuffled.boxes_at(TS), straight.boxes_at(TS))


@pytest.mark.parametrize(
    ("ts", "boxes"),
    [
        ([], np.empty((0, 4))),
        ([0.0], [[0, 0, 10]]),
        ([0.0, 1.0], [[0, 0, 10, 10]]),
        ([float("nan")], [[0, 0, 10, 10]]),
        ([0.0], [[0, float("inf"), 10, 10]]),
        ([0.0], [[0, 0, 0, 10]]),
        ([0.0], [[0, 0, 10, -1]]),
    ],
)
def test_what_is_no_track_is_refused(ts: list[float], boxes: list[list[float]]) -> None:
    with pytest.raises(ItemError) as caught:
        plan_crop(ts, boxes, (720, 1280))
    assert caught.value.reason == "invalid-track"


def test_a_scaled_plan_shows_the_same_share_of_the_frame() -> None:
    plan = plan_crop(TS, BOXES, (720, 1280))
    half = plan.scaled(2 / 3, 2 / 3)
    np.testing.assert_allclose(half.boxes_at(TS) * 1.5, plan.boxes_at(TS))
    assert half.clip_size[0] == int(plan.clip_size[0] * 2 / 3) // 2 * 2


sides = st.integers(2, 2000)
numbers = st.floats(-3000, 3000, width=32)


@given(
    st.integers(1, 40).flatmap(
        lambda n: st.tuples(
            hnp.arrays(float, n, elements=st.floats(0, 1000, width=32)),
            hnp.arrays(float, (n, 2), elements=numbers),
            hnp.arrays(float, (n, 2), elements=st.floats(0.5, 3000, width=32)),
        )
    ),
    st.tuples(sides, sides),
    hnp.arrays(float, 5, elements=st.floats(-10, 1100)),
)
def test_any_boxes_give_crops_inside_the_frame(
    track: tuple[np.ndarray, np.ndarray, np.ndarray], size: tuple[int, int], at: np.ndarray
) -> None:
    ts, corners, extents = track
    plan: CropPlan = plan_crop(ts, np.hstack([corners, extents]), size)
    boxes = plan.boxes_at(at)
    assert boxes.shape == (5, 4)
    assert [plan.box_at(time) for time in at.tolist()] == list(map(tuple, boxes.tolist()))
    height, width = size
    assert (boxes[:, :2] >= -1e-6).all()
    assert (boxes[:, 0] + boxes[:, 2] <= width + 1e-6).all()
    assert (boxes[:, 1] + boxes[:, 3] <= height + 1e-6).all()
    assert (boxes[:, 2:] > 0).all()
    assert plan.clip_size[0] % 2 == plan.clip_size[1] % 2 == 0
    assert min(plan.clip_size) >= 2
