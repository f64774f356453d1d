"""From an audit and what was collected beside it to the page on disk."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from trackverse_cli.clock import Clock, SystemClock
from trackverse_cli.findings import Tally
from trackverse_cli.machine import usable_cores
from trackverse_cli.progress import progress
from trackverse_cli.recipe import recipe_id
from trackverse_cli.report.facts import Facts
from trackverse_cli.report.page import page
from trackverse_cli.report.sheets import Photographer
from trackverse_cli.report.target import write_page
from trackverse_cli.report.timeline import timeline
from trackverse_cli.worklist import State

if TYPE_CHECKING:
    from pathlib import Path

    from trackverse_cli.config import Config
    from trackverse_cli.findings import Audit
    from trackverse_cli.report.collect import Collector
    from trackverse_cli.report.sheets import Sheet


def write_report(
    target: Path,
    config: Config,
    found: Audit,
    collected: Collector,
    *,
    rank: int | None,
    command: str,
    note: str,
    clock: Clock | None = None,
) -> int:
    """Make the pictures and write the page; return its bytes.

    Args:
        target: what `report_target` returned.
        config: the configuration in force.
        found: the outcome of the audit.
        collected: what watched it.
        rank: the shard that was looked at, None for all.
        command: what to run next, or "".
        note: a sentence beside it.
        clock: what to take the time from.

    Raises:
        StorageFullError: nothing more fits.
        UsageError: the file cannot be written any more.
    """
    clock = clock or SystemClock()
    by_class, damaged = collected.sample.by_class(), collected.damaged()
    wanted = [*damaged, *(clip for clips in by_class.values() for clip in clips)]
    photographer = Photographer(config.layout, found.catalog, collected.ledger, clock)
    workers = config.settings.extract.workers or usable_cores()
    with progress("picturing", len(wanted), "clips", clock) as advance:
        made = photographer.sheets(wanted, workers, advance)
    # The page goes to other people: paths are told as from the dataset folder.
    prefix = f"{config.layout.root}/"
    made = {key: _without_root(sheet, prefix) for key, sheet in made.items()}
    shown = {
        label: [made[key] for clip in clips if (key := (clip.video_id, clip.track_id)) in made]
        for label, clips in by_class.items()
    }
    told = collected.verdicts
    facts = Facts(
        found=found,
        made=clock.time(),
        part=None if rank is None else (rank, found.world_size),
        command=command,
        note=note,
        shards={} if rank is not None else _shards(found, collected),
        video_reasons=collected.video_reasons,
        timeline=timeline(
            collected.clip_times, found.clips.expected,
            collected.video_times, found.videos.expected,
        ),
        by_class={label: sheets for label, sheets in shown.items() if sheets},
        damaged=[
            (made[key], (told[key].message or told[key].reason).replace(prefix, ""))
            for clip in damaged
            if (key := (clip.video_id, clip.track_id)) in made
        ],
        left_out=len(wanted) - len(made),
        recipe=recipe_id(config.settings),
        examples={
            reason: [one.replace(prefix, "") for one in some]
            for reason, some in found.examples.items()
        },
    )  # fmt: skip
    return write_page(target, page(facts))


def _without_root(sheet: Sheet, prefix: str) -> Sheet:
    """Return a sheet whose sentences name files as from the dataset folder."""
    short = (sheet.problem.replace(prefix, ""), sheet.source_problem.replace(prefix, ""))
    return replace(sheet, problem=short[0], source_problem=short[1])


def _shards(found: Audit, collected: Collector) -> dict[int, Tally]:
    """Return every shard with its clips; refused lines are rank 0's, as everywhere."""
    shards = {rank: collected.shards.get(rank, Tally()) for rank in range(collected.world_size)}
    shards[0].states[State.UNRECOVERABLE] += len(found.catalog.refused)
    return shards
