"""What stages do with a rank's videos: count the due ones, bring them, cut them side by side."""

from __future__ import annotations

from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from functools import cache
from typing import TYPE_CHECKING

from trackverse_cli import plugins
from trackverse_cli.bringing import FromHost, Means
from trackverse_cli.budget import Budget, Limits
from trackverse_cli.clips import CutSettings
from trackverse_cli.download import FLOOR_SECONDS, Downloader
from trackverse_cli.extract import Cutter
from trackverse_cli.machine import usable_cores
from trackverse_cli.pacing import open_rotation
from trackverse_cli.plan import rank_order, videos_in_order
from trackverse_cli.recipe import recipe_id

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from trackverse_cli.budget import Room
    from trackverse_cli.catalog import Catalog, Video
    from trackverse_cli.config import Config
    from trackverse_cli.download import Patience
    from trackverse_cli.metadata import Track
    from trackverse_cli.plan import Order
    from trackverse_cli.rank import RankRun
    from trackverse_cli.settings import Stage

VIDEOS_AHEAD = 2
"""Downloaded videos that may wait for a free worker."""


def bring_all(
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
            cut_all(stage, videos, run, config, stop, host.bring)
            return
        for video, due in videos:
            host.bring(video, due)


def _limits(config: Config) -> Limits:
    pipeline = config.settings.pipeline
    return Limits(pipeline.disk_budget, pipeline.min_free, pipeline.storage_wait_seconds)


def limited(
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


def counted(
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


def cut_all(
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
    for_changed = None
    if not decoder.sees_changed_bytes:
        other = plugins.choose_decoder(type(settings.extract).model_fields["decoder"].default)
        for_changed = other, plugins.plugin_settings(config, "decoder", other.name, other.settings)
    return CutSettings(decoder, own, settings.encode, limit, recipe_id(settings), for_changed)
