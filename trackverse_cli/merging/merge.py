"""One root after the other, video by video, into this root and its ledger."""

from __future__ import annotations

import hashlib
import secrets
import threading
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import TYPE_CHECKING, Any

import msgspec
from loguru import logger

from trackverse_cli.ahead import in_order
from trackverse_cli.catalog import Catalog, open_catalog
from trackverse_cli.checked import Checked
from trackverse_cli.clock import Clock, SystemClock
from trackverse_cli.files import STORAGE_FULL, require_writable, storage_full
from trackverse_cli.leases import Attempt, Watch, read_attempts
from trackverse_cli.leases.attempts import attempt_info
from trackverse_cli.ledger import Ledger, VideoEntry, read_ledger
from trackverse_cli.machine import usable_cores
from trackverse_cli.merging.carry import Carrier
from trackverse_cli.merging.counts import LeftOut, Merged, MergeOptions, RootTally
from trackverse_cli.merging.donor import Donor
from trackverse_cli.merging.own import Own
from trackverse_cli.merging.take import Taker, videos_of
from trackverse_cli.outputs import (
    ClipSink,
    FileSink,
    ShardIndex,
    ShardSink,
    ShardWriter,
    discard_leftovers,
    drop_members,
    shards_folder,
)
from trackverse_cli.progress import progress
from trackverse_cli.recipe import recipe_id

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from trackverse_cli.config import Config
    from trackverse_cli.merging.outcome import VideoOutcome

STAGE = "merge"


def merge(
    config: Config,
    roots: Sequence[Path],
    options: MergeOptions,
    stop: threading.Event | None = None,
    clock: Clock | None = None,
) -> Merged:
    """Take the selection's clips, videos and final failures from other roots.

    What is here and sound stays; what is damaged here is replaced. Every clip is held against the
    checksum that its own root recorded, or decoded where there is none. It can be stopped and run
    again at any time.

    Args:
        config: the configuration in force; its root is the one that takes.
        roots: the others, in the order of preference.
        options: how.
        stop: set by a signal.
        clock: what to take the time from.

    Raises:
        UsageError: no usable index here, or one of the roots is none.
        StorageFullError: no space, no quota or no file is left; what was taken is recorded.
        StoppedError: `stop` was set; likewise.
    """
    clock = clock or SystemClock()
    catalog = open_catalog(config)
    donors = [Donor(root, config.layout) for root in roots]
    for info in read_attempts(config.layout.runs):
        logger.warning("{} seems to be at work here; merge while nothing else writes", info.told)
    if not options.dry_run:
        require_writable(config.layout.root, "the dataset folder")
    merged = Merged(options.dry_run)
    for donor in donors:
        tally = RootTally(str(donor.root))
        merged.roots.append(tally)
        one = _Merge(config, catalog, donor, options, merged, tally, clock)
        try:
            one.run(stop or threading.Event())
        except OSError as error:
            if error.errno in STORAGE_FULL:
                raise storage_full(error, config.layout.root) from error
            raise
    return merged


