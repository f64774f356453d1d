"""Which ranks of a job are not done, and the command that each runs."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from loguru import logger

from trackverse_cli import plugins
from trackverse_cli.audit import audit, due_ranks
from trackverse_cli.catalog import FROZEN_VARIABLE, Catalog, open_catalog
from trackverse_cli.clock import Clock, SystemClock, utc_text
from trackverse_cli.fence import JOB_VARIABLE, work_key
from trackverse_cli.interfaces import ExecutorPlugin, Job
from trackverse_cli.jobs.busy import busy_ranks
from trackverse_cli.jobs.frozen import FILE_NAME
from trackverse_cli.markers import clear_markers
from trackverse_cli.probe import Level
from trackverse_cli.recipe import recipe_id
from trackverse_cli.shards import assign
from trackverse_cli.worklist import State

if TYPE_CHECKING:
    from trackverse_cli.config import Config
    from trackverse_cli.settings import Stage


@dataclass(frozen=True, slots=True)
class Plan:
    """What `submit` would start.

    Attributes:
        id: the job's id.
        key: what its ranks are asked for (`fence.work_key`).
        job: the job; its ranks are those that are not done and not at work already.
        plugin: the executor that would run it.
        stage: the command that each rank runs.
        catalog: what the job works on.
        rows: the videos that have something left to win, or are damaged, by row of the catalogue.
        clips: the clips that have not been won yet.
        due: rank -> (videos, clips) left to win, for each of the job's ranks.
        busy: rank -> the job in which it is at work already.
    """

    id: str
    key: str
    job: Job
    plugin: ExecutorPlugin
    stage: Stage
    catalog: Catalog
    rows: frozenset[int]
    clips: int
    due: dict[int, tuple[int, int]]
    busy: dict[int, str] = field(default_factory=dict)

    @property
    def work(self) -> tuple[int, str]:
        """How much there is to do, and of what: `clips`, or `videos` where none are cut."""
        clips = sum(clips for _, clips in self.due.values())
        if self.stage == "download-videos" or not clips:
            return sum(videos for videos, _ in self.due.values()), "videos"
        return clips, "clips"


def plan_job(
    config: Config,
    stage: Stage,
    executor: str,
    world_size: int,
    clock: Clock | None = None,
    *,
    dry_run: bool = False,
) -> Plan:
    """Find the ranks that have something left to win, and the command for them.

    Args:
        config: the configuration in force.
        stage: the command that each rank is to run.
        executor: the name of the executor.
        world_size: how many ranks share the work.
        clock: what to take the time from.
        dry_run: change nothing, and name the user's own configuration in the command.

    Raises:
        UsageError: no usable index, or no such executor.
        LacksError: the executor does not work on this machine.
    """
    plugin = plugins.choose_executor(executor)
    clock = clock or SystemClock()
    layout = config.layout
    catalog = open_catalog(config)
    retry = frozenset(config.settings.download.retry)
    found = audit(config, Level.PRESENCE, retry=retry)
    mends = found.mend_rows if config.settings.pipeline.mends(stage) else set()
    rows = found.due_rows
    if stage == "download-videos":
        rows = {row for row in rows if layout.find_video(catalog.video_ids[row]) is None}
    only_mended = mends - rows
    rows = rows | only_mended
    ranks = tuple(due_ranks(catalog, rows, world_size))
    key = work_key(catalog.identity, recipe_id(config.settings), stage, world_size)
    if not dry_run:
        clear_markers(layout, key, ranks)
    busy = busy_ranks(config, key, ranks)
    ranks = tuple(rank for rank in ranks if rank not in busy)
    stamp = utc_text(clock.time()).replace("-", "").replace(":", "")
    name = f"{stamp}-{stage}-{os.getpid()}"
    env = {JOB_VARIABLE: name}
    if catalog.key:
        env[FROZEN_VARIABLE] = catalog.key
    if config.settings.extract.workers:
        env["TRACKVERSE_EXTRACT__WORKERS"] = str(config.settings.extract.workers)
    pace = config.settings.pace
    if pace.share or pace.dir:
        # Said by the user; an executor whose hosts see no common folder divides it otherwise.
        env["TRACKVERSE_PACE__SHARE"] = str(pace.share)
    job = Job(
        f"trackverse-{stage}",
        tuple(_words(config, catalog, stage, None if dry_run else name)),
        world_size,
        ranks,
        layout.logs / name,
        env,
        root=layout.root,
        needs_gpu=stage != "download-videos" and plugins.wants_gpu(config),
    )
    clips = found.clips.states[State.MISSING] + found.clips.states[State.DAMAGED]
    due = _due(catalog, rows, only_mended, world_size, set(ranks))
    return Plan(name, key, job, plugin, stage, catalog, frozenset(rows), clips, due, busy)


def _words(config: Config, catalog: Catalog, stage: Stage, job: str | None) -> list[str]:
    layout = config.layout
    file = layout.jobs / job / FILE_NAME if job else config.file
    words = [sys.executable, "-m", "trackverse_cli"]
    words += ["--config", str(file.absolute())] if file else []
    words += ["--root", str(layout.root), *catalog_words(config, catalog), stage]
    if stage == "extract-tracks" and config.settings.submit.extract_tracks.follow:
        words.append("--follow")
    return words


def _due(
    catalog: Catalog, rows: set[int], only_mended: set[int], world_size: int, ranks: set[int]
) -> dict[int, tuple[int, int]]:
    """Return rank -> (videos, clips) of the videos that have something left to win.

    Of those that are only brought again, no clip is cut.
    """
    chosen = np.array(sorted(rows), dtype=np.int64)
    of_row = assign(catalog.costs, world_size)
    videos = np.bincount(of_row[chosen], minlength=world_size)
    clips = np.zeros(world_size, dtype=np.int64)
    for table in catalog.clips(np.array(sorted(rows - only_mended), dtype=np.int64)):
        clips += np.bincount(of_row[table["video_row"].to_numpy()], minlength=world_size)
    return {rank: (int(videos[rank]), int(clips[rank])) for rank in sorted(ranks)}


def catalog_words(config: Config, catalog: Catalog) -> list[str]:
    """Return the options by which another process opens the same catalogue."""
    words = [word for name in catalog.names for word in ("--meta", name)]
    if config.settings.dataset.select:
        words += ["--select", config.settings.dataset.select]
    for key, value in config.selection_flags.items():
        option = "--" + key.replace("_", "-")
        if value is True:
            words.append(option)
        else:
            words += [option, ",".join(value) if isinstance(value, list) else str(value)]
    return words


def tell_busy(plan: Plan) -> None:
    """Say which ranks are left out because they are at work already."""
    for job in sorted(set(plan.busy.values())):
        ranks = [rank for rank, where in plan.busy.items() if where == job]
        logger.info("{} ranks are at work already in job {}", len(ranks), job)
