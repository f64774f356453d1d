"""What `verify` found: of each clip and video; how many of how many, why not, by class and rank."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from trackverse_cli.shards import assign
from trackverse_cli.worklist import State, Verdict

if TYPE_CHECKING:
    from trackverse_cli.catalog import Catalog
    from trackverse_cli.ledger import ClipRecord
    from trackverse_cli.probe import Level

SCHEMA_VERSION = 1
EXAMPLES = 5
"""Sentences kept for each reason."""


@dataclass(frozen=True, slots=True)
class Clip:
    """One clip that is to be."""

    row: int
    video_id: str
    track_id: str
    clip_name: str
    label: str


@dataclass(frozen=True, slots=True)
class ClipFinding:
    """What was found of one clip.

    Attributes:
        clip: which one.
        verdict: where it stands.
        frames: how many it has, 0 where nobody needed to know.
        is_news: whether it is damaged in a way that the ledger does not tell.
        healed: what to record of a clip that the ledger calls damaged and that is sound.
    """

    clip: Clip
    verdict: Verdict
    frames: int = 0
    is_news: bool = False
    healed: ClipRecord | None = None


@dataclass(frozen=True, slots=True)
class VideoFinding:
    """What was found of one video, after all its clips.

    Attributes:
        row: of the video in the catalogue.
        verdict: where it stands.
        is_news: whether it is damaged, and the ledger does not tell.
        to_mend: whether it is on disk and damaged, as far as this check or the ledger tells.
    """

    row: int
    verdict: Verdict
    is_news: bool = False
    to_mend: bool = False


@dataclass(slots=True)
class Tally:
    """Items by state; the states add up to `expected`."""

    states: Counter[State] = field(default_factory=Counter)

    @property
    def expected(self) -> int:
        """How many there are to be."""
        return self.states.total()

    @property
    def lacking(self) -> int:
        """How many are not complete."""
        return self.expected - self.states[State.COMPLETE]

    def to_json(self) -> dict[str, int]:
        """Return `expected` and the count of every state."""
        return {"expected": self.expected} | {s.value: self.states[s] for s in State}


@dataclass(slots=True)
class Audit:
    """The outcome of one `verify`.

    Attributes:
        level: how closely it looked.
        catalog: what was expected.
        world_size: the number of ranks that the work is shared by.
        clips: distinct clips of the selection and refused lines, by state.
        videos: distinct videos, by state.
        reasons: reason -> clips that are not complete for it.
        classes: class -> its clips; clips without one, and refused lines, stand under "".
        ranks: rank -> its clips; refused lines are those of rank 0.
        examples: reason -> a few sentences about them.
        adopted: complete clips that another program cut, and `adopt` took over.
        due_rows: rows of the index whose videos have a clip that another run may win.
        damaged: (video id, track id, reason, message) of clips that failed the check, and of
            which the ledger does not know it.
        healed: (video id, track id, record) of clips that the ledger calls damaged and are sound.
        damaged_videos: (video id, message) of videos that failed the check.
        new_videos: those of them that the ledger does not tell of yet.
        mend_rows: rows of the index whose videos are on disk and known to be damaged.
    """

    level: Level
    catalog: Catalog
    world_size: int = 1
    clips: Tally = field(default_factory=Tally)
    videos: Tally = field(default_factory=Tally)
    reasons: Counter[str] = field(default_factory=Counter)
    classes: dict[str, Tally] = field(default_factory=dict)
    ranks: dict[int, Tally] = field(default_factory=dict)
    examples: dict[str, list[str]] = field(default_factory=dict)
    adopted: int = 0
    due_rows: set[int] = field(default_factory=set)
    damaged: list[tuple[str, str, str, str]] = field(default_factory=list)
    healed: list[tuple[str, str, ClipRecord]] = field(default_factory=list)
    damaged_videos: list[tuple[str, str]] = field(default_factory=list)
    new_videos: list[tuple[str, str]] = field(default_factory=list)
    mend_rows: set[int] = field(default_factory=set)

    @property
    def complete(self) -> bool:
        """Whether every expected clip is there and sound."""
        return not self.clips.lacking

    @property
    def run_again(self) -> list[int]:
        """The ranks, of `world_size`, that have something left to win."""
        return due_ranks(self.catalog, self.due_rows, self.world_size)

    def add_clip(self, verdict: Verdict, what: str, label: str = "", rank: int = 0) -> None:
        """Count one clip."""
        of_class, of_rank = self.classes.get(label), self.ranks.get(rank)
        if of_class is None:
            of_class = self.classes[label] = Tally()
        if of_rank is None:
            of_rank = self.ranks[rank] = Tally()
        for tally in (self.clips, of_class, of_rank):
            tally.states[verdict.state] += 1
        if verdict.state is not State.COMPLETE:
            self.reasons[verdict.reason] += 1
            told = self.examples.setdefault(verdict.reason, [])
            if len(told) < EXAMPLES:
                told.append(f"{what}: {verdict.message}" if verdict.message else what)

    def add_video(self, video_id: str, verdict: Verdict, is_news: bool) -> None:
        """Count one video."""
        self.videos.states[verdict.state] += 1
        if verdict.state is State.DAMAGED:
            self.damaged_videos.append((video_id, verdict.message))
            if is_news:
                self.new_videos.append((video_id, verdict.message))

    def to_json(self) -> dict[str, Any]:
        """Return what `verify --json` prints."""
        return {
            "schema": SCHEMA_VERSION,
            "complete": self.complete,
            "metadata": self.catalog.name,
            "selection": self.catalog.key,
            "level": self.level.name.lower(),
            "videos": self.videos.to_json(),
            "clips": self.clips.to_json(),
            "reasons": dict(self.reasons.most_common()),
            "adopted": self.adopted,
            "classes": {name: self.classes[name].to_json() for name in sorted(self.classes)},
            "world_size": self.world_size,
            "ranks": [{"rank": r} | self.ranks[r].to_json() for r in sorted(self.ranks)],
            "run_again": self.run_again,
        }


def due_ranks(catalog: Catalog, due_rows: set[int], world_size: int) -> list[int]:
    """Return the ranks, of so many, that hold a video with something left to win."""
    ranks = assign(catalog.costs, world_size)
    return sorted({int(ranks[row]) for row in due_rows})
