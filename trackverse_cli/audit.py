"""What `verify` knows: index, ledger and disk held against each other."""

from __future__ import annotations

import hashlib
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, Literal, Protocol, cast

import numpy as np
from loguru import logger

from trackverse_cli import __version__
from trackverse_cli.auditor import Auditor
from trackverse_cli.catalog import Catalog, open_catalog
from trackverse_cli.checked import Checked
from trackverse_cli.clock import Clock, SystemClock, utc_text
from trackverse_cli.errors import UsageError
from trackverse_cli.findings import Audit, ClipFinding, Tally, VideoFinding, due_ranks
from trackverse_cli.ledger import Ledger, read_ledger
from trackverse_cli.machine import usable_cores
from trackverse_cli.manifest import Held, Lost, read_head
from trackverse_cli.manifest_writer import ManifestWriter
from trackverse_cli.probe import Level
from trackverse_cli.progress import progress
from trackverse_cli.recipe import recipe_id
from trackverse_cli.shards import assign, shard_rows
from trackverse_cli.worklist import State, Verdict

__all__ = ["Audit", "audit", "due_ranks", "parse_level", "record_damage"]

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from trackverse_cli.config import Config
    from trackverse_cli.index import RefusedLine
    from trackverse_cli.ledger import LedgerState


class Watcher(Protocol):
    """Is told what an audit finds, for those who want more than the counts."""

    def begin(self, catalog: Catalog, ledger: LedgerState) -> None:
        """Take what is expected and what is recorded, before the first finding."""
        ...

    def take(self, one: ClipFinding | VideoFinding) -> None:
        """Take one finding: the clips of a video, then the video; refused lines do not come."""
        ...


def parse_level(name: str) -> Level:
    """Return the level of a name.

    Raises:
        UsageError: there is no such level.
    """
    try:
        return Level[name.upper()]
    except KeyError:
        known = ", ".join(level.name.lower() for level in Level)
        raise UsageError(f"no level is called '{name}'; known: {known}") from None


def audit(
    config: Config,
    level: Level,
    rank: int | None = None,
    world_size: int = 1,
    *,
    manifest: Path | None = None,
    fresh: bool = False,
    retry: frozenset[str] = frozenset(),
    watcher: Watcher | None = None,
    clock: Clock | None = None,
) -> Audit:
    """Judge every clip and video of the selection, or of one rank's shard of it.

    Args:
        config: the configuration in force.
        level: how closely to look.
        rank: judge this rank's shard alone; refused lines belong to rank 0.
        world_size: how many ranks there are.
        manifest: write there what is held and what is not (`trackverse_cli.manifest`).
        fresh: forget what an interrupted run found sound.
        retry: reasons that count as missing though they would not be tried again.
        watcher: is told of every finding.
        clock: what to take the time from.

    Raises:
        UsageError: no usable index, no such rank, or a manifest of one rank or in a bad place.
    """
    catalog = open_catalog(config)
    if level >= Level.CHECKSUM:
        catalog.check_bytes()
    _warn_of_recipe(config)
    ranks = assign(catalog.costs, world_size)
    everything = np.arange(len(catalog.costs))
    rows = everything if rank is None else shard_rows(catalog.costs, rank, world_size)
    found = Audit(level, catalog, world_size)
    found.ranks |= {r: Tally() for r in (range(world_size) if rank is None else [rank])}
    if manifest is not None and rank is not None:
        raise UsageError("a manifest is of the whole selection; leave --rank out")
    clock = clock or SystemClock()
    checked = None
    if level is not Level.PRESENCE:
        checked = Checked(_checked_path(config, catalog, found, rank), fresh, clock)
    ids = None if rank is None else {catalog.video_ids[row] for row in rows.tolist()}
    ledger = read_ledger(config.layout, ids.__contains__ if ids is not None else None)
    auditor = Auditor(
        catalog, config.layout, ledger, recipe_id(config.settings), level,
        checked, manifest is not None, retry,
    )  # fmt: skip
    if watcher is not None:
        watcher.begin(catalog, ledger)
    workers = config.settings.extract.workers or usable_cores()
    ended = False
    try:
        with (
            progress("checking", len(rows), "videos", clock) as advance,
            ManifestWriter(manifest) if manifest is not None else nullcontext() as writer,
        ):
            for one in _watched(auditor.look(rows, workers), watcher):
                if isinstance(one, ClipFinding):
                    _take(found, one, int(ranks[one.clip.row]), writer)
                    complete = one.verdict.state is State.COMPLETE
                    found.adopted += complete and auditor.is_adopted(one.clip)
                else:
                    found.add_video(catalog.video_ids[one.row], one.verdict, one.is_news)
                    if one.to_mend:
                        found.mend_rows.add(one.row)
                    advance(1)
            if rank in (None, 0):
                for line in catalog.refused:
                    _take_refused(found, line, writer)
            if writer is not None:
                writer.write(**_head(config, found, clock))
        ended = True
    finally:
        if checked is not None:
            checked.close(ended)
    return found


