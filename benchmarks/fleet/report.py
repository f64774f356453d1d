"""Plays every setup at every size, asks `plan` the same, and prints it as tables."""

from __future__ import annotations

import argparse
import os
import platform
import resource
import tempfile
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from benchmarks.fleet import assumptions as known
from benchmarks.fleet.assumptions import PLAIN, TROUBLE, Setup, Trouble
from benchmarks.fleet.counts import Counts, Turns, clip_bytes, count, line_bytes
from benchmarks.fleet.parts import PARTS_HEAD, parts_row
from benchmarks.fleet.room import model_turns, real_turns
from benchmarks.fleet.simulation import Fleet
from benchmarks.fleet.world import MOST_TRACKS, SCALE, TAIL, make_world
from trackverse_cli import __version__
from trackverse_cli.pace import ACCOUNT_VIDEOS_PER_HOUR, GUEST_VIDEOS_PER_HOUR
from trackverse_cli.plan import Plan, PlanTerms, Rates, make_forecast

if TYPE_CHECKING:
    from benchmarks.fleet.world import World
    from trackverse_cli.plan import Survey

SETUPS: Final = (
    Setup("guest, 1 address", 1, GUEST_VIDEOS_PER_HOUR),
    Setup("account, 1 address", 1, ACCOUNT_VIDEOS_PER_HOUR, webdataset=False),
    Setup("guest, 16 proxies", 16, GUEST_VIDEOS_PER_HOUR),
    Setup("cutting, files", 0, GUEST_VIDEOS_PER_HOUR, webdataset=False),
    Setup("cutting, webdataset", 0, GUEST_VIDEOS_PER_HOUR),
)
DENSE_SCALE: Final = 17.0


