from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trackverse_cli.metadata import LineError, Track, dialect_of, parse_line, plain_label

TIMES = [1.0, 1.0625, 1.125]
BOXES = [[10, 20, 30.5, 40], [11, 21, 30.25, 41], [-3.5, 22, 31, 42]]
CURRENT = {
    "yid": "-bcdefghij_",
    "track_id": "t1",
    "track_mp4_filename": "ab/clip.mp4",
    "track_ts": [1.0, 1.125],
    "frame_ts": TIMES,
    "frame_bboxes": BOXES,
    "top10_label_ids": [3, 4],
    "top10_label_names": ["cat", "dog"],
}
EARLY = {
    "yid": "-bcdefghij_",
    "track_id": "t1",
    "mp4_filename": "ab/clip.mp4",
    "track_ts": [1.0, 1.125],
    "frame_ts": TIMES,
    "frame_bboxes": BOXES,
    "video_size": [720, 1280],
    "top10_lbl": [3, 4],
    "top10_desc": ["photo of a cat (also known as tom (puss))", "photo of a dog"],
    "top10_cls": [0.1, 0.2],
}
RAW = {
    "yid": "-bcdefghij_",
    "tid": 17,
    "fn": "ab/clip.mp4",
    "track_ts": TIMES,
    "track_bbox": BOXES,
    "video_size": [720, 1280],
    "top10_lbl": [3, 4],
    "top10_desc": ["cat", "dog"],
    "top10_logit_mu": [0.5],
}


def line_of(base: dict[str, object] = CURRENT, **changes: object) -> bytes:
    fields = {**base, **changes}
    return json.dumps({k: v for k, v in fields.items() if v is not ...}).encode()


def problem(line: bytes) -> LineError:
    with pytest.raises(LineError) as caught:
        parse_line(line)
    return caught.value


@pytest.mark.parametrize("base", [CURRENT, EARLY, RAW])
def test_each_dialect_gives_the_same_track(base: dict[str, object]) -> None:
    track = parse_line(line_of(base) + b"\r\n")
    assert (track.video_id, track.clip_name) == ("-bcdefghij_", "ab/clip.mp4")
    assert track.track_id == ("17" if base is RAW else "t1")
    assert track.frame_ts.tolist() == TIMES
    assert track.frame_bboxes.tolist() == BOXES
    assert track.frame_bboxes.dtype == track.frame_ts.dtype == np.float64
    assert track.video_size == (None if base is CURRENT else (720, 1280))
    assert track.label_ids == (3, 4)
    assert track.label_names == ("cat", "dog")


def test_dialects_are_told_apart_by_their_fields() -> None:
    assert [dialect_of(base) for base in (CURRENT, EARLY, RAW)] == ["current", "early", "raw"]


def test_labels_lose_their_sentence_only() -> None:
    assert plain_label("photo of a bow-tie (also known as x)") == "bow-tie"
    assert plain_label("a photo of an apple") == "apple"
    assert plain_label("photograph") == "photograph"


def test_box_times_come_from_track_ts_only_where_it_has_one_for_each_box() -> None:
    assert parse_line(line_of(frame_ts=..., track_ts=TIMES)).frame_ts.tolist() == TIMES
    assert "2 times for 3 boxes" in problem(line_of(frame_ts=...)).message
    assert "2 times in frame_ts belong to 3 boxes" in problem(line_of(frame_ts=[1, 2])).message


