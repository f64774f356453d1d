"""A process's pace: cool-downs over restarts and skewed hosts, the fleet's health, proxies."""

from __future__ import annotations

import errno
import os
import re
import threading
from typing import TYPE_CHECKING, Any

import pytest

from trackverse_cli.errors import LacksError, StoppedError, TryLaterError, UsageError
from trackverse_cli.pace import Course, Outcome, Pace, Rotation, Terms, rate_of

if TYPE_CHECKING:
    from pathlib import Path

HOUR = 3600.0
TERMS = Terms(rate_of(36_000), broken_in_a_row=3)


class SharedWorld:
    """The true time, and the hosts that live in it."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0


class HostClock:
    """A host whose wall clock is off and whose monotonic clock began somewhere."""

    def __init__(self, world: SharedWorld, skew: float = 0.0) -> None:
        self.world = world
        self.skew = skew

    def time(self) -> float:
        return self.world.now + self.skew

    def monotonic(self) -> float:
        return self.world.now - 1_799_000_000.0

    def sleep(self, seconds: float) -> None:
        self.world.now += max(seconds, 1e-3)


class ServerTime:
    """The file server's clock, as a host sees it; `skew` as on Lustre, where it is the host's."""

    def __init__(self, world: SharedWorld, skew: float = 0.0) -> None:
        self.world = world
        self.skew = skew

    def now_ms(self) -> int:
        return round((self.world.now + self.skew) * 1000)


def a_pace(
    folder: Path, world: SharedWorld, skew: float = 0.0, server_skew: float = 0.0, **other: Any
) -> Pace:
    egress = other.pop("egress", "default")
    terms = other.pop("terms", TERMS)
    return Pace(
        folder,
        egress,
        other.pop("account", ""),
        terms,
        clock=HostClock(world, skew),
        shared_time=ServerTime(world, server_skew),
        background=False,
        **other,
    )


def test_one_rank_s_throttle_stops_all_and_says_when_to_come_back(tmp_path: Path) -> None:
    world = SharedWorld()
    one, two = a_pace(tmp_path, world), a_pace(tmp_path, world)
    two.take()
    one.note(Outcome.THROTTLED, "v")
    with pytest.raises(TryLaterError, match=r"after \d{4}-\d\d-\d\d \d\d:\d\d .*, in 60 min") as no:
        two.take()
    assert no.value.exit_code == 75
    assert "default" in str(no.value)


def test_a_cool_down_survives_a_restart_and_doubles_when_throttled_again(tmp_path: Path) -> None:
    world = SharedWorld()
    a_pace(tmp_path, world).throttled()
    world.now += 0.9 * HOUR
    assert a_pace(tmp_path, world).cool_down_seconds() == pytest.approx(0.1 * HOUR)
    world.now += 0.2 * HOUR
    again = a_pace(tmp_path, world)
    again.take()
    again.throttled()
    assert a_pace(tmp_path, world).cool_down_seconds() == pytest.approx(2 * HOUR)
    world.now += 4 * HOUR
    easing = a_pace(tmp_path, world)
    easing.note(Outcome.OK, "v")
    easing.note(Outcome.OK, "w")
    easing.throttled()
    assert easing.cool_down_seconds() == pytest.approx(2 * HOUR), "one doubling was taken back"


def test_a_short_retry_after_is_waited_for_and_one_that_was_not_enough_doubles(
    tmp_path: Path,
) -> None:
    world = SharedWorld()
    pace = a_pace(tmp_path, world)
    pace.note(Outcome.THROTTLED, "v", retry_after_seconds=90)
    before = world.now
    pace.take()
    assert 90 <= world.now - before <= 94
    pace.note(Outcome.THROTTLED, "v", retry_after_seconds=2 * HOUR)
    with pytest.raises(TryLaterError, match="in 4 h 0 min"):
        pace.take()


def test_throttled_too_often_in_a_row_ends_the_rank(tmp_path: Path) -> None:
    world = SharedWorld()
    pace = a_pace(tmp_path, world)
    for _ in range(2):
        pace.note(Outcome.THROTTLED, "v", retry_after_seconds=5)
        pace.take()
    pace.note(Outcome.THROTTLED, "v", retry_after_seconds=5)
    with pytest.raises(TryLaterError, match="3 times in a row"):
        pace.take()
    calmer = a_pace(tmp_path / "calmer", world)
    for _ in range(5):
        calmer.note(Outcome.THROTTLED, "v", retry_after_seconds=1)
        calmer.take()
        calmer.note(Outcome.OK, "w")


def test_a_clock_that_is_minutes_off_changes_nothing(tmp_path: Path) -> None:
    world = SharedWorld()
    a_pace(tmp_path, world, skew=-600.0).throttled()
    assert a_pace(tmp_path, world, skew=900.0).cool_down_seconds() == pytest.approx(HOUR)


def test_where_files_carry_the_host_s_clock_a_slow_one_waits_no_longer_than_all(
    tmp_path: Path,
) -> None:
    world = SharedWorld()
    a_pace(tmp_path, world).throttled(300)
    slow = a_pace(tmp_path, world, server_skew=-86_400.0)
    assert slow.cool_down_seconds() == pytest.approx(300)
    world.now += 301
    assert slow.cool_down_seconds() == 0


def test_two_roots_share_one_folder_and_accounts_do_not(tmp_path: Path) -> None:
    world = SharedWorld()
    one = a_pace(tmp_path, world)
    other = a_pace(tmp_path, world)
    account = a_pace(tmp_path, world, account="ab12cd34")
    one.throttled()
    assert other.cool_down_seconds() > 0
    assert account.cool_down_seconds() == 0
    account.take()


def test_stop_ends_a_wait(tmp_path: Path) -> None:
    stop = threading.Event()
    stop.set()
    with (
        Pace(tmp_path, "default", "", Terms(rate_of(1))) as pace,
        pytest.raises(StoppedError),
    ):
        pace.take(stop)
    assert not list((tmp_path / "default").glob("q*"))


def fail(pace: Pace, *videos: str, outcome: Outcome = Outcome.TOOL) -> None:
    for video_id in videos:
        pace.note(outcome, video_id)


def test_failures_over_the_fleet_pause_all_and_one_tries_a_video_that_worked(
    tmp_path: Path,
) -> None:
    world = SharedWorld()
    ranks = [a_pace(tmp_path, world) for _ in range(3)]
    ranks[0].note(Outcome.OK, "good")
    for index, rank in enumerate(ranks):
        assert rank.verdict().course is Course.GO
        fail(rank, f"bad{index}")
    courses = [rank.verdict() for rank in ranks]
    assert [one.course for one in courses] == [Course.PROBE, Course.PAUSE, Course.PAUSE]
    assert courses[0].video_id == "good"
    ranks[0].note(Outcome.OK, "good")
    assert [rank.verdict().course for rank in ranks] == [Course.GO] * 3


@pytest.mark.parametrize(
    ("outcome", "remedy"),
    [
        (Outcome.TOOL, "pip install -U"),
        (Outcome.FORBIDDEN, "another address"),
        (Outcome.COOKIES, "cookies anew"),
    ],
)
def test_if_that_fails_too_the_run_ends_with_3_and_the_remedy(
    tmp_path: Path, outcome: Outcome, remedy: str
) -> None:
    world = SharedWorld()
    mark = ["a" * 8]
    one = a_pace(tmp_path, world, mark=lambda: mark[0])
    two = a_pace(tmp_path, world, mark=lambda: mark[0])
    one.note(Outcome.OK, "good")
    fail(two, "a", "b", "c", outcome=outcome)
    assert one.ready() == "good"
    fail(one, "good", outcome=outcome)
    for rank in (one, two, a_pace(tmp_path, world, mark=lambda: mark[0])):
        with pytest.raises(LacksError, match=remedy) as no:
            rank.ready()
        assert no.value.exit_code == 3
    mark[0] = "b" * 8
    assert two.ready() is None, "an upgrade or new cookies clear it without a restart"


def test_without_a_video_that_worked_the_ledger_is_asked_and_then_it_is_broken(
    tmp_path: Path,
) -> None:
    world = SharedWorld()
    knows = a_pace(tmp_path, world, worked_before=lambda: "old-good")
    fail(knows, "a", "b", "c")
    assert knows.verdict().video_id == "old-good"
    nothing = a_pace(tmp_path / "other", world)
    fail(nothing, "a", "b", "c")
    assert nothing.verdict().course is Course.BROKEN


def test_a_prober_that_dies_is_replaced_and_one_that_lives_is_not(tmp_path: Path) -> None:
    world = SharedWorld()
    prober, other = a_pace(tmp_path, world), a_pace(tmp_path, world)
    prober.note(Outcome.OK, "good")
    fail(prober, "a", "b", "c")
    assert prober.verdict().course is Course.PROBE
    for _ in range(20):
        world.now += 5
        prober.tend()
        assert other.verdict().course is Course.PAUSE
    died = world.now
    while other.verdict().course is Course.PAUSE:
        world.now += 3
    assert world.now - died <= 30


def test_a_verdict_of_broken_is_looked_at_again_after_an_hour(tmp_path: Path) -> None:
    world = SharedWorld()
    pace = a_pace(tmp_path, world)
    pace.note(Outcome.OK, "good")
    fail(pace, "a", "b", "c")
    fail(pace, pace.verdict().video_id)
    assert pace.verdict().course is Course.BROKEN
    world.now += HOUR + 1
    assert pace.verdict().course is Course.PROBE


def test_a_healthy_fleet_writes_next_to_nothing(tmp_path: Path) -> None:
    world = SharedWorld()
    pace = a_pace(tmp_path, world)
    for index in range(300):
        pace.note(Outcome.OK, f"v{index}")
        world.now += 13
    assert len(list(pace.folder.path.iterdir())) <= 4


def test_the_proxy_that_is_free_soonest_goes(tmp_path: Path) -> None:
    world = SharedWorld()
    ways = [(f"http://p{i}", a_pace(tmp_path, world, egress=f"lab-{i}")) for i in range(3)]
    rotation = Rotation(ways)
    used = [rotation.take().proxy for _ in range(6)]
    assert sorted(set(used), key=str) == ["http://p0", "http://p1", "http://p2"]
    ways[0][1].throttled()
    ways[1][1].throttled(30)
    assert {rotation.take().proxy for _ in range(5)} == {"http://p2"}
    ways[2][1].throttled(20 * 60)
    assert rotation.take().proxy == "http://p1", "half a minute is waited for"
    ways[1][1].throttled(2 * HOUR)
    with pytest.raises(TryLaterError, match="lab-2"):
        rotation.take()


def test_a_rotation_hands_out_the_trial_of_its_proxy(tmp_path: Path) -> None:
    world = SharedWorld()
    pace = a_pace(tmp_path, world)
    rotation = Rotation([(None, pace)])
    pace.note(Outcome.OK, "good")
    fail(pace, "a", "b", "c")
    assert rotation.take().probe == "good"
    fail(pace, "good")
    with pytest.raises(LacksError, match="pip install -U"):
        rotation.take()


@pytest.mark.parametrize(
    ("number", "kind", "words"),
    [
        (errno.EROFS, UsageError, "[pace] dir"),
        (errno.EACCES, UsageError, "write access"),
        (errno.ENOSPC, TryLaterError, "make room"),
        (errno.EDQUOT, TryLaterError, "files count"),
        (errno.EIO, LacksError, "check that file system"),
    ],
)
def test_what_the_file_system_refuses_is_one_clear_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, kind: type, words: str
) -> None:
    def refuse(*_: Any) -> int:
        raise OSError(number, os.strerror(number))

    pace = a_pace(tmp_path, SharedWorld())
    pace.take()
    monkeypatch.setattr("trackverse_cli.pace.folder.os.open", refuse)
    with pytest.raises(kind, match=re.escape(words)) as no:
        pace.take()
    assert str(tmp_path) in str(no.value)
    assert "\n" not in str(no.value)


def test_a_file_where_the_folder_should_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "pace").write_text("")
    with pytest.raises(UsageError, match=r"\[pace\] dir"):
        a_pace(tmp_path / "pace", SharedWorld()).take()
