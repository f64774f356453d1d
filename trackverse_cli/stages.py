"""The three stages of a rank: download its videos, cut its clips, or both video by video."""

from __future__ import annotations

import os
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cache
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from loguru import logger

from trackverse_cli import plugins
from trackverse_cli.bringing import FromDisk, FromHost, Means
from trackverse_cli.budget import Budget, Limits, Room
from trackverse_cli.catalog import Catalog, Video, open_catalog
from trackverse_cli.clips import CutSettings
from trackverse_cli.clock import Clock, SystemClock
from trackverse_cli.download import FLOOR_SECONDS, Downloader, Patience
from trackverse_cli.errors import UsageError
from trackverse_cli.extract import Cutter
from trackverse_cli.fence import Fence, work_key
from trackverse_cli.files import require_writable
from trackverse_cli.leases import Watch
from trackverse_cli.ledger import Ledger, read_ledger
from trackverse_cli.machine import usable_cores
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
from trackverse_cli.pacing import open_rotation
from trackverse_cli.plan import Order, rank_order, videos_in_order
from trackverse_cli.progress import progress
from trackverse_cli.putoff import arrivals, second_looks
from trackverse_cli.rank import RankRun
from trackverse_cli.recipe import recipe_id
from trackverse_cli.shards import shard_rows
from trackverse_cli.worklist import Worklist

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator

    import numpy as np
    from numpy.typing import NDArray

    from trackverse_cli.config import Config
    from trackverse_cli.layout import Layout
    from trackverse_cli.metadata import Track
    from trackverse_cli.settings import Stage
    from trackverse_cli.summary import RankSummary

VIDEOS_AHEAD = 2
"""Downloaded videos that may wait for a free worker."""


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
                _counted(_limited(catalog, rows, run, shard.limit, order), advance, run, mends),
                second_looks(run, patience),
                arrivals(run, patience, settings.pipeline.follow_idle_seconds),
                second_looks(run, patience),
            )
            if shard.stage == "extract-tracks":
                bring = FromDisk(run, shard.follow).bring
                _cut_all(shard.stage, videos, run, config, stop, bring)
            else:
                _download(shard.stage, videos, run, config, patience, room, stop)
        if run.summary.exit_code == 0 and shard.limit is None:
            set_marker(layout, key, shard.rank, fence.run, clock.time())
        return run.summary


def _download(
    stage: Stage,
    videos: Iterator[tuple[Video, list[Track]]],
    run: RankRun,
    config: Config,
    patience: Patience,
    room: Room,
    stop: threading.Event,
) -> None:
    """Bring videos, and cut their clips where the stage does."""
    settings = config.settings.download
    with ExitStack() as stack:
        budget = stack.enter_context(Budget(run.layout, _limits(config), run.fence.run, patience))
        rotation = stack.enter_context(open_rotation(config, patience.clock, run.worked_before))

        @cache
        def downloader_of(proxy: str | None) -> Downloader:
            return stack.enter_context(
                Downloader(
                    settings.model_copy(update={"proxy": proxy}),
                    run.layout,
                    clock=patience.clock,
                    stop=stop,
                    ranges=settings.ranges,
                    floor=(settings.floor_bytes_per_second, FLOOR_SECONDS),
                    on_total=budget.ask,
                    largest_bytes=config.settings.pipeline.disk_budget,
                )
            )

        # Alone, `download-videos` is for those who want the videos.
        spans = settings.ranges == "always" or (
            settings.ranges == "auto" and stage == "download-tracks"
        )
        host = FromHost(
            run,
            Means(
                downloader_of, rotation, budget, room, patience, patience.clock, spans,
                settings.url_template,
            ),
        )  # fmt: skip
        if stage == "download-tracks":
            _cut_all(stage, videos, run, config, stop, host.bring)
            return
        for video, due in videos:
            host.bring(video, due)


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


def _limits(config: Config) -> Limits:
    pipeline = config.settings.pipeline
    return Limits(pipeline.disk_budget, pipeline.min_free, pipeline.storage_wait_seconds)


def _limited(
    catalog: Catalog, rows: NDArray[np.int64], run: RankRun, limit: int | None, order: Order
) -> Iterator[tuple[Video, list[Track]]]:
    """Yield every video with its due tracks, and at most `limit` that have any."""
    left = limit
    videos = catalog.videos(rows)
    if order != "cost":
        videos = videos_in_order(catalog, rank_order(catalog, run.layout, rows, order))
    for video in videos:
        due = run.due_tracks(video)
        if due and left is not None:
            if left == 0:
                return
            left -= 1
        yield video, due


def _counted(
    videos: Iterator[tuple[Video, list[Track]]],
    advance: Callable[[float], None],
    run: RankRun,
    mends: bool,
) -> Iterator[tuple[Video, list[Track]]]:
    """Yield the videos that have due tracks; show every video when the next one is asked for.

    Where the run `mends`, a damaged video that is kept is brought again though no track is due.
    """
    for video, due in videos:
        if due or (mends and run.is_damaged_here(video.video_id)):
            yield video, due
        advance(1)


def _cut_all(
    stage: Stage,
    videos: Iterator[tuple[Video, list[Track]]],
    run: RankRun,
    config: Config,
    stop: threading.Event,
    bring: Callable[[Video, list[Track]], Path | None],
) -> None:
    """Cut videos beside each other while the next ones are brought."""
    settings = config.settings
    workers = settings.extract.workers or usable_cores()
    pending: set[Future[None]] = set()
    with (
        Cutter(run.layout, _cut_settings(config), workers, stop, run.sink) as cutter,
        ThreadPoolExecutor(workers, thread_name_prefix="video") as pool,
    ):
        try:
            for video, due in videos:
                if not run.begin(video, due):
                    continue
                path = bring(video, due)
                if path is None or not due:
                    run.end(video)
                    continue
                remove = settings.pipeline.removes(stage)
                pending.add(pool.submit(run.cut, cutter, video, due, path, remove))
                pending = _settled(pending, workers + VIDEOS_AHEAD)
            _settled(pending, 1)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
        finally:
            # What is whole counts, however the run ends.
            run.sink.flush()


def _settled(pending: set[Future[None]], limit: int) -> set[Future[None]]:
    """Wait until fewer than `limit` are pending; raise what one of them raised."""
    while True:
        done = {future for future in pending if future.done()}
        for future in done:
            future.result()
        pending = pending - done
        if len(pending) < limit:
            return pending
        wait(pending, timeout=1.0, return_when=FIRST_COMPLETED)


def _cut_settings(config: Config) -> CutSettings:
    settings = config.settings
    decoder = plugins.choose_decoder(settings.extract.decoder)
    own = plugins.plugin_settings(config, "decoder", decoder.name, decoder.settings)
    limit = settings.extract.max_clip_seconds
    return CutSettings(decoder, own, settings.encode, limit, recipe_id(settings))
