"""What a merge did, or would do."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

SCHEMA_VERSION = 1
NAMED = 1000
"""Left-out files that are named; all of them are counted."""


@dataclass(frozen=True, slots=True)
class MergeOptions:
    """How to merge.

    Attributes:
        any_recipe: take clips that were cut otherwise as well.
        move: remove from the other root what is safe in this one.
        dry_run: check everything, write nothing.
        videos: `all`, `needed` or `none`: which source videos to take.
    """

    any_recipe: bool = False
    move: bool = False
    dry_run: bool = False
    videos: str = "all"


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A file of the other root that was not taken.

    Attributes:
        root: the other root.
        what: the clip's name, or the video's id.
        reason: in one word of the ledger's vocabulary.
        message: the same in a sentence.
    """

    root: str
    what: str
    reason: str
    message: str


@dataclass(slots=True)
class RootTally:
    """What came of one root.

    Attributes:
        root: which one.
        clips: clips by outcome: `brought`, `replaced` (this root's was damaged), `there` (sound
            here before), `left_out`.
        videos: videos likewise.
        reasons: reason -> clips and videos that were left out for it.
        failures: permanent failures that its ledger knew and this one did not.
        bytes: of what was brought.
        how: how it came: `reflink`, `link` or `copy` -> files.
    """

    root: str
    clips: Counter[str] = field(default_factory=Counter)
    videos: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    failures: int = 0
    bytes: int = 0
    how: Counter[str] = field(default_factory=Counter)

    def to_json(self) -> dict[str, Any]:
        """Return its part of what `merge --json` prints."""
        outcomes = ("brought", "replaced", "there", "left_out")
        return {
            "root": self.root,
            "clips": {name: self.clips[name] for name in outcomes},
            "videos": {name: self.videos[name] for name in outcomes},
            "reasons": dict(self.reasons.most_common()),
            "failures": self.failures,
            "bytes": self.bytes,
            "how": dict(self.how.most_common()),
        }


@dataclass(slots=True)
class Merged:
    """What came of all roots.

    Attributes:
        dry_run: whether nothing was written.
        roots: one after the other.
        left_out: the first files that were not taken, by name.
    """

    dry_run: bool
    roots: list[RootTally] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)

    @property
    def exit_code(self) -> int:
        """0 if everything that was there could be taken, else 1."""
        return 1 if any(tally.reasons for tally in self.roots) else 0

    def leave_out(self, tally: RootTally, one: LeftOut) -> None:
        """Count, and as long as they are few, name a file that was not taken."""
        tally.reasons[one.reason] += 1
        if len(self.left_out) < NAMED:
            self.left_out.append(one)

    def to_json(self) -> dict[str, Any]:
        """Return what `merge --json` prints."""
        return {
            "schema": SCHEMA_VERSION,
            "dry_run": self.dry_run,
            "roots": [tally.to_json() for tally in self.roots],
            "left_out": [
                {"root": one.root, "what": one.what, "reason": one.reason, "message": one.message}
                for one in self.left_out
            ],
        }
