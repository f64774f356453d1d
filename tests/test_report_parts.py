"""The parts of a report on their own: which clips, over time, long lists, what wheels carry."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hatchling.builders.wheel import WheelBuilder

from trackverse_cli.findings import Clip, Tally
from trackverse_cli.report.page import style
from trackverse_cli.report.sample import OF_A_CLASS, Few, Sample
from trackverse_cli.report.tables import ROWS, bar, folded
from trackverse_cli.report.text import counted, share, tick_text
from trackverse_cli.report.timeline import POINTS, timeline
from trackverse_cli.worklist import State

TOP = Path(__file__).parents[1]


def clip(number: int, label: str) -> Clip:
    return Clip(number, f"video{number:06d}", f"t{number}", f"{number}.mp4", label)


def tally(complete: int = 0, missing: int = 0, damaged: int = 0, gone: int = 0) -> Tally:
    found = Tally()
    counts = (complete, missing, damaged, gone)
    found.states.update(dict(zip(State, counts, strict=True)))
    return found


def test_a_sample_is_the_same_in_whatever_order_clips_come() -> None:
    clips = [clip(n, f"class {n % 7}") for n in range(500)]
    one, other = Sample(30), Sample(30)
    for each in clips:
        one.add(each)
    for each in reversed(clips):
        other.add(each)
    found = one.by_class()
    assert found == other.by_class()
    assert list(found) == sorted(found)
    assert sum(map(len, found.values())) == 30
    assert {len(some) for some in found.values()} <= {4, 5}


def test_a_sample_of_more_classes_than_it_shows() -> None:
    sample = Sample(20)
    clips = [clip(n, f"class {n % 1000}") for n in range(3000)]
    for each in clips:
        sample.add(each)
    found = sample.by_class()
    assert [len(some) for some in found.values()] == [1] * 20
    # Not the first ones: any class may come.
    assert max(int(label.split()[1]) for label in found) > 100


def test_a_small_class_leaves_its_share_to_others_up_to_a_limit() -> None:
    sample = Sample(60)
    for n in range(200):
        sample.add(clip(n, "large" if n else "small"))
    found = sample.by_class()
    assert (len(found["large"]), len(found["small"])) == (OF_A_CLASS, 1)


def test_no_clip_is_kept_where_none_is_wanted() -> None:
    sample, few = Sample(0), Few(0)
    sample.add(clip(1, "x"))
    few.add(clip(1, "x"))
    assert (sample.by_class(), few.clips()) == ({}, [])


def test_a_line_over_time_grows_to_what_is_there() -> None:
    day = 86_400.0
    begin = 1.79e9
    clips = [begin + day * n / 10 for n in range(80)]
    found = timeline(reversed(clips), 100, [begin, begin + 4 * day, float("nan"), -1, 1e300], 2)
    assert found is not None
    assert (found.begin, found.end) == (begin, clips[-1])
    assert found.clips.shares.shape == (POINTS,)
    assert all(a <= b for a, b in pairwise(found.clips.shares.tolist()))
    assert found.clips.shares[0] == pytest.approx(0.01)
    assert found.clips.shares[-1] == pytest.approx(0.8)
    assert found.clips.half == clips[39]
    assert found.clips.last_day == 11
    assert (found.videos.known, found.videos.shares[-1]) == (2, 1.0)
    middle = np.searchsorted(np.linspace(0, 1, POINTS), 0.5)
    assert found.clips.shares[middle] == pytest.approx(0.4, abs=0.02)


def test_no_time_is_no_line() -> None:
    assert timeline([], 5, [float("inf")], 2) is None
    one = timeline([1.79e9], 4, [], 2)
    assert one is not None
    assert one.end - one.begin == 1
    assert one.clips.shares.tolist() == [0.25] * POINTS
    assert one.videos.half is None


@pytest.mark.parametrize(
    ("counts", "widths"),
    [
        ((3, 0, 0, 0), {"k": 100}),
        ((200_000, 1, 1, 1), {"k": 97, "m": 1, "d": 1, "u": 1}),
        ((1, 1, 1, 0), {"k": 34, "m": 33, "d": 33}),
        ((0, 0, 0, 0), {}),
    ],
)
def test_bars_show_whatever_there_is(
    counts: tuple[int, int, int, int], widths: dict[str, int]
) -> None:
    found = {k: int(w) for k, w in re.findall(r'<i class="(\w) w(\d+)">', bar(tally(*counts)))}
    assert found == widths
    assert sum(found.values()) in (0, 100)


def test_ten_thousand_classes_are_folded_and_all_there() -> None:
    names = [f"class <{n:05d}>" for n in range(10_000)]
    tallies = {name: tally(complete=n % 50, missing=n % 3) for n, name in enumerate(names)}
    text = "".join(folded(tallies, "class"))
    for number in range(10_000):
        assert f"<bdi>class &lt;{number:05d}&gt;</bdi>" in text
    in_sight = text[: text.index("<details")]
    assert in_sight.count('<tr><th scope="row">') == 10
    assert text.count("<details") == 1 + 20
    assert " open" not in text
    assert len(text.encode()) < 3_000_000


def test_more_rows_than_a_page_bears_are_added_up() -> None:
    tallies = {f"c{n}": tally(complete=1) for n in range(ROWS + 5)} | {"last": tally(missing=2)}
    text = "".join(folded(tallies, "class"))
    assert text.count('<tr><th scope="row">') == 1 + ROWS + 1
    assert "6 classes more" in text
    assert text.count("<bdi>last</bdi>") >= 2


def test_few_rows_are_not_folded() -> None:
    text = "".join(folded({"a": tally(complete=1), "b": tally(missing=1)}, "class"))
    assert "<details" not in text
    assert "1 missing" in text


def test_numbers_are_told_as_they_are() -> None:
    assert share(199_999, 200_000) == "over 99.9 %"
    assert share(1, 200_000) == "under 0.1 %"
    assert (share(0, 0), share(0, 5), share(5, 5), share(1, 3)) == ("0 %", "0 %", "100 %", "33.3 %")
    assert [counted(n, "class") for n in (1, 2)] == ["1 class", "2 classes"]
    assert [counted(n, "clip") for n in (0, 1)] == ["0 clips", "1 clip"]
    told = [tick_text(1.79e9, span) for span in (5.0, 7200.0, 9e6, 9e7)]
    assert told == ["14:13:20", "21 Sep 14:13", "21 Sep", "21 Sep 2026"]


def test_wheels_carry_the_style_sheet() -> None:
    assert ".verdict" in style()
    builder = WheelBuilder(str(TOP))
    shipped = {file.distribution_path for file in builder.recurse_included_files()}
    assert "trackverse_cli/report/style.css" in shipped
    assert "trackverse_cli/report/page.py" in shipped
