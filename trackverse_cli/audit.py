"""What `verify` knows: index, ledger and disk held against each other."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from loguru import logger

from trackverse_cli.catalog import Catalog, open_catalog
from trackverse_cli.errors import ItemError, UsageError
from trackverse_cli.ledger import Ledger, read_ledger
from trackverse_cli.machine import usable_cores
from trackverse_cli.probe import Level, check_clip, check_video
from trackverse_cli.progress import progress
from trackverse_cli.recipe import recipe_id
from trackverse_cli.shards import assign, shard_rows
from trackverse_cli.worklist import COMPLETE, State, Verdict, Worklist, not_there

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import numpy as np
    from numpy.typing import NDArray

    from trackverse_cli.config import Config

SCHEMA_VERSION = 1
EXAMPLES = 5
"""Sentences kept for each reason."""


@dataclass(slots=True)
class Tally:
    """Items by state; the states add up to `expected`."""

    states: Counter[State] = field(default_factory=Counter)

    @property
    def expected(self) -> int:
        """How many there are to be."""
        return self.states.total()

    def to_json(self) -> dict[str, int]:
        """Return `expected` and the count of every state."""
        return {"expected": self.expected} | {s.value: self.states[s] for s in State}


@dataclass(slots=True)
class Audit:
    """The outcome of one `verify`.

    Attributes:
        level: how closely it looked.
        metadata: the name of the index.
        clips: distinct clips of the selection and refused lines, by state.
        videos: distinct videos, by state.
        reasons: reason -> clips that are not complete for it.
        examples: reason -> a few sentences about them.
        due_rows: rows of the index whose videos have a clip that another run may win.
        damaged: (video id, track id, reason, message) of clips that failed the check.
    """

    level: Level
    metadata: str
    clips: Tally = field(default_factory=Tally)
    videos: Tally = field(default_factory=Tally)
    reasons: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)
    due_rows: set[int] = field(default_factory=set)
    damaged: list[tuple[str, str, str, str]] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """Whether every expected clip is there and sound."""
        return self.clips.states[State.COMPLETE] == self.clips.expected

    def add_clip(self, verdict: Verdict, what: str) -> None:
        """Count one clip."""
        self.clips.states[verdict.state] += 1
        if verdict.state is not State.COMPLETE:
            self.reasons[verdict.reason] += 1
            told = self.examples.setdefault(verdict.reason, [])
            if len(told) < EXAMPLES:
                told.append(f"{what}: {verdict.message}" if verdict.message else what)

    def to_json(self) -> dict[str, Any]:
        """Return what `verify --json` prints."""
        return {
            "schema": SCHEMA_VERSION,
            "complete": self.complete,
            "metadata": self.metadata,
            "level": self.level.name.lower(),
            "videos": self.videos.to_json(),
            "clips": self.clips.to_json(),
            "reasons": dict(self.reasons.most_common()),
        }


@dataclass(frozen=True, slots=True)
class _Clip:
    row: int
    video_id: str
    track_id: str
    clip_name: str


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


def audit(config: Config, level: Level, rank: int | None = None, world_size: int = 1) -> Audit:
    """Judge every clip and video of the selection, or of one rank's shard of it.

    Args:
        config: the configuration in force.
        level: how closely to look.
        rank: judge this rank's shard alone; refused lines belong to rank 0.
        world_size: how many ranks there are.

    Raises:
        UsageError: no usable index, or no such rank.
    """
    catalog = open_catalog(config)
    rows = None if rank is None else shard_rows(catalog.costs, rank, world_size)
    return _Auditor(config, catalog, level).run(rows, refused=rank in (None, 0))


def record_damage(config: Config, found: Audit) -> None:
    """Write the damaged clips into the ledger, so that the next run cuts them again.

    In a folder that cannot be written nothing is recorded.
    """
    if not found.damaged:
        return
    try:
        with Ledger(config.layout, "verify", 0, 1, found.metadata) as ledger:
            for video_id, track_id, reason, message in found.damaged:
                recipe = recipe_id(config.settings)
                ledger.track(video_id, track_id, recipe, reason, message)
    except (OSError, UsageError) as error:
        logger.warning("the damage is not recorded, since the ledger cannot be written: {}", error)


class _Auditor:
    def __init__(self, config: Config, catalog: Catalog, level: Level) -> None:
        layout = config.layout
        self._catalog = catalog
        self._level = level
        self._workers = config.settings.extract.workers or usable_cores()
        self._layout = layout
        self._work = Worklist(layout, read_ledger(layout), recipe_id(config.settings))
        self._audit = Audit(level, catalog.name)

    def run(self, rows: NDArray[np.int64] | None, refused: bool) -> Audit:
        by_video: dict[int, list[Verdict]] = {}
        total = len(self._catalog.costs) if rows is None else len(rows)
        with (
            ThreadPoolExecutor(self._workers) as pool,
            progress("checking", total, "videos") as advance,
        ):
            judge = map if self._level is Level.PRESENCE else pool.map
            seen = 0
            # Chunks keep the queue short: a million futures at once would be gigabytes.
            for chunk in _chunks(self._clips(rows), 1024):
                for clip, verdict in zip(chunk, judge(self._clip_verdict, chunk), strict=True):
                    self._take(clip, verdict)
                    by_video.setdefault(clip.row, []).append(verdict)
                advance(len(by_video) - seen)
                seen = len(by_video)
            numbers = range(len(self._catalog.video_ids)) if rows is None else rows.tolist()
            pairs = [(number, by_video.get(number, [])) for number in numbers]
            for verdict in pool.map(self._video_verdict, pairs):
                self._audit.videos.states[verdict.state] += 1
        if refused:
            self._take_refused()
        return self._audit

    def _clips(self, rows: NDArray[np.int64] | None) -> Iterator[_Clip]:
        for table in self._catalog.clips(rows):
            columns = ("video_row", "video_id", "track_id", "clip_name")
            values = [table[name].to_pylist() for name in columns]
            for one in zip(*values, strict=True):
                yield _Clip(*one)

    def _take(self, clip: _Clip, verdict: Verdict) -> None:
        self._audit.add_clip(verdict, clip.clip_name)
        if verdict.due:
            self._audit.due_rows.add(clip.row)
        if verdict.state is State.DAMAGED:
            self._audit.damaged.append(
                (clip.video_id, clip.track_id, verdict.reason, verdict.message)
            )

    def _take_refused(self) -> None:
        for line in self._catalog.refused:
            verdict = Verdict(State.UNRECOVERABLE, line.reason, line.message)
            self._audit.add_clip(verdict, f"line {line.line}")

    def _clip_verdict(self, clip: _Clip) -> Verdict:
        verdict = self._work.clip(clip.video_id, clip.track_id, clip.clip_name)
        path = self._layout.tracks / clip.clip_name
        there = verdict.state is not State.UNRECOVERABLE and self._work.listed(path)
        if not there or self._level is Level.PRESENCE:
            return verdict
        record = self._work.ledger.clips.get((clip.video_id, clip.track_id))
        try:
            check_clip(path, clip.video_id, clip.track_id, self._work.recipe, record, self._level)
        except ItemError as error:
            return Verdict(State.DAMAGED, error.reason, error.message)
        return COMPLETE

    def _video_verdict(self, pair: tuple[int, list[Verdict]]) -> Verdict:
        row, clips = pair
        video_id = self._catalog.video_ids[row]
        path = self._work.video(video_id)
        entry = self._work.ledger.videos.get(video_id)
        if path is not None:
            try:
                if self._level > Level.PRESENCE:
                    known = entry.checksum if entry is not None else ""
                    check_video(path, self._level, known)
            except ItemError as error:
                return Verdict(State.DAMAGED, error.reason, error.message)
            return COMPLETE
        if clips and not any(verdict.due for verdict in clips):
            evicted = entry is not None and entry.state == "evicted"
            if evicted or all(verdict.state is State.COMPLETE for verdict in clips):
                return COMPLETE
        if entry is not None and entry.state == "failed":
            return not_there(entry.reason, entry.message)
        return not_there("video-missing")


def _chunks(items: Iterable[_Clip], size: int) -> Iterable[list[_Clip]]:
    chunk: list[_Clip] = []
    for item in items:
        chunk.append(item)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def due_ranks(catalog: Catalog, due_rows: set[int], world_size: int) -> list[int]:
    """Return the ranks, of so many, that hold a video with something left to win."""
    ranks = assign(catalog.costs, world_size)
    return sorted({int(ranks[row]) for row in due_rows})
