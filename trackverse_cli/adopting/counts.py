"""What an adoption did, or would do."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

SCHEMA_VERSION = 1
NAMED = 1000
"""Files that were not adopted and are named; all of them are counted."""


@dataclass(frozen=True, slots=True)
class AdoptOptions:
    """How to adopt.

    Attributes:
        dry_run: check everything, write nothing.
        redo: have clips that fail cut again.
        move: remove from the other folder what is safe in this root.
        without_video: also take clips whose video is not there to hold them against.
        videos: `all`, `needed` (those with clips left to cut) or `none`: which videos to take.
        rank: which part of the work, from 0.
        world_size: how many ranks share it.
    """

    dry_run: bool = False
    redo: bool = False
    move: bool = False
    without_video: bool = False
    videos: str = "all"
    rank: int = 0
    world_size: int = 1


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A file that was not adopted.

    Attributes:
        what: the clip's name, or the video's id.
        reason: in one word of the ledger's vocabulary.
        message: the same in a sentence.
        frames: frames that a clip has, where they were counted.
        expected: frames that it is to have.
    """

    what: str
    reason: str
    message: str
    frames: int | None = None
    expected: int | None = None

    def to_json(self) -> dict[str, Any]:
        """Return its part of what `adopt --json` prints."""
        return {
            "what": self.what,
            "reason": self.reason,
            "message": self.message,
            "frames": self.frames,
            "expected_frames": self.expected,
        }


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What else lies in the folder; nothing of it is touched.

    Attributes:
        clips: files that look like clips, selected or not; None where nobody counted.
        videos: the same of videos.
        said: ids in `downloaded.txt`; None where there is no such file.
        said_missing: those of them whose video is not in the folder.
        unfinished: unfinished downloads beside the videos.
        others: names at its top that are no part of a dataset, such as progress files.
    """

    clips: int | None = None
    videos: int | None = None
    said: int | None = None
    said_missing: int = 0
    unfinished: int = 0
    others: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return its part of what `adopt --json` prints."""
        return {
            "clips": self.clips,
            "videos": self.videos,
            "downloaded_txt": self.said,
            "downloaded_txt_missing": self.said_missing,
            "unfinished": self.unfinished,
            "others": list(self.others),
        }


@dataclass(slots=True)
class Adopted:
    """What came of an adoption.

    Attributes:
        folder: what was taken over.
        made_by: `trackverse` or `original`.
        in_place: whether it is the dataset folder itself.
        options: how it was done.
        clips: selected clips by outcome: `adopted`, `there` (recorded before), `absent` (not in
            the folder), `left_out`.
        videos: likewise; `adopted`, `there`, `absent`, `left_out`.
        reasons: reason -> clips and videos that were left out for it.
        unproven: adopted clips that no video was there for.
        marked: clips that are recorded as to be cut again, or would be.
        bytes: of what was adopted.
        how: how files came from another folder: `reflink`, `link` or `copy` -> files.
        left_out: the first that were not adopted, by name.
        around: what else is there.
    """

    folder: str
    made_by: str
    in_place: bool
    options: AdoptOptions
    clips: Counter[str] = field(default_factory=Counter)
    videos: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    unproven: int = 0
    marked: int = 0
    bytes: int = 0
    how: Counter[str] = field(default_factory=Counter)
    left_out: list[LeftOut] = field(default_factory=list)
    around: Surroundings = field(default_factory=Surroundings)

    @property
    def exit_code(self) -> int:
        """0 if everything that was there could be adopted, else 1."""
        return 1 if self.reasons else 0

    @property
    def unnamed(self) -> int | None:
        """Clip files in the folder that the selection does not name; None if nobody counted."""
        if self.around.clips is None:
            return None
        here = self.clips["adopted"] + self.clips["left_out"]
        here += self.clips["there"] if self.in_place else 0
        return max(0, self.around.clips - here)

    def to_json(self) -> dict[str, Any]:
        """Return what `adopt --json` prints."""
        options, outcomes = self.options, ("adopted", "there", "absent", "left_out")
        return {
            "schema": SCHEMA_VERSION,
            "folder": self.folder,
            "made_by": self.made_by,
            "in_place": self.in_place,
            "dry_run": options.dry_run,
            "rank": options.rank,
            "world_size": options.world_size,
            "clips": {name: self.clips[name] for name in outcomes},
            "videos": {name: self.videos[name] for name in outcomes},
            "reasons": dict(self.reasons.most_common()),
            "unproven": self.unproven,
            "marked": self.marked,
            "bytes": self.bytes,
            "how": dict(self.how.most_common()),
            "left_out": [one.to_json() for one in self.left_out],
            "around": self.around.to_json(),
        }