@pytest.mark.parametrize(
    ("times", "boxes"),
    [([2], BOXES[:1]), ([2, 2, 2], BOXES), ([3, 1, 2], BOXES), ([-1, 0, 1], BOXES)],
)
def test_one_equal_and_unsorted_times_are_valid(times: list[float], boxes: list[object]) -> None:
    track = parse_line(line_of(frame_ts=times, frame_bboxes=boxes))
    assert track.frame_ts.tolist() == times


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (line_of(frame_bboxes=[[float("nan"), 1, 2, 3]], frame_ts=[1]), "a box holds NaN"),
        (line_of(frame_ts=[1, 2, float("inf")]), "holds an infinite number"),
        (line_of(frame_ts=[1, 2, 10**400]), "holds an infinite number"),
        (line_of(frame_bboxes=[], frame_ts=[]), "no boxes"),
        (line_of(frame_bboxes=[[1, 2, 0, 4]], frame_ts=[1]), "box 1 is 0 wide"),
        (line_of(frame_bboxes=[[1, 2, 3]], frame_ts=[1]), "no box of 4 numbers"),
        (line_of(frame_bboxes=[[1, 2, 3, True]], frame_ts=[1]), "no number"),
        (line_of(frame_bboxes="x"), "frame_bboxes is no list"),
        (line_of(frame_bboxes=...), "frame_bboxes or track_bbox is missing"),
        (line_of(frame_ts=..., track_ts=...), "frame_ts is missing"),
        (line_of(yid=...), "yid is missing"),
        (line_of(yid=7), "yid is no text"),
        (line_of(track_id=None), "track_id or tid is missing"),
        (line_of(track_id=""), "track id"),
        (line_of(track_id="a\nb"), "track id"),
        (line_of(track_id="\ud800"), "track id"),
        (line_of(top10_label_ids=["x"]), "no whole number"),
        (line_of(top10_label_ids=[2**40]), "32 bits"),
        (line_of(top10_label_names=["\ud800"]), "not valid UTF-8"),
        (line_of(EARLY, video_size=[0, 5]), "no [height, width]"),
        (line_of(EARLY, video_size=[1]), "no [height, width]"),
        (b"[1]", "no JSON object"),
        (b"{", "not valid JSON"),
        (b'{"a": "\xff"}', "not valid UTF-8"),
        (b"[" * 100_000, "nested too deep"),
        (b" " * ((64 << 20) + 1), "over 64 MiB"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_bad_line_says_what_is_wrong(line: bytes, said: str) -> None:
    error = problem(line)
    assert error.reason == "invalid-track"
    assert said in error.message
    assert "\n" not in error.message


@pytest.mark.parametrize("name", ["../../x", "/etc/x", "a\nb.mp4", "", "a\\b", "a//b", "\ud800"])
def test_a_hostile_name_is_refused_and_shown_escaped(name: str) -> None:
    error = problem(line_of(track_mp4_filename=name))
    assert error.reason == "refused-name"
    assert error.clip_name.isprintable()
    assert error.clip_name.isascii()


def test_a_hostile_id_is_refused_with_its_clip() -> None:
    error = problem(line_of(yid="../../../ab"))
    assert (error.reason, error.clip_name) == ("refused-name", "ab/clip.mp4")


def test_an_endless_name_is_shown_short() -> None:
    assert len(problem(line_of(track_mp4_filename="é" * 100_000)).clip_name) <= 300


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=8,
)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_any_line_gives_a_track_or_a_line_error(data: st.DataObject) -> None:
    base = data.draw(st.sampled_from([CURRENT, EARLY, RAW]))
    keys = st.sampled_from(sorted({*CURRENT, *EARLY, *RAW}))
    changes = data.draw(st.dictionaries(keys, JSON, max_size=3))
    line = line_of(base, **changes)
    cut = data.draw(st.integers(0, 2 * len(line)))
    try:
        track = parse_line(line[:cut] if cut < len(line) else line)
    except LineError as error:
        known = error.reason in ("refused-name", "invalid-track")
    else:
        known = True
        check_track(track)
    assert known


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60))
def test_any_bytes_give_a_line_error(line: bytes) -> None:
    assert problem(line).reason == "invalid-track"


def check_track(track: Track) -> None:
    assert len(track.frame_ts) >= 1
    assert track.frame_bboxes.shape == (len(track.frame_ts), 4)
    assert np.isfinite(track.frame_ts).all()
    assert np.isfinite(track.frame_bboxes).all()
    assert (track.frame_bboxes[:, 2:] > 0).all()