@dataclass(frozen=True, slots=True)
class Played:
    """One setup, played.

    Attributes:
        fleet: as it ended.
        counts: what was counted.
        plan: what `plan` says beforehand.
        trouble: whether anything went wrong.
        wall_seconds: how long the play took here.
    """

    fleet: Fleet
    counts: Counts
    plan: Plan
    trouble: bool
    wall_seconds: float

    @property
    def ideal_hours(self) -> float:
        """The requests at the bare pace, all cores busy to the end, or the costliest rank."""
        fleet, setup = self.fleet, self.fleet.setup
        cpu = float(fleet.work.sum()) / setup.cores / setup.world_size
        of_ranks = np.bincount(fleet.of_ranks, fleet.work, setup.world_size)
        worst = float(of_ranks.max()) / setup.cores
        if self.trouble and setup.addresses:
            cpu = worst = 0.0  # what is gone is not cut
        pace = 0.0
        if setup.addresses:
            turns = -(-fleet.world.videos // setup.addresses) - 1
            pace = turns * fleet.addresses[0].terms.rate.interval_seconds
        return max(cpu, float(worst), pace) / 3600

    @property
    def plan_ratio(self) -> float:
        """What `plan` says against what was played."""
        return self.plan.times.makespan_hours / self.counts.last_clip_hours


def planned(world: World, found: Survey, setup: Setup, trouble: Trouble = PLAIN) -> Plan:
    """Return what `plan` says of the same videos, told the same troubles."""
    terms = PlanTerms(
        egresses=tuple(f"default-{number}" for number in range(max(1, setup.addresses))),
        videos_per_hour=setup.videos_per_hour,
        jitter=setup.jitter,
        world_size=setup.world_size,
        cores_per_rank=setup.cores,
        remove_videos=setup.remove_videos,
        trouble=trouble.told(),
    )
    return make_forecast(found, world.costs, Rates(), terms, np.arange(world.videos))


def played(
    world: World, setup: Setup, plan: Plan, trouble: bool, seed: int, turns: Turns
) -> Played:
    """Play one setup."""
    begin = time.perf_counter()
    fleet = Fleet(world, setup, TROUBLE if trouble else PLAIN, seed)
    fleet.play()
    wall = time.perf_counter() - begin
    return Played(fleet, count(fleet, turns), plan, trouble, wall)


def hours(value: float) -> str:
    return f"{value:,.2f} h" if value < 72 else f"{value / 24:,.1f} d"


TIME_HEAD: Final = (
    "setup", "trouble", "last clip", "ideal", "of ideal", "`plan`", "plan / played",
    "99.9 % of the clips", "plan / that", "all settled", "requests", "by address",
    "worst window", "closest two",
)  # fmt: skip
COST_HEAD: Final = (
    "setup", "trouble", "ledger", "calls by pace, clips, videos, leases, rest", "calls a second",
    "peak", "ranks busy", "runs (ended by)", "submits", "down", "address idle", "cut again",
    "shards",
)  # fmt: skip


def head(words: tuple[str, ...]) -> None:
    print("\n| " + " | ".join(words) + " |")
    print("|" + " --- |" * len(words))


def time_row(one: Played) -> str:
    counts, setup = one.counts, one.fleet.setup
    asked = f"{counts.worst_window:.3f} | {counts.closest:.3f}" if setup.addresses else "- | -"
    return (
        f"| {setup.name} | {'yes' if one.trouble else 'no'} | **{hours(counts.last_clip_hours)}** "
        f"| {hours(one.ideal_hours)} | {counts.last_clip_hours / one.ideal_hours:.3f} "
        f"| {hours(one.plan.times.makespan_hours)} | **{one.plan_ratio:.3f}** "
        f"| {hours(counts.most_hours)} "
        f"| {one.plan.times.makespan_hours / counts.most_hours:.3f} "
        f"| {hours(counts.settled_hours)} | {counts.requests:,} | {counts.busiest:,} | {asked} |"
    )


def cost_row(one: Played) -> str:
    counts, setup, tally = one.counts, one.fleet.setup, one.fleet.tally
    span = counts.last_clip_hours * 3600 * setup.world_size
    cut = float(one.fleet.work[np.frombuffer(one.fleet.state, np.uint8) == 1].sum()) / setup.cores
    own = dict(counts.calls)
    main = [own.pop(name) for name in ("pace", "clips", "videos", "leases")]
    calls = ", ".join(f"{number / 1e6:,.1f}" for number in (*main, sum(own.values())))
    ends = ", ".join(f"{why} {n}" for why, n in sorted(tally.ends.items()) if why != "nothing left")
    return (
        f"| {setup.name} | {'yes' if one.trouble else 'no'} "
        f"| {counts.lines:,} lines, {counts.ledger_bytes / 1e6:,.0f} MB | {calls} M "
        f"| {counts.calls_a_second:,.0f} | {counts.peak_a_second:,.0f}, "
        f"{counts.peak_changes:,.0f} of them change "
        f"| {cut / span:.1%} cutting, {tally.downloading / span:.1%} downloading "
        f"| {tally.lines['run']:,} ({ends or 'none'}) | {len(tally.submits)} "
        f"| {tally.down / setup.world_size / 3600:,.1f} h a rank | {counts.idle_hours:,.1f} h "
        f"| {tally.cut_again / 3600:,.2f} rank hours | {tally.shards:,} |"
    )


def size_section(
    title: str, world: World, setups: tuple[Setup, ...], seed: int, turns: Turns
) -> None:
    print(f"\n## {title}\n")
    print(
        f"{world.videos:,} videos, {world.tracks.mean():.1f} tracks each; a video is "
        f"{world.length.mean():.0f} s long, its tracks cover {world.decoded.mean():.0f} s and are "
        f"{world.encoded.mean():.0f} s together."
    )
    rows = []
    plans: dict[tuple[int, float, bool], Plan] = {}
    for setup in setups:
        for trouble in (False, True):
            key = (setup.addresses, setup.videos_per_hour, trouble)
            if key not in plans:
                wrong = TROUBLE if trouble else PLAIN
                plans[key] = planned(world, world.survey(not setup.addresses), setup, wrong)
            one = played(world, setup, plans[key], trouble, seed, turns)
            rows.append((time_row(one), parts_row(one), cost_row(one)))
    for place, words in enumerate((TIME_HEAD, PARTS_HEAD, COST_HEAD)):
        head(words)
        for row in rows:
            print(row[place])


def room_section(seed: int) -> Turns:
    """Hold the model of turns against the real room; return what a turn costs there."""
    print("\n## The model of turns against the real room\n")
    head(("ranks", "pace", "turns", "mean turn, real", "model", "mean wait, real", "model",
          "closest two, real", "calls a turn"))  # fmt: skip
    costs = []
    for ranks, requests, pace in ((8, 300, 280.0), (8, 300, 1000.0), (32, 120, 280.0)):
        with tempfile.TemporaryDirectory() as folder:
            real = real_turns(Path(folder), ranks, requests, pace, 20.0, seed)
        model = model_turns(ranks, requests, pace, 20.0, seed)
        print(
            f"| {ranks} | {pace:,.0f} | {requests} | {real.turn_seconds:.2f} s "
            f"| {model.turn_seconds:.2f} s | {real.wait_seconds:.1f} s "
            f"| {model.wait_seconds:.1f} s "
            f"| {real.closest:.3f} intervals | {real.operations:.0f} |"
        )
        costs.append(real.operations)
    return Turns(costs[0], (costs[2] - costs[0]) / 24)


def few_section(world: World, seed: int, turns: Turns) -> None:
    """Print what the guest's pace comes to with few ranks."""
    print("\n## The same with few ranks\n\nOne guest address, nothing goes wrong.")
    head(("ranks", "last clip", "`plan`", "plan / played", "videos an hour", "calls", "shards"))
    found = world.survey(on_disk=False)
    for ranks in (1, 2, 4, 16, 128):
        setup = replace(SETUPS[0], world_size=ranks)
        one = played(world, setup, planned(world, found, setup), False, seed, turns)
        counts, last = one.counts, one.counts.last_clip_hours
        print(
            f"| {ranks} | {hours(last)} | {hours(one.plan.times.makespan_hours)} "
            f"| {one.plan_ratio:.3f} | {counts.requests / last:.0f} "
            f"| {sum(counts.calls.values()) / 1e6:.1f} M | {one.fleet.tally.shards:,} |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fleet")
    parser.add_argument("--tracks", default="3780000,31900000")
    parser.add_argument("--ranks", type=int, default=128)
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    sizes = [int(size) for size in options.tracks.split(",")]
    begin = time.perf_counter()
    print(
        f"{datetime.now(UTC):%Y-%m-%d}, trackverse {__version__}, Python "
        f"{platform.python_version()}, numpy {version('numpy')}, {os.cpu_count()} cores; "
        f"{options.ranks} ranks of 10 cores, seed {options.seed}; tracks a video "
        f"1 + floor({SCALE:.0f} Pareto({TAIL})), at most {MOST_TRACKS:,}"
    )
    turns = room_section(options.seed)
    sizes_of = {kind: round(size) for kind, size in line_bytes().items()}
    print(f"\nBytes of a ledger line: {sizes_of}, and {clip_bytes():.0f} for each clip.")
    setups = tuple(replace(setup, world_size=options.ranks) for setup in SETUPS)
    for tracks in sizes:
        world = make_world(tracks, options.seed)
        size_section(f"{tracks:,} tracks", world, setups, options.seed, turns)
    title = f"{sizes[0]:,} tracks on fewer videos (scale {DENSE_SCALE:.0f})"
    few_section(make_world(sizes[0], options.seed), options.seed, turns)
    size_section(
        title, make_world(sizes[0], options.seed, DENSE_SCALE), setups[:1], options.seed, turns
    )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"\nPlayed in {time.perf_counter() - begin:.0f} s, {peak:.1f} GiB at most.")
    print(f"\nAssumed: {known.TROUBLE}")


if __name__ == "__main__":
    main()