def _watched(
    findings: Iterable[ClipFinding | VideoFinding], watcher: Watcher | None
) -> Iterator[ClipFinding | VideoFinding]:
    for one in findings:
        if watcher is not None:
            watcher.take(one)
        yield one


def _take(found: Audit, one: ClipFinding, rank: int, writer: ManifestWriter | None) -> None:
    clip, verdict = one.clip, one.verdict
    found.add_clip(verdict, clip.clip_name, clip.label, rank)
    if verdict.due:
        found.due_rows.add(clip.row)
    if one.is_news:
        found.damaged.append((clip.video_id, clip.track_id, verdict.reason, verdict.message))
    if one.healed is not None:
        found.healed.append((clip.video_id, clip.track_id, one.healed))
    if writer is not None:
        _write(writer, one)


def _write(writer: ManifestWriter, one: ClipFinding) -> None:
    clip, verdict = one.clip, one.verdict
    facts = {
        "video_id": clip.video_id,
        "track_id": clip.track_id,
        "clip_name": clip.clip_name,
        "label": clip.label,
    }
    if verdict.state is State.COMPLETE:
        writer.add(Held(**facts, frames=one.frames))
    else:
        state = cast("Literal['missing', 'damaged', 'unrecoverable']", verdict.state.value)
        writer.add(Lost(**facts, state=state, reason=verdict.reason))


def _take_refused(found: Audit, line: RefusedLine, writer: ManifestWriter | None) -> None:
    verdict = Verdict(State.UNRECOVERABLE, line.reason, line.message)
    found.add_clip(verdict, f"line {line.line}")
    if writer is not None:
        writer.add(
            Lost(
                video_id="", track_id="", clip_name=line.clip_name, label="",
                state="unrecoverable", reason=line.reason,
            )
        )  # fmt: skip


def _head(config: Config, found: Audit, clock: Clock) -> dict[str, Any]:
    """Return the facts of a manifest's first line."""
    settings, catalog = config.settings, found.catalog
    return {
        "made": utc_text(clock.time()),
        "version": __version__,
        "level": found.level.name.lower(),
        "recipe": recipe_id(settings),
        "settings": {
            "encode": settings.encode.model_dump(mode="json"),
            "max_clip_seconds": settings.extract.max_clip_seconds,
        },
        "metadata": catalog.sources,
        "selection": catalog.selection.describe(),
    }


def _warn_of_recipe(config: Config) -> None:
    only = config.selection.only
    if only is not None and (head := read_head(only)).recipe != recipe_id(config.settings):
        logger.warning(
            "the clips of {} were cut with recipe {}, this configuration gives {}: the pictures "
            "will not be the same ones",
            only, head.recipe, recipe_id(config.settings),
        )  # fmt: skip


def _checked_path(config: Config, catalog: Catalog, found: Audit, rank: int | None) -> Path:
    parts = (
        catalog.identity, recipe_id(config.settings), found.level.name, rank, found.world_size,
    )  # fmt: skip
    name = hashlib.blake2b(repr(parts).encode(), digest_size=8).hexdigest()
    return config.layout.state / f"verify-{name}.bin"


def record_damage(config: Config, found: Audit) -> None:
    """Write into the ledger what it does not know yet: damaged clips and videos, so that the next
    run makes them again, and clips that are sound after all.

    In a folder that cannot be written nothing is recorded.
    """
    if not (found.damaged or found.healed or found.new_videos):
        return
    recipe = recipe_id(config.settings)
    ids = {one[0] for one in (*found.damaged, *found.healed, *found.new_videos)}
    try:
        known = read_ledger(config.layout, ids.__contains__)
        with Ledger(
            config.layout, "verify", 0, 1, found.catalog.name, selection=found.catalog.key,
            known=known,
        ) as ledger:  # fmt: skip
            for video_id, message in found.new_videos:
                # What it had when it came stays known, so that the next check finds the same.
                before = known.videos.get(video_id)
                checksum = before.checksum if before is not None else ""
                ledger.video(
                    video_id, "failed", reason="video-damaged", message=message, checksum=checksum
                )
            for video_id, track_id, reason, message in found.damaged:
                ledger.track(video_id, track_id, recipe, reason, message)
            for video_id, track_id, clip in found.healed:
                done = (track_id, clip.frames, clip.bytes, clip.checksum)
                ledger.clips(video_id, clip.recipe, [done])
    except (OSError, UsageError) as error:
        logger.warning("the damage is not recorded, since the ledger cannot be written: {}", error)
