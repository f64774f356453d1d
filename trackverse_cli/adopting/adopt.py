"""One rank's part of a folder, video by video, into the root and its ledger."""

from __future__ import annotations

import secrets
import threading
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import TYPE_CHECKING

from loguru import logger

from trackverse_cli import plugins
from trackverse_cli.adopting.counts import NAMED, Adopted, AdoptOptions
from trackverse_cli.adopting.folder import Folder
from trackverse_cli.adopting.means import Means
from trackverse_cli.adopting.source import Eyes
from trackverse_cli.adopting.take import take
from trackverse_cli.ahead import in_order
from trackverse_cli.catalog import Catalog, open_catalog
from trackverse_cli.clock import Clock, SystemClock
from trackverse_cli.errors import UsageError
from trackverse_cli.files import STORAGE_FULL, require_writable, storage_full
from trackverse_cli.leases import Attempt, read_attempts
from trackverse_cli.leases.attempts import attempt_info
from trackverse_cli.ledger import Ledger, read_ledger
from trackverse_cli.machine import usable_cores
from trackverse_cli.merging.carry import Carrier
from trackverse_cli.outputs import FileSink, ShardIndex
from trackverse_cli.progress import progress
from trackverse_cli.recipe import recipe_id
from trackverse_cli.shards import shard_rows

if TYPE_CHECKING:
    from pathlib import Path

    from trackverse_cli.adopting.outcome import Outcome
    from trackverse_cli.config import Config
    from trackverse_cli.ledger import LedgerState

STAGE = "adopt"

DECODER = "pyav"
"""Pictures are compared in main memory, whatever decoder cuts clips here."""


def adopt(
    config: Config,
    path: Path,
    options: AdoptOptions,
    stop: threading.Event | None = None,
    clock: Clock | None = None,
) -> Adopted:
    """Take over what is good of a folder that the original scripts or an older version left.

    It can be stopped and run again at any time: what is recorded is not looked at again.

    Args:
        config: the configuration in force; its root is the one that takes.
        path: the folder; the root itself, or another.
        options: how.
        stop: set by a signal.
        clock: what to take the time from.

    Raises:
        UsageError: no usable index, no such rank, or the folder is none or of a later version.
        StorageFullError: no space, no quota or no file is left; what was adopted is recorded.
        StoppedError: `stop` was set; likewise.
    """
    clock = clock or SystemClock()
    folder = Folder(path, config.layout)
    catalog = _catalog(config, folder)
    for info in read_attempts(config.layout.runs):
        if info.stage != STAGE:
            logger.warning(
                "{} seems to be at work here; adopt while nothing else writes", info.told
            )
    if not options.dry_run:
        require_writable(config.layout.root, "the dataset folder")
    run = _Adoption(config, catalog, folder, options, clock)
    try:
        return run.run(stop or threading.Event())
    except OSError as error:
        if error.errno in STORAGE_FULL:
            raise storage_full(error, config.layout.root) from error
        raise


def _catalog(config: Config, folder: Folder) -> Catalog:
    """Open what is selected; where there is no index, name the folder's own metadata."""
    try:
        return open_catalog(config)
    except UsageError as error:
        files = sorted(folder.layout.metadata.glob("*.jsonl.gzip"))
        if not files or folder.layout.root == config.layout.root:
            raise
        raise UsageError(f"{error}; the folder has metadata, as in {files[0]}") from error


class _Adoption:
    def __init__(
        self,
        config: Config,
        catalog: Catalog,
        folder: Folder,
        options: AdoptOptions,
        clock: Clock,
    ) -> None:
        self._config, self._catalog, self._folder = config, catalog, folder
        self._options, self._clock = options, clock
        self._rows = shard_rows(catalog.costs, options.rank, options.world_size)
        self._run = secrets.token_hex(6)
        self._ledger: Ledger | None = None
        self._known: LedgerState | None = None
        self._told = Adopted(
            str(folder.layout.root), folder.made_by, folder.in_place and folder.videos_in_place,
            options,
        )  # fmt: skip

    def _means(self, stop: threading.Event) -> Means:
        config, settings = self._config, self._config.settings
        decoder = plugins.choose_decoder(DECODER)
        own = plugins.plugin_settings(config, "decoder", decoder.name, decoder.settings)
        ids = {self._catalog.video_ids[row] for row in self._rows.tolist()}
        self._known = known = read_ledger(config.layout, ids.__contains__)
        return Means(
            config.layout,
            known,
            ShardIndex.load(config.layout, ids),
            recipe_id(settings),
            self._folder,
            Eyes(decoder, own, settings.extract.max_clip_seconds, stop),
            Carrier(stop),
            None if self._options.dry_run else FileSink(config.layout),
            self._options,
        )

    def run(self, stop: threading.Event) -> Adopted:
        """Adopt, and close what was opened, however it ends."""
        means, rows = self._means(stop), self._rows
        threads = self._config.settings.extract.workers or usable_cores()
        title = "checking" if self._options.dry_run else "adopting"
        try:
            with (
                self._alive(),
                progress(title, len(rows), "videos", self._clock) as advance,
            ):
                videos = self._catalog.videos(rows)
                for video, out in in_order(lambda v: take(means, v), videos, threads, STAGE):
                    self._count(out)
                    if not self._options.dry_run:
                        self._record(video.video_id, means.recipe, out)
                    advance(1)
        finally:
            if self._ledger is not None:
                self._ledger.close()
        if self._options.world_size == 1:
            self._told.around = self._folder.look_around()
        return self._told

    def _alive(self) -> AbstractContextManager[object]:
        """Keep a sign of life, by which others tell this run's unfinished files from leftovers."""
        options = self._options
        if options.dry_run:
            return nullcontext()
        who = attempt_info(self._run, STAGE, options.rank, options.world_size, "", self._clock)
        return Attempt(self._config.layout.runs, who)

    def _count(self, out: Outcome) -> None:
        told = self._told
        told.clips.update(out.clips)
        told.videos.update(out.videos)
        told.how.update(out.how)
        told.bytes += out.bytes
        told.unproven += out.unproven
        told.marked += out.marked
        for one in out.left_out:
            told.reasons[one.reason] += 1
            if len(told.left_out) < NAMED:
                told.left_out.append(one)

    def _record(self, video_id: str, recipe: str, out: Outcome) -> None:
        """Record what came of a video; only then may the other folder let go of it."""
        if out.came is not None:
            self._opened().video(video_id, "present", **out.came)
        for own, done in out.recipes.items():
            self._opened().clips(video_id, own, done)
        for track_id, reason, message in out.failed:
            self._opened().track(video_id, track_id, recipe, reason, message)
        if self._options.move and out.sources:
            if self._ledger is not None:
                self._ledger.flush()
            for source in out.sources:
                with suppress(OSError):
                    source.unlink()

    def _opened(self) -> Ledger:
        """Return this run's ledger file, which is made with its first line."""
        if self._ledger is None:
            catalog, options = self._catalog, self._options
            self._ledger = Ledger(
                self._config.layout, STAGE, options.rank, options.world_size, catalog.name,
                self._clock, catalog.key, self._run, known=self._known,
            )  # fmt: skip
        return self._ledger
