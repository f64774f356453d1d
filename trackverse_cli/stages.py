"""The three stages of a rank: download its videos, cut its clips, or both video by video."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from loguru import logger

from trackverse_cli.bringing import FromDisk
from trackverse_cli.budget import Room
from trackverse_cli.catalog import Catalog, open_catalog
from trackverse_cli.clock import Clock, SystemClock
from trackverse_cli.download import Patience
from trackverse_cli.errors import UsageError
from trackverse_cli.fence import Fence, work_key
from trackverse_cli.files import require_writable
from trackverse_cli.leases import Watch
from trackverse_cli.ledger import Ledger, read_ledger
from trackverse_cli.markers import set_marker
from trackverse_cli.outputs import (
    ClipSink,
    FileSink,
    ShardIndex,
    ShardSink,
    ShardWriter,
    choose_output,
    discard_leftovers,
    shards_folder,
)
from trackverse_cli.progress import progress
from trackverse_cli.putoff import arrivals, second_looks
from trackverse_cli.rank import RankRun
from trackverse_cli.recipe import recipe_id
from trackverse_cli.shards import shard_rows
from trackverse_cli.stage_work import bring_all, counted, cut_all, limited
from trackverse_cli.worklist import Worklist

if TYPE_CHECKING:
    import threading

    from trackverse_cli.config import Config
    from trackverse_cli.layout import Layout
    from trackverse_cli.plan import Order
    from trackverse_cli.settings import Stage
    from trackverse_cli.summary import RankSummary


@dataclass(frozen=True, slots=True)
class Shard:
    """One rank's part of one stage.

    Attributes:
        stage: the command.
        rank: in [0, world_size).
        world_size: how many ranks share the work.
        limit: at most so many videos, or None for all.
        follow: whether `extract-tracks` takes videos as another job brings them.
    """

    stage: Stage
    rank: int
    world_size: int
    limit: int | None = None
    follow: bool = False


def run_stage(
    shard: Shard, config: Config, stop: threading.Event, clock: Clock | None = None
) -> RankSummary:
    """Do one rank's work and return what came of it.

    Raises:
        UsageError: no usable dataset folder, index, decoder or rank.
        LacksError: the host cannot be reached, or a plugin or yt-dlp does not work here.
        TryLaterError: throttled, or the storage is full.
        StoppedError: `stop` was set.
    """
    clock = clock or SystemClock()
    settings = config.settings
    layout = _layout(config, shard.stage)
    catalog = open_catalog(config)
    rows = shard_rows(catalog.costs, shard.rank, shard.world_size)
    patience = Patience(clock, stop)
    room = Room(patience, settings.pipeline.storage_wait_seconds)
    room.patient(lambda: require_writable(layout.root, "the dataset folder"))
    own = (layout.runs, layout.leases, layout.done, layout.state / "budget", layout.state / "pace")
    layout.check_own(*own)
    order: Order = "cost" if shard.stage == "extract-tracks" else settings.download.order
    recipe = recipe_id(settings)
    key = work_key(catalog.identity, recipe, shard.stage, shard.world_size)
    logger.info(
        "{} of {}: rank {} of {} has {} videos",
        shard.stage, catalog.name, shard.rank, shard.world_size, len(rows),
    )  # fmt: skip
    with Fence(layout, shard.stage, shard.rank, shard.world_size, key, clock, stop) as fence:
        ids = {catalog.video_ids[row] for row in rows.tolist()}
        retry = frozenset(settings.download.retry)
        worklist = Worklist(layout, read_ledger(layout, ids.__contains__), recipe, retry)
        worklist.shards = ShardIndex.load(layout, ids)
        with (
            Ledger(
                layout, shard.stage, shard.rank, shard.world_size, catalog.name, clock,
                catalog.key, fence.run, fence.job, worklist.ledger,
            ) as ledger,
            progress(shard.stage, len(rows), "videos", clock) as advance,
        ):  # fmt: skip
            sink = _sink(config, shard, catalog, fence.run)
            run = RankRun(worklist, ledger, fence, room, sink, clock)
            mends = settings.pipeline.mends(shard.stage)
            videos = chain(
                counted(limited(catalog, rows, run, shard.limit, order), advance, run, mends),
                second_looks(run, patience),
                arrivals(run, patience, settings.pipeline.follow_idle_seconds),
                second_looks(run, patience),
            )
            if shard.stage == "extract-tracks":
                bring = FromDisk(run, shard.follow).bring
                cut_all(shard.stage, videos, run, config, stop, bring)
            else:
                bring_all(shard.stage, videos, run, config, patience, room, stop)
        if run.summary.exit_code == 0 and shard.limit is None:
            set_marker(layout, key, shard.rank, fence.run, clock.time())
        return run.summary


def _sink(config: Config, shard: Shard, catalog: Catalog, run: str) -> ClipSink:
    """Return where the clips of this run go."""
    layout, extract = config.layout, config.settings.extract
    output = choose_output(
        extract.output, catalog.tracks, layout.root, config.settings.dataset.quota_files
    )
    if shard.stage == "download-videos" or output == "files":
        return FileSink(layout)
    discard_leftovers(layout, Watch(layout.runs).is_gone)
    folder = shards_folder(layout)
    writer = ShardWriter(
        folder, shard.stage, shard.rank, shard.world_size, run, max_bytes=extract.shard_bytes
    )
    return ShardSink(writer, folder, run)


def _layout(config: Config, stage: Stage) -> Layout:
    """Return the dataset folder, with this machine's own disk for videos where that is set."""
    scratch = config.settings.pipeline.scratch
    if stage != "download-tracks" or not scratch:
        return config.layout
    path = Path(os.path.expandvars(scratch)).expanduser()
    if not path.is_absolute() or "$" in str(path):
        raise UsageError(
            f"[pipeline] scratch = '{scratch}' is no folder on this machine ('{path}'); set the "
            "variable, or name a folder by its whole path"
        )
    return replace(config.layout, scratch=path)
