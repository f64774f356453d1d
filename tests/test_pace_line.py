"""The line of turns, simulated: many hosts with clocks of their own, in no real time."""

from __future__ import annotations

import heapq
import random
import shutil
import tempfile
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trackverse_cli.errors import LacksError
from trackverse_cli.pace import Grant, Rate, rate_of
from trackverse_cli.pace.board import read_board
from trackverse_cli.pace.folder import Folder
from trackverse_cli.pace.line import KEPT_TURNS, Line
from trackverse_cli.pace.waiter import Waiter


class World:
    """The true time, which no host sees."""

    now = 0.0


class HostClock:
    """A host's clock: a start of its own, and wrong by as much as you like."""

    def __init__(self, world: World, offset: float) -> None:
        self.world = world
        self.offset = offset

    def time(self) -> float:
        return self.world.now + self.offset

    def monotonic(self) -> float:
        return self.world.now + self.offset

    def sleep(self, seconds: float) -> None:
        self.world.now += seconds


class Host:
    """One process that asks again and again."""

    def __init__(self, world: World, folder: Path, rate: Rate, offset: float, work: float) -> None:
        self.world = world
        self.line = Line(Folder(folder), rate, HostClock(world, offset))
        self.work = work
        self.waiter: Waiter | None = None
        self.grants: list[float] = []
        self.waits: list[float] = []

    def step(self) -> float:
        """Do what a process does when it wakes; return how long it sleeps then."""
        self.line.ripen()
        if self.waiter is None:
            self.waiter = Waiter(self.line)
        turn = self.waiter.step(self.waiter.look())
        if not isinstance(turn, Grant):
            return turn
        self.grants.append(self.world.now)
        self.waits.append(turn.waited_seconds)
        self.waiter.leave()
        self.waiter = None
        return self.work


def simulate(
    hosts: list[Host],
    seconds: float,
    lateness: float = 0.0,
    killed: dict[int, float] | None = None,
    seed: int = 0,
) -> list[float]:
    """Let the hosts run, each waking up to `lateness` late; return the times of all turns."""
    chance = random.Random(seed)
    world = hosts[0].world
    start = world.now
    queue = [(start + chance.random() * 0.01, index) for index in range(len(hosts))]
    heapq.heapify(queue)
    while queue and queue[0][0] < start + seconds:
        at, index = heapq.heappop(queue)
        world.now = max(world.now, at)
        if killed and world.now >= killed.get(index, float("inf")):
            continue
        sleep = hosts[index].step()
        heapq.heappush(queue, (world.now + max(sleep, 1e-4) + chance.random() * lateness, index))
    return sorted(at for host in hosts for at in host.grants)


def hosts_at(folder: Path, rates: list[float], work: float = 0.0) -> list[Host]:
    world = World()
    return [
        Host(world, folder, rate_of(rate, 0.1), offset=1e5 * index, work=work)
        for index, rate in enumerate(rates)
    ]


