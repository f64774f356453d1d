"""The fleet on paper: nothing is lost or counted twice, and no pace is broken, in any mishap."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.fleet.assumptions import BEAT_CALLS, LEASE_CALLS, PLAIN, TROUBLE, Setup, Trouble
from benchmarks.fleet.counts import Turns, clip_bytes, count, line_bytes, worst_window
from benchmarks.fleet.report import SETUPS, Played, planned, played
from benchmarks.fleet.room import model_turns, real_turns
from benchmarks.fleet.simulation import DONE, Fleet
from benchmarks.fleet.world import World, make_world
from trackverse_cli.clock import SystemClock
from trackverse_cli.leases import Attempt, Leases, Watch
from trackverse_cli.leases.attempts import attempt_info
from trackverse_cli.ledger.entries import decode_line
from trackverse_cli.pace import rate_of

TRACKS = 40_000
HARD = replace(
    TROUBLE, transient=0.1, throttle_hours=12.0, node_hours=30.0, limit_seconds=2 * 3600.0
)
"""Far more mishaps than are to be expected."""


@pytest.fixture(scope="module")
def world() -> World:
    return make_world(TRACKS, 7)


def small(setup: Setup) -> Setup:
    return replace(setup, world_size=16)


@pytest.mark.parametrize("setup", SETUPS, ids=lambda one: one.name)
@pytest.mark.parametrize("trouble", [PLAIN, HARD], ids=["plain", "hard"])
@pytest.mark.parametrize("horizon", [20 * 3600.0, float("inf")], ids=["cut off", "to the end"])
def test_every_track_is_accounted_for_once(
    world: World, setup: Setup, trouble: Any, horizon: float
) -> None:
    fleet = Fleet(world, small(setup), trouble, 3, horizon)
    fleet.play()
    counts = count(fleet, Turns())
    assert counts.done + counts.gone + counts.left == TRACKS
    state = np.frombuffer(fleet.state, dtype=np.uint8)
    assert fleet.tally.lines["clips"] == np.count_nonzero(state == DONE)
    assert sum(fleet.asked) == counts.requests
    if horizon == float("inf"):
        assert counts.left == 0
        assert all(rank.ended and not rank.pending for rank in fleet.ranks)
    if setup.addresses and trouble is HARD:
        assert counts.gone > 0
        assert setup is not SETUPS[0] or {"node", "limit", "left"} <= set(fleet.tally.ends)
    else:
        assert counts.gone == 0


def test_the_same_seed_plays_the_same(world: World) -> None:
    def told(seed: int) -> tuple[bytes, Any]:
        fleet = Fleet(world, small(SETUPS[2]), HARD, seed)
        fleet.play()
        return bytes(fleet.settled), count(fleet, Turns())

    assert told(5) == told(5)
    assert told(5)[0] != told(6)[0]
    assert make_world(1000, 1).costs.tolist() == make_world(1000, 1).costs.tolist()
    assert int(make_world(1234, 2).tracks.sum()) == 1234


@pytest.mark.parametrize("setup", SETUPS[:3], ids=lambda one: one.name)
def test_no_window_holds_more_than_it_may(world: World, setup: Setup) -> None:
    fleet = Fleet(world, small(setup), HARD, 3)
    fleet.play()
    interval = rate_of(setup.videos_per_hour).interval_seconds
    for address in fleet.addresses:
        times = np.frombuffer(address.grants, dtype=np.float64)
        assert float(np.diff(times).min()) >= interval
        assert worst_window(times, interval) <= 1.0


def test_a_window_that_holds_more_is_seen() -> None:
    assert worst_window(np.arange(0, 1000.0, 10.0), 10.0) <= 1.0
    assert worst_window(np.arange(0, 1000.0, 9.0), 10.0) > 1.05


@pytest.mark.parametrize("setup", SETUPS, ids=lambda one: one.name)
def test_plan_says_the_same_where_nothing_goes_wrong(world: World, setup: Setup) -> None:
    own = replace(setup, world_size=64)
    plan = planned(world, world.survey(not setup.addresses), own)
    one = played(world, own, plan, trouble=False, seed=3, turns=Turns())
    assert one.plan_ratio == pytest.approx(1.0, abs=0.1)
    assert one.counts.last_clip_hours >= one.ideal_hours


@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_a_rank_that_brings_one_video_at_a_time_cannot_keep_the_pace_alone(
    world: World, ranks: int
) -> None:
    one = run(world, PLAIN, replace(SETUPS[0], world_size=ranks))
    assert one.plan_ratio == pytest.approx(1.0, abs=0.06)
    if ranks == 1:
        serial = one.fleet.tally.downloading / 3600
        assert one.counts.last_clip_hours >= serial > one.plan.times.pace_hours
        assert one.plan.times.bound == "bringing"


OFTEN = replace(
    TROUBLE,
    throttle_hours=6.0,
    throttle_minutes=10.0,
    limit_seconds=3 * 3600.0,
    max_requeues=3,
    submit_seconds=6 * 3600.0,
)
USED_UP = replace(
    TROUBLE,
    throttle_hours=float("inf"),
    limit_seconds=3600.0,
    max_requeues=2,
    submit_seconds=2 * 3600.0,
)
FAILING = replace(TROUBLE, throttle_hours=float("inf"), transient=0.15, submit_seconds=4 * 3600.0)
LOST = replace(TROUBLE, node_hours=3.0, limit_seconds=1200.0)


@pytest.mark.parametrize(
    ("setup", "cores", "trouble", "seeds", "part"),
    [
        (SETUPS[0], 10, OFTEN, 12, "cool_downs"),
        (SETUPS[0], 10, USED_UP, 4, "turns"),
        (SETUPS[1], 10, FAILING, 4, "last"),
        (SETUPS[3], 2, LOST, 60, "restarts"),
    ],
    ids=["throttled", "requeues used up", "failing", "nodes lost"],
)
def test_plan_says_the_same_on_the_mean_where_much_goes_wrong(
    world: World, setup: Setup, cores: int, trouble: Trouble, seeds: int, part: str
) -> None:
    """One play is luckier than another: the plan is held against the mean of some."""
    own = replace(setup, world_size=16, cores=cores)
    plan = planned(world, world.survey(not own.addresses), own, trouble)
    ends = []
    for seed in range(seeds):
        fleet = Fleet(world, own, trouble, 1000 + seed)
        fleet.play()
        done = np.frombuffer(fleet.state, dtype=np.uint8) == DONE
        ends.append(float(np.frombuffer(fleet.settled, dtype=np.float64)[done].max()) / 3600)
    mean = float(np.mean(ends))
    assert plan.times.makespan_hours == pytest.approx(mean, rel=0.12)
    # Without the part in question it would not be.
    assert getattr(plan.times.waits, part) > 0.05 * mean


def run(world: World, trouble: Any, setup: Setup) -> Played:
    fleet = Fleet(world, setup, trouble, 3)
    fleet.play()
    plan = planned(world, world.survey(not setup.addresses), setup)
    return Played(fleet, count(fleet, Turns()), plan, trouble=True, wall_seconds=0.0)


def test_restarts_lose_bounded_time(world: World) -> None:
    """A time limit costs a start, the queue, and the videos at hand: nothing grows with the run."""
    setup = replace(small(SETUPS[3]), world_size=1, cores=1)
    without = run(world, PLAIN, setup)
    limit = replace(PLAIN, limit_seconds=1800.0, queue_seconds=60.0)
    one = run(world, limit, setup)
    restarts = one.fleet.tally.ends["limit"]
    assert restarts >= 10
    longest = float(one.fleet.work.max())
    tally = one.fleet.tally
    assert tally.cut_again <= restarts * longest
    lost = (one.counts.last_clip_hours - without.counts.last_clip_hours) * 3600
    assert lost <= tally.down + tally.starting + tally.cut_again + longest


def test_a_lost_node_loses_at_most_the_shard_and_what_it_was_at(world: World) -> None:
    setup = replace(small(SETUPS[4]), world_size=1, cores=1)
    one = run(world, replace(PLAIN, node_hours=5.0), setup)
    nodes = one.fleet.tally.ends["node"]
    assert nodes >= 2
    longest = float(one.fleet.work.max())
    assert one.fleet.tally.cut_again <= nodes * (1800.0 + 3 * longest)


def test_a_throttle_stops_everybody_and_costs_little_more_than_its_length(world: World) -> None:
    trouble = replace(PLAIN, throttle_hours=3.0, throttle_minutes=5.0)
    one = run(world, trouble, small(SETUPS[0]))
    (address,) = one.fleet.addresses
    assert address.throttles >= 1
    gaps = np.diff(np.frombuffer(address.grants, dtype=np.float64))
    assert np.count_nonzero(gaps >= 3600.0) == address.throttles
    assert one.fleet.tally.ends["cool-down"] >= address.throttles


def test_the_model_of_turns_agrees_with_the_real_room(tmp_path: Path) -> None:
    real = real_turns(tmp_path, 4, 60, 280.0, 20.0, 1)
    model = model_turns(4, 60, 280.0, 20.0, 1)
    assert real.closest >= 1.0
    assert model.turn_seconds == pytest.approx(real.turn_seconds, rel=0.02)
    assert model.wait_seconds == pytest.approx(real.wait_seconds, rel=0.05)
    assert real.spread == model.spread


def test_calls_of_leases_are_what_the_real_ones_make(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = SystemClock()
    info = attempt_info("a" * 12, "download-tracks", 0, 1, "", clock)
    with Attempt(tmp_path / "runs", info, 1e6) as attempt:
        leases = Leases(tmp_path / "leases", attempt, Watch(tmp_path / "runs", clock))
        seen = {"create": 0, "open": 0, "unlink": 0}
        open_, unlink = os.open, Path.unlink

        def counted(path: Any, flags: int, *rest: Any) -> int:
            seen["create" if flags & os.O_CREAT else "open"] += 1
            return open_(path, flags, *rest)

        def removed(path: Path, *rest: Any) -> None:
            seen["unlink"] += 1
            unlink(path, *rest)

        with monkeypatch.context() as patch:
            patch.setattr(os, "open", counted)
            patch.setattr(Path, "unlink", removed)
            leases.take("cut-video")
            leases.release("cut-video")
            assert seen["create"] + seen["unlink"] == LEASE_CALLS.changes
            assert seen["open"] == LEASE_CALLS.looks
            before = sum(seen.values())
            attempt.beat()
            assert sum(seen.values()) - before == BEAT_CALLS.looks


def test_bytes_of_lines_are_those_of_the_real_encoder() -> None:
    sizes = line_bytes()
    assert sizes["clips"] < sizes["present"] < 1000
    assert 60 < clip_bytes() < 200
    assert decode_line(b'{"kind":"end","time":1.0}\n') is not None
