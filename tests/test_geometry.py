"""Which video size boxes belong to, and what a file of another size means."""

from __future__ import annotations

import numpy as np
import pytest

from trackverse_cli.boxes import CropPlan
from trackverse_cli.errors import ItemError
from trackverse_cli.geometry import annotated_size, plan_tracks
from trackverse_cli.metadata import Track


def track(
    name: str, box: tuple[float, float, float, float], video_size: tuple[int, int] | None = None
) -> Track:
    return Track(
        name, "abcdefghijk", f"{name}.mp4", np.array([0.0, 1.0]), np.array([box, box]),
        video_size, (), (),
    )  # fmt: skip


def plan_of(
    tracks: list[Track], file: tuple[int, int], source: tuple[int, int] | None = None
) -> CropPlan | ItemError:
    return plan_tracks(tracks, file, source)[tracks[0].track_id]


def first_box(plan: CropPlan | ItemError) -> list[float]:
    assert isinstance(plan, CropPlan), plan
    box: list[float] = plan.boxes_at([0.0])[0].round(6).tolist()
    return box


@pytest.mark.parametrize(
    ("source", "annotated"),
    [
        ((1920, 1080), (1280, 720)),
        ((3840, 2160), (1280, 720)),
        ((1280, 720), (1280, 720)),
        ((640, 360), (640, 360)),
        ((1440, 1080), (960, 720)),
        ((1080, 1920), (720, 1280)),
        ((1920, 800), (1280, 534)),
        ((720, 720), (720, 720)),
        ((1080, 1080), (720, 720)),
    ],
)
def test_boxes_were_made_on_the_version_that_fits_720p(
    source: tuple[int, int], annotated: tuple[int, int]
) -> None:
    assert annotated_size(source) == annotated


def test_a_file_of_the_annotated_size_is_cut_as_it_is() -> None:
    assert first_box(plan_of([track("a", (90, 60, 300, 300))], (1280, 720))) == [90, 60, 300, 300]


def test_a_1080p_file_is_cut_with_boxes_and_clip_scaled_up() -> None:
    plan = plan_of([track("a", (90, 60, 300, 300))], (1920, 1080))
    assert first_box(plan) == [135, 90, 450, 450]
    assert isinstance(plan, CropPlan)
    assert plan.clip_size == (450, 450)


def test_the_host_says_what_a_480p_file_stands_for() -> None:
    box = (90.0, 60.0, 300.0, 300.0)
    assert first_box(plan_of([track("a", box)], (640, 360), (1920, 1080))) == [45, 30, 150, 150]
    assert first_box(plan_of([track("a", box)], (640, 360), (640, 360))) == [90, 60, 300, 300]


def test_without_the_host_all_boxes_of_a_video_together_decide() -> None:
    small, large = track("a", (90, 60, 150, 150)), track("b", (900, 400, 300, 300))
    assert first_box(plan_of([small], (640, 360))) == [90, 60, 150, 150]
    assert first_box(plan_of([small, large], (640, 360))) == [45, 30, 75, 75]


def test_a_stray_track_does_not_decide_for_the_others() -> None:
    good, stray = track("a", (90, 60, 150, 150)), track("b", (5000, 400, 300, 300))
    plans = plan_tracks([good, stray], (640, 360), None)
    assert first_box(plans["a"]) == [90, 60, 150, 150]
    error = plans["b"]
    assert isinstance(error, ItemError)
    assert error.reason == "geometry-mismatch"
    assert "5300" in error.message
    assert "640x360" in error.message


def test_a_size_in_the_metadata_is_taken_at_its_word() -> None:
    plan = plan_of([track("a", (90, 60, 300, 300), (360, 640))], (1280, 720))
    assert first_box(plan) == [180, 120, 600, 600]


def test_another_shape_is_not_cut() -> None:
    error = plan_of([track("a", (90, 60, 300, 300), (720, 1280))], (960, 720))
    assert isinstance(error, ItemError)
    assert error.reason == "geometry-mismatch"
    assert "1280x720" in error.message
    assert "960x720" in error.message


def test_one_percent_of_another_shape_is_rounding() -> None:
    plan = plan_of([track("a", (90, 60, 300, 300), (720, 1280))], (854, 480))
    x, _, w, _ = first_box(plan)
    assert (x, w) == (pytest.approx(90 * 854 / 1280), pytest.approx(300 * 854 / 1280))


def test_a_box_partly_outside_is_moved_in() -> None:
    assert first_box(plan_of([track("a", (-30, 60, 300, 300))], (1280, 720))) == [0, 60, 300, 300]


def test_a_box_a_little_outside_a_small_video_does_not_enlarge_it() -> None:
    plan = plan_of([track("a", (-30, -20, 150, 150)), track("b", (560, 300, 100, 80))], (640, 360))
    assert first_box(plan) == [0, 0, 150, 150]
