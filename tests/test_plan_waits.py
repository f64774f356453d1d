"""What troubles add to a plan: each part by its own arithmetic, and who says what goes wrong."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.test_plan import columns, planned
from trackverse_cli.config import load_config
from trackverse_cli.ledger import Ledger
from trackverse_cli.plan import Rates, Trouble, terms_of
from trackverse_cli.plan.stops import runs_of, throttling_of
from trackverse_cli.plan.trouble import NOTHING, USUAL, Given
from trackverse_cli.plan.unlucky import Lot, mean_of_latest
from trackverse_cli.plan.waits import Fleet, line_waits, own_waits, repeated_share, until_turn

if TYPE_CHECKING:
    from pathlib import Path

    from tests.project import Project

SLURM = replace(USUAL, limit=24.0 - 120 / 3600, requeues=20, requeue_delay=1.0)
FLEET = Fleet(addresses=1, ranks=128, fed=2, pace=265.0)


def test_the_last_of_many_waits_is_the_sum_of_shares() -> None:
    lot = Lot(math.inf, 2.0, 0.0, 0.0, math.inf)
    expected = 5.0 + 2.0 * sum(1 / n for n in range(1, 11))
    assert mean_of_latest(np.full(10, 5.0), lot) == pytest.approx(expected, rel=0.01)
    assert mean_of_latest(np.array([5.0]), lot) == pytest.approx(7.0, rel=0.01)
    assert mean_of_latest(np.zeros(3), lot) == 0.0


def test_each_time_limit_is_a_wait_more_and_so_is_a_lost_node() -> None:
    lot = Lot(1.0, 0.5, 0.1, 0.0, math.inf)
    assert mean_of_latest(np.array([3.5]), lot) == pytest.approx(3.5 + 4 * 0.6, rel=0.01)
    many = Lot(1.0, 0.5, 0.0, 0.0, math.inf)
    assert mean_of_latest(np.array([500.0]), many) == pytest.approx(750.0, rel=0.01)
    lost = Lot(math.inf, 0.5, 0.0, 2.0, 10.0)
    share = 1 - math.exp(-0.5)
    assert mean_of_latest(np.array([5.0]), lost) == pytest.approx(5.5 + share * 2.5, rel=0.02)


def test_a_turn_is_waited_for_until_the_next_of_them() -> None:
    assert until_turn(50.0, 0.0, 24.0) == 22.0
    assert until_turn(50.0, 100.0, 24.0) == 12.0
    # Just before a turn as likely as just after it.
    assert until_turn(48.0, 1.0, 24.0) == pytest.approx(12.0, abs=1.0)


def test_throttling_takes_its_cool_downs_from_the_time() -> None:
    once = replace(SLURM, throttled_every=99.0, throttled=1e-9, cool_down=1.0)
    found = throttling_of(once, 1)
    # One more in a hundred comes within the hour, and is twice as long.
    assert found.share == pytest.approx(0.01, rel=0.03)
    assert found.restarts == pytest.approx(1.0)
    longer = throttling_of(replace(once, throttled=1.0), 1)
    assert 1.3 < longer.share / found.share < 2.5
    assert throttling_of(once, 16).stops_an_hour < 1e-20
    assert throttling_of(NOTHING, 1) == throttling_of(once, 0)


def test_a_job_lasts_until_its_requeues_are_used_up() -> None:
    calm = replace(SLURM, throttled_every=math.inf, queue=0.0)
    runs = runs_of(calm, throttling_of(calm, 1))
    assert runs.job_hours == pytest.approx(21 * SLURM.limit)
    stopped = runs_of(SLURM, throttling_of(SLURM, 1))
    assert stopped.hours < SLURM.limit
    # Two ends in three are limits; a stop takes 1.28 of the 20 on the mean.
    assert 19 < stopped.job_hours / stopped.hours < 21
    assert math.isinf(runs_of(NOTHING, throttling_of(NOTHING, 1)).job_hours)


def test_who_is_not_queued_again_waits_for_a_turn_at_each_cool_down() -> None:
    by_hand = replace(USUAL, queue=0.0, node_every=math.inf, failing=0.0)
    waits = line_waits(by_hand, 1000.0, FLEET)
    assert waits.turns == pytest.approx(1000 / 73 * 12, rel=0.1)
    assert line_waits(replace(SLURM, failing=0.0), 300.0, FLEET).turns == 0


def test_what_fails_is_asked_for_again_and_what_is_unclear_a_day_later() -> None:
    assert repeated_share(replace(NOTHING, failing=0.2), 10.0, FLEET) == pytest.approx(0.25)
    late = replace(SLURM, failing=0.0, unclear=0.1)
    assert repeated_share(late, 24.0, FLEET) == 0
    assert repeated_share(late, 1e6, FLEET) == pytest.approx(0.1, rel=0.01)


@settings(deadline=None)
@given(st.floats(0, 5000), st.integers(1, 300), st.integers(1, 20))
def test_without_trouble_nobody_waits(hours: float, ranks: int, addresses: int) -> None:
    fleet = Fleet(addresses, ranks, min(ranks, 3), 100.0)
    calm = line_waits(NOTHING, hours, fleet)
    assert calm.hours == calm.restarts < 0.001
    assert own_waits(NOTHING, np.full(ranks, hours), fleet).hours < 0.001
    assert repeated_share(NOTHING, hours, fleet) == 0


@settings(deadline=None)
@given(
    hours=st.floats(0.01, 5000),
    ranks=st.integers(1, 300),
    addresses=st.integers(1, 20),
    limit=st.sampled_from([1.0, 24.0, math.inf]),
    requeues=st.integers(0, 30),
    every=st.floats(0.5, 1000),
    queue=st.floats(0, 10),
)
def test_waits_are_never_less_than_none(
    hours: float,
    ranks: int,
    addresses: int,
    limit: float,
    requeues: int,
    every: float,
    queue: float,
) -> None:
    trouble = replace(SLURM, limit=limit, requeues=requeues, throttled_every=every, queue=queue)
    fleet = Fleet(addresses, ranks, 3, 100.0)
    for waits in (
        line_waits(trouble, hours, fleet), own_waits(trouble, np.full(ranks, hours), fleet)
    ):  # fmt: skip
        parts = (waits.again, waits.cool_downs, waits.queue, waits.restarts, waits.turns)
        assert all(math.isfinite(part) and part >= -1e-3 for part in parts), parts
        assert sum(parts) == pytest.approx(waits.hours)
        assert waits.last <= waits.hours + 1e-9


def test_downloads_one_at_a_time_bound_what_few_ranks_bring() -> None:
    found = columns(1000)
    rates = Rates(video=50_000.0, line=100_000.0, page=10.0)
    plan = planned(found, rates, videos_per_hour=3600.0, world_size=4)
    assert plan.times.bound == "bringing"
    assert plan.times.makespan_hours == pytest.approx(1000 * 60 / 4 / 3600, rel=0.02)
    assert plan.times.ranks_fed == 60
    assert planned(found, rates, videos_per_hour=3600.0, world_size=90).times.bound == "pace"


def test_what_is_gone_is_not_cut() -> None:
    found = columns(1000, clips_each=50, seconds=20.0)
    terms = {"videos_per_hour": 100_000.0, "world_size": 4}
    whole = planned(found, **terms).times
    half = planned(found, trouble=Trouble(gone=0.5), **terms).times
    assert half.cpu_hours == pytest.approx(whole.cpu_hours / 2)


def test_the_share_that_came_so_far_counts_unless_the_user_says() -> None:
    found = columns(100, arrived=30, gone=10)
    assumed = planned(found, trouble=USUAL)
    assert assumed.terms.trouble.gone == 0.25
    assert assumed.terms.trouble.gone_source == "measured"
    given_share = replace(USUAL, gone=0.1, gone_source="given")
    assert planned(found, trouble=given_share).terms.trouble.gone == 0.1
    assert planned(columns(100, arrived=5), trouble=USUAL).terms.trouble.gone == USUAL.gone


def trouble(root: Path, given: Given | None = None, **environ: str) -> Trouble:
    told = {f"TRACKVERSE_{key}": value for key, value in environ.items()}
    config = load_config(None, {"dataset.root": root}, told)
    return terms_of(config, given=given or Given()).trouble


def test_the_executor_and_the_pace_say_what_they_know(tmp_path: Path) -> None:
    local = trouble(tmp_path)
    assert (local.requeues, local.queue, local.limit) == (0, 0.0, math.inf)
    assert local.throttled_every == USUAL.throttled_every
    slurm = trouble(tmp_path, SUBMIT__EXECUTOR="slurm")
    assert (slurm.requeues, slurm.requeue_delay) == (20, 1.0)
    assert slurm.limit == pytest.approx(24 - 120 / 3600)
    assert slurm.queue == USUAL.queue
    own = '{time = "2-00:00:00", max_requeues = 3, signal_seconds = 3600}'
    tmp_path.joinpath("trackverse.toml").write_text(f"[executor]\nslurm = {own}\n")
    found = trouble(tmp_path, SUBMIT__EXECUTOR="slurm", PACE__COOL_DOWN_SECONDS="7200")
    assert (found.limit, found.requeues, found.cool_down) == (47.0, 3, 2.0)
    host = trouble(tmp_path, DOWNLOAD__URL_TEMPLATE="http://127.0.0.1:1/{video_id}")
    assert (host.gone, host.failing, host.throttled_every) == (0.0, 0.0, math.inf)
    assert trouble(tmp_path, SUBMIT__EXECUTOR="nobody-has-this").requeues == 0


def test_what_is_given_wins(tmp_path: Path) -> None:
    said = Given(gone=0.01, failing=0.0, throttled_every=0.0, node_every=0.0, queue=3.0)
    found = trouble(tmp_path, said, SUBMIT__EXECUTOR="slurm")
    assert (found.gone, found.unclear, found.gone_source) == (0.01, 0.01, "given")
    assert (found.failing, found.queue) == (0.0, 3.0)
    assert math.isinf(found.throttled_every)
    assert math.isinf(found.node_every)


def told(project: Project, *words: str) -> dict[str, Any]:
    return project.run("plan", "--json", *words).exits(0).json


def test_a_person_sees_the_parts_and_what_they_are_reckoned_from(project: Project) -> None:
    for number in range(100):
        project.track(f"video-{number:05d}", 0.0, 5.0)
    project.fetch()
    project.env["TRACKVERSE_SUBMIT__EXECUTOR"] = "slurm"
    words = ("--world-size", "8", "--failing", "0.5", "--queue-hours", "2", "--submit-every", "12")
    out = project.run("plan", *words).exits(0)
    out.says(
        "asking again", "the queue", "waiting for the next submit", "50% of the requests fail",
        "2.0 h in the queue", "runs of 24.0 h, 20 requeues", "submit run again every 12.0 h",
        "a download gets 40 Mbit/s",
    )  # fmt: skip
    assert max(len(text) for text in out.out.splitlines()) <= 80
    found = told(project, *words)
    waits = found["waits"]
    assert 12 < waits["submit"] < 48
    assert found["hours"]["together"] == pytest.approx(
        found["hours"]["work"] + sum(waits.values()) - waits["of_the_last_videos"], abs=0.05
    )
    assert found["assumed"]["submit_every_hours"] == 12
    slow = told(project, "--line", "0.1", "--world-size", "1")
    assert slow["hours"]["bound"] == "bringing"
    assert slow["rates"]["line_bytes_per_second"] == 12_500
    project.run("plan", "--gone", "2").exits(2)
    project.run("plan", "--queue-hours", "inf").exits(2).says("inf is no number for --queue")
    project.run("plan", "--line", "inf").exits(2).says("give --line from 0.1")


def test_the_ledger_says_how_many_are_gone(project: Project) -> None:
    for number in range(40):
        project.track(f"video-{number:05d}", 0.0, 50.0)
    project.fetch()
    with Ledger(project.layout, "download-videos", 0, 1, "Tiny") as ledger:
        for number in range(30):
            if number % 3:
                ledger.video(f"video-{number:05d}", "present", bytes=10_000_000)
            else:
                ledger.video(f"video-{number:05d}", "failed", reason="permanent", message="gone")
    assumed = told(project)["assumed"]
    assert assumed["gone_share"] == pytest.approx(1 / 3, abs=0.001)
    assert assumed["gone_source"] == "measured"
    assert told(project, "--gone", "0.1")["assumed"]["gone_source"] == "given"
    project.run("plan").says("33% of the videos gone as so far")