class _Merge:
    """The merge of one root."""

    def __init__(
        self,
        config: Config,
        catalog: Catalog,
        donor: Donor,
        options: MergeOptions,
        merged: Merged,
        tally: RootTally,
        clock: Clock,
    ) -> None:
        self._config, self._catalog, self._donor = config, catalog, donor
        self._options, self._merged, self._tally = options, merged, tally
        self._layout, self._clock = config.layout, clock
        self._run = secrets.token_hex(6)
        self._ledger: Ledger | None = None
        checked = None if options.dry_run else Checked(self._checked_path(), False, clock)
        shards = ShardIndex.load(self._layout)
        self._own = Own(
            self._layout, read_ledger(self._layout), shards, recipe_id(config.settings), checked
        )
        self._sink = None if options.dry_run else self._make_sink(bool(len(shards)))

    def _make_sink(self, in_shards: bool) -> ClipSink:
        if not in_shards:
            return FileSink(self._layout)
        discard_leftovers(self._layout, Watch(self._layout.runs).is_gone)
        folder = shards_folder(self._layout)
        return ShardSink(ShardWriter(folder, STAGE, 0, 1, self._run), folder, self._run)

    def _checked_path(self) -> Path:
        parts = (STAGE, self._catalog.identity, recipe_id(self._config.settings))
        name = hashlib.blake2b(repr(parts).encode(), digest_size=8).hexdigest()
        return self._layout.state / f"verify-{name}.bin"

    def run(self, stop: threading.Event) -> None:
        """Merge, and close what was opened, however it ends."""
        options = self._options
        taker = Taker(
            self._own, self._donor, self._sink, Carrier(stop), options.any_recipe, options.videos
        )
        ended = False
        title = f"merging {self._donor.root.name}"
        try:
            with (
                self._alive(),
                progress(title, len(self._catalog.costs), "videos", self._clock) as advance,
            ):
                for video_id, out in self._outcomes(taker):
                    self._count(out)
                    if self._sink is not None:
                        self._settle(self._sink, video_id, out)
                    advance(1)
            ended = True
        finally:
            self._close(ended)

    def _alive(self) -> AbstractContextManager[object]:
        """Keep a sign of life, by which others tell this run's unfinished files from leftovers."""
        if self._options.dry_run:
            return nullcontext()
        who = attempt_info(self._run, STAGE, 0, 1, "", self._clock)
        return Attempt(self._layout.runs, who)

    def _close(self, ended: bool) -> None:
        if self._sink is not None:
            self._sink.flush()
        if isinstance(self._sink, ShardSink):
            # What was damaged here and is replaced must not be in two shards.
            old = ShardIndex.load(self._layout).superseded()
            for number, (shard, keys) in enumerate(old.items()):
                drop_members(shard, keys, f"{STAGE}-rest", self._run, number)
        if self._own.checked is not None:
            self._own.checked.close(ended)
        if self._ledger is not None:
            self._ledger.close()

    def _outcomes(self, taker: Taker) -> Iterator[tuple[str, VideoOutcome]]:
        threads = self._config.settings.extract.workers or usable_cores()
        work = in_order(lambda one: taker.take(*one), videos_of(self._catalog), threads, STAGE)
        for (video_id, _), out in work:
            yield video_id, out

    def _count(self, out: VideoOutcome) -> None:
        tally = self._tally
        tally.clips.update(out.clips)
        tally.videos.update(out.videos)
        tally.how.update(out.how)
        tally.bytes += out.bytes
        tally.failures += len(out.failed)
        for what, reason, message in out.left_out:
            self._merged.leave_out(tally, LeftOut(tally.root, what, reason, message))

    def _settle(self, sink: ClipSink, video_id: str, out: VideoOutcome) -> None:
        """Record what came of a video, once its clips are safe."""
        gathered = sink.gather(out.finished)
        if gathered.error is not None:
            raise gathered.error
        if self._own.checked is not None:
            for stamp in out.stamps:
                self._own.checked.add(stamp)
        sink.when_safe(lambda: self._record(video_id, out))
        sink.settle()

    def _record(self, video_id: str, out: VideoOutcome) -> None:
        for entry in ([out.came] if out.came is not None else []) + out.failed:
            self._write(entry)
        for recipe, done in out.recipes.items():
            self._opened().clips(video_id, recipe, done)
        if self._options.move:
            for source in out.sources:
                with suppress(OSError):
                    source.unlink()

    def _write(self, entry: Any) -> None:
        facts = msgspec.to_builtins(entry)
        for key in ("kind", "time"):
            facts.pop(key, None)
        ledger = self._opened()
        if isinstance(entry, VideoEntry):
            ledger.video(**facts)
        else:
            ledger.track(**facts)

    def _opened(self) -> Ledger:
        """Return this run's ledger file, which is made with its first line."""
        if self._ledger is None:
            catalog = self._catalog
            self._ledger = Ledger(
                self._layout, STAGE, 0, 1, catalog.name, self._clock, catalog.key, self._run,
                known=self._own.ledger,
            )  # fmt: skip
        return self._ledger