def assert_spaced(times: list[float], interval: float) -> None:
    assert all(b - a >= interval for a, b in pairwise(times))


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 6), st.floats(0, 3), st.floats(0, 60), st.integers(0, 100))
def test_no_two_turns_are_closer_than_the_interval(
    count: int, lateness: float, work: float, seed: int
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        hosts = hosts_at(Path(folder), [280.0] * count, work)
        times = simulate(hosts, 400, lateness, seed=seed)
    assert len(times) >= 2
    assert_spaced(times, 3600 / 280)


def test_a_long_line_is_served_first_come_first_and_in_full(tmp_path: Path) -> None:
    hosts = hosts_at(tmp_path, [280.0] * 32)
    times = simulate(hosts, 900, lateness=0.1)
    assert len(times) >= 0.9 * 70
    counts = [len(host.grants) for host in hosts]
    assert max(counts) - min(counts) <= 1


def test_the_pace_is_kept_up_by_ranks_that_work_in_between(tmp_path: Path) -> None:
    """Three ranks that are busy for 36 s each just reach the pace: none waits without need."""
    hosts = hosts_at(tmp_path, [280.0] * 3, work=36.0)
    world = hosts[0].world

    def ripen_meanwhile() -> None:
        for host in hosts:
            host.line.ripen()

    queue = [(0.0, index) for index in range(3)]
    heapq.heapify(queue)
    while queue[0][0] < 3600:
        at, index = heapq.heappop(queue)
        while world.now < at:
            world.now = min(at, world.now + 1.0)
            ripen_meanwhile()
        heapq.heappush(queue, (world.now + max(hosts[index].step(), 1e-3), index))
    times = sorted(at for host in hosts for at in host.grants)
    assert_spaced(times, 3600 / 280)
    assert len(times) >= 0.85 * 3 * 3600 / (36 + 14)


def test_the_dead_in_front_hold_nobody_up(tmp_path: Path) -> None:
    hosts = hosts_at(tmp_path, [280.0] * 40)
    times = simulate(hosts, 900, killed=dict.fromkeys(range(1, 39), 60.0))
    assert_spaced(times, 3600 / 280)
    assert max(b - a for a, b in pairwise(times)) <= 1.1 * 3600 / 280 + 30
    assert len(hosts[39].grants) >= 20
    assert len(read_board(Folder(tmp_path).names()).tickets) <= 2


def test_a_dead_one_in_front_costs_moments_also_when_the_turn_is_known_to_be_over(
    tmp_path: Path,
) -> None:
    taker, dead, waiting = hosts_at(tmp_path, [280.0] * 3)
    while not taker.grants:
        taker.world.now += taker.step()
    Waiter(dead.line).look()
    while not waiting.grants:
        taker.line.ripen()
        taker.world.now += min(0.25, waiting.step())
    assert waiting.grants[0] - taker.grants[0] <= 1.1 * 3600 / 280 + 2


def test_a_new_process_waits_out_what_it_did_not_see(tmp_path: Path) -> None:
    first, second = hosts_at(tmp_path, [280.0] * 2)
    simulate([first], 15, killed={0: 14.9})
    assert len(first.grants) == 1
    times = simulate([second], 30)
    assert times[0] - first.grants[0] >= 3600 / 280


def test_the_wider_distance_wins_while_its_owner_waits(tmp_path: Path) -> None:
    hosts = hosts_at(tmp_path, [3600.0, 360.0])
    times = simulate(hosts, 300, lateness=0.01)
    slow = hosts[1].grants
    assert len(slow) >= 13, "every other turn is the slow one's"
    assert_spaced(times, 1.0)
    for at in slow:
        before = [other for other in times if other < at]
        assert not before or at - before[-1] >= 10.0


def test_a_folder_deleted_under_way_is_made_anew_and_the_distance_kept(tmp_path: Path) -> None:
    folder = tmp_path / "egress"
    hosts = hosts_at(folder, [280.0] * 4)
    before = simulate(hosts, 100)
    shutil.rmtree(folder)
    times = simulate(hosts, 100)
    assert_spaced(times, 3600 / 280)
    assert len(times) >= len(before) + 6


def test_old_turns_are_tidied_up_but_not_so_many_that_one_is_taken_twice(tmp_path: Path) -> None:
    hosts = hosts_at(tmp_path, [36_000.0] * 2)
    times = simulate(hosts, 60)
    assert len(times) > 1.8 * KEPT_TURNS
    board = read_board(Folder(tmp_path).names())
    assert KEPT_TURNS <= len(board.turns) <= KEPT_TURNS + 64
    assert len(board.ripe_ms) <= 70
    assert board.last >= len(times)


def test_a_cached_listing_makes_nobody_take_a_turn_too_early(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network file system may show a folder as it was; what was seen since still counts."""
    fresh, stale = hosts_at(tmp_path, [280.0] * 2)
    names: list[str] = []
    live = stale.line.folder.names

    def cached() -> list[str]:
        if int(stale.world.now) % 60 == 0 or not names:
            names[:] = live()
        return list(names)

    monkeypatch.setattr(stale.line.folder, "names", cached)
    times = simulate([fresh, stale], 900)
    assert_spaced(times, 3600 / 280)
    assert stale.grants


def test_a_turn_that_took_too_long_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (host,) = hosts_at(tmp_path, [280.0])
    create = host.line.folder.create

    def slow(name: str) -> bool:
        if name.startswith("s"):
            host.world.now += 1.0
        return create(name)

    monkeypatch.setattr(host.line.folder, "create", slow)
    with pytest.raises(LacksError, match=r"1\.00 s to create an empty file.*\[pace\] dir"):
        simulate([host], 3600)
    assert not host.grants
