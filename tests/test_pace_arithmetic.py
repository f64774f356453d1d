"""The pure parts of pace: distances, cool-downs, diagnoses, names, and what a fleet can be fed."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trackverse_cli.errors import ConfigError
from trackverse_cli.pace import (
    Outcome,
    account_tag,
    allowed_requests,
    checked_egress,
    egress_names,
    feeding_sentence,
    hours_for,
    mark_of,
    ranks_fed,
    rate_of,
    time_text,
)
from trackverse_cli.pace.board import new_owner, read_board, ripe_name, turn_name
from trackverse_cli.pace.cooldown import Event, fold, retry_after_ms
from trackverse_cli.pace.diagnosis import RECHECK_SECONDS, Note, diagnose
from trackverse_cli.pace.fleet import SECONDS_TO_BRING
from trackverse_cli.pace.names import folder_name

HOUR = 3_600_000
rates = st.floats(min_value=1.0, max_value=1e6)


@given(rates, st.floats(0, 1), st.integers(0, 10**9), st.integers(0, 64))
def test_jitter_only_ever_stretches_a_distance(
    rate: float, jitter: float, turn: int, share: int
) -> None:
    plan = rate_of(rate, jitter, share)
    distance = plan.spacing_seconds(turn)
    assert plan.interval_seconds == pytest.approx(3600 / rate * max(1, share))
    assert distance >= plan.interval_seconds
    assert distance <= plan.interval_seconds * (1 + jitter) + plan.margin_seconds + 1e-9
    wider = plan.widened(2 * plan.interval_seconds)
    assert wider.spacing_seconds(turn) >= 2 * plan.interval_seconds


@given(rates, st.integers(1, 200), st.floats(0, 1))
def test_no_window_of_turns_at_that_distance_holds_more_than_allowed(
    rate: float, count: int, jitter: float
) -> None:
    plan = rate_of(rate, jitter)
    at = [0.0]
    for turn in range(count):
        at.append(at[-1] + plan.spacing_seconds(turn))
    for first in (0, count // 2):
        assert count - first + 1 <= allowed_requests(at[-1] - at[first], plan.interval_seconds)


def throttle(at_ms: int, retry_ms: int = 0) -> Event:
    return Event(at_ms, True, retry_ms, HOUR, 8 * HOUR, "x")


def answer(at_ms: int) -> Event:
    return Event(at_ms, False, 0, HOUR, 8 * HOUR, "y")


def test_a_cool_down_doubles_up_to_its_limit() -> None:
    events, lengths = [], []
    at = 10 * HOUR
    for _ in range(6):
        events.append(throttle(at))
        state = fold(events)
        lengths.append(state.length_ms // HOUR)
        at = state.until_ms + 1
    assert lengths == [1, 2, 4, 8, 8, 8]


def test_throttles_of_one_storm_count_once() -> None:
    storm = [throttle(10 * HOUR + delay) for delay in range(0, 60_000, 1000)]
    assert fold(storm).until_ms == 11 * HOUR
    assert fold(storm).level == 1


def test_the_longest_of_a_storm_wins() -> None:
    storm = [throttle(10 * HOUR, 5_000), throttle(10 * HOUR + 1, 7 * HOUR), throttle(10 * HOUR + 2)]
    assert fold(storm).until_ms == 17 * HOUR + 1


def test_retry_after_is_obeyed_also_where_it_is_short() -> None:
    assert fold([throttle(10 * HOUR, 2_000)]).length_ms == 2_000
    assert fold([throttle(10 * HOUR, 20 * HOUR)]).length_ms == 20 * HOUR


@pytest.mark.parametrize("nonsense", [None, 0.0, -5.0, math.nan])
def test_a_senseless_retry_after_is_none(nonsense: float | None) -> None:
    assert retry_after_ms(nonsense) == 0


def test_a_week_is_the_longest_that_a_host_may_ask_for() -> None:
    assert retry_after_ms(1e12) == retry_after_ms(math.inf) == 7 * 24 * HOUR


def test_answers_take_the_doubling_back_one_by_one() -> None:
    events = [throttle(10 * HOUR), throttle(11 * HOUR + 1)]
    end = fold(events).until_ms
    events.append(answer(end + 1))
    assert fold(events).level == 2, "too soon after the end"
    events += [answer(end + HOUR), answer(end + HOUR + 1)]
    assert fold(events).level == 1, "once an hour"
    events.append(answer(end + 2 * HOUR))
    assert fold(events).level == 0
    events.append(throttle(end + 2 * HOUR + 1))
    assert fold(events).length_ms == HOUR


def test_a_throttle_long_after_the_last_starts_anew() -> None:
    assert fold([throttle(10 * HOUR), throttle(11 * HOUR + 8 * HOUR)]).length_ms == HOUR


@given(st.lists(st.tuples(st.integers(0, 100 * HOUR), st.booleans(), st.integers(0, 9 * HOUR))))
def test_no_event_ever_shortens_a_cool_down(raw: list[tuple[int, bool, int]]) -> None:
    events = [
        throttle(at, retry) if throttled else answer(at) for at, throttled, retry in sorted(raw)
    ]
    until = 0
    for count in range(1, len(events) + 1):
        state = fold(events[:count])
        assert state.until_ms >= until
        assert 0 <= state.level <= count
        until = state.until_ms


def notes(*kinds: str, mark: str = "a" * 8) -> list[Note]:
    return [Note(order, kind, mark, f"v{order}", None) for order, kind in enumerate(kinds, 1)]


def test_failures_in_a_row_of_different_videos_are_suspect() -> None:
    assert not diagnose(notes("ok", "tool", "tool"), "a" * 8, 0, 3).suspect
    found = diagnose(notes("ok", "tool", "forbidden", "tool"), "a" * 8, 0, 3)
    assert (found.suspect, found.kind, found.failed, found.worked) == (True, "tool", 3, ("v1",))


def test_one_video_that_fails_again_and_again_is_its_own_fault() -> None:
    same = [Note(order, "tool", "a" * 8, "v", None) for order in range(9)]
    assert not diagnose(same, "a" * 8, 0, 3).suspect


def test_a_success_ends_the_row() -> None:
    assert not diagnose(notes("tool", "tool", "ok", "tool"), "a" * 8, 0, 3).suspect


def test_other_tools_and_cookies_say_nothing_about_these() -> None:
    assert not diagnose(notes("tool", "tool", "tool"), "b" * 8, 0, 3).suspect


def test_broken_lasts_until_the_tool_changes_or_an_hour_has_passed() -> None:
    seen = [*notes("ok", "tool", "tool", "tool"), Note(9, "cookies", "a" * 8, "v1", 1000)]
    assert diagnose(seen, "a" * 8, 2000, 3).broken == "cookies"
    assert diagnose(seen, "b" * 8, 2000, 3).broken is None
    later = diagnose(seen, "a" * 8, round(1000 + RECHECK_SECONDS * 1000), 3)
    assert (later.broken, later.suspect) == (None, True)
    assert diagnose([*seen, Note(10, "ok", "a" * 8, "w", None)], "a" * 8, 2000, 3).broken is None


def test_what_stands_in_a_folder_is_read_back() -> None:
    owner = new_owner()
    event = Event(5, True, 6, 7, 8)
    board = read_board(
        [
            turn_name(7),
            turn_name(3),
            ripe_name(7, 12_857),
            f"q{2:012d}.12857.{owner}.4",
            f"q{1:012d}.1.{owner}.1",
            event.name_of(owner),
            f"h{1:012d}.tool.{'a' * 8}.abc-_123XYZ.{owner}",
            f"b{2:012d}.tool.{'a' * 8}.abc-_123XYZ.99",
            f"x{2:012d}.{'a' * 8}.1",
            f"y{2:012d}.{'a' * 8}.1.3",
        ]
    )
    assert board.turns == (3, 7)
    assert board.last == 7
    assert board.ripe_ms == ((7, 12_857),)
    assert [ticket.order for ticket in board.tickets] == [1, 2]
    assert board.tickets[1].name == f"q{2:012d}.12857.{owner}.4"
    assert [(e.at_ms, e.throttled, e.retry_ms, e.start_ms, e.most_ms) for e in board.events] == [
        (5, True, 6, 7, 8)
    ]
    assert [(n.kind, n.video_id, n.broken_ms) for n in board.notes] == [
        ("tool", "abc-_123XYZ", None),
        ("tool", "abc-_123XYZ", 99),
    ]
    assert max(probe.beat for probe in board.probes) == 3


@given(st.lists(st.text()))
def test_names_of_no_known_form_are_passed_over(names: list[str]) -> None:
    read_board(names)


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../x", "/etc", "a/b", "a\\b", "a.b", "-x", "a\0", "a\n", "é", "a" * 65]
)
def test_a_hostile_egress_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=r"\[pace\] egress"):
        checked_egress(name)


@given(st.text(), st.text())
def test_an_egress_and_an_account_never_lead_out_of_the_folder(egress: str, account: str) -> None:
    try:
        name = folder_name(egress, account)
    except ConfigError:
        return
    assert Path(name).name == name
    assert not name.startswith(".")


COOKIE = ".youtube.com\tTRUE\t/\tTRUE\t1800000000\tSAPISID\tsecret-value\n"


def test_copies_of_one_login_are_one_account(tmp_path: Path) -> None:
    one, two, guest = tmp_path / "a.txt", tmp_path / "b.txt", tmp_path / "c.txt"
    one.write_text(COOKIE)
    two.write_text("# Netscape HTTP Cookie File\n" + COOKIE)
    guest.write_text("")
    assert account_tag(one) == account_tag(two) != account_tag(guest)
    assert "secret" not in account_tag(one)
    assert folder_name("default", account_tag(one)) != folder_name("default")


def test_an_unreadable_cookie_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"gone\.txt"):
        account_tag(tmp_path / "gone.txt")


def test_the_mark_changes_with_the_version_and_the_cookies(tmp_path: Path) -> None:
    cookies = tmp_path / "c.txt"
    cookies.write_text(COOKIE)
    before = mark_of("2026.10.26", cookies)
    assert before != mark_of("2026.11.01", cookies)
    cookies.write_text(COOKIE * 2)
    assert mark_of("2026.10.26", cookies) != before
    cookies.unlink()
    assert len(mark_of("2026.10.26", cookies)) == 8


@given(st.integers(0, 10**7), rates, st.integers(1, 50))
def test_hours_shrink_with_addresses(requests: int, rate: float, addresses: int) -> None:
    assert hours_for(requests, rate, addresses) * addresses == pytest.approx(requests / rate)


@given(rates, st.floats(0, 1e4), st.integers(1, 256))
def test_the_ranks_fed_are_just_enough(rate: float, work: float, cores: int) -> None:
    ranks = ranks_fed(rate, work, cores)
    busy = rate * work / 3600
    assert ranks >= 1
    assert ranks * cores >= busy * (1 - 1e-9)
    bringing = rate * SECONDS_TO_BRING / 3600
    assert ranks >= bringing * (1 - 1e-9)
    assert ranks == 1 or (ranks - 1) * cores < busy or ranks - 1 < bringing


def test_the_sentence_says_who_would_wait() -> None:
    assert feeding_sentence(300, 45, 10, 128) == (
        "300 videos an hour keep at most 4 cores busy: "
        "2 ranks are enough, the other 126 of 128 would wait"
    )
    assert feeding_sentence(2000, 45, 10, 9).endswith("enough for all 9 ranks")
    assert feeding_sentence(10, 45, 1, 1).endswith("1 core busy: enough for the rank")


def test_durations_read_well() -> None:
    assert [time_text(s) for s in (0, 40, 91, 3600, 11_000)] == [
        "1 s",
        "40 s",
        "2 min",
        "60 min",
        "3 h 4 min",
    ]


def test_each_proxy_is_an_egress_of_its_own() -> None:
    assert egress_names("lab", 0) == egress_names("lab", 1) == ["lab"]
    assert egress_names("lab", 3) == ["lab-0", "lab-1", "lab-2"]


def test_outcomes_fit_into_names() -> None:
    assert all(outcome.isalpha() and outcome.islower() for outcome in Outcome)
