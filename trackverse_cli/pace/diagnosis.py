"""Is it the videos or is it us? A pure reading of how requests of all ranks ended."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

RECHECK_SECONDS: Final = 3600.0
"""So long after a verdict of broken, one rank may try again although nothing has changed."""

NOBODY: Final = "-"
"""Stands for a video that is not known."""


class Outcome(StrEnum):
    """How a request ended, as far as pace and health care."""

    OK = "ok"
    TOOL = "tool"
    """yt-dlp cannot read the answer, or misses its JavaScript runtime."""
    FORBIDDEN = "forbidden"
    """403 on the media."""
    COOKIES = "cookies"
    """The account is not accepted any more."""
    THROTTLED = "throttled"
    OTHER = "other"
    """The video's own fault, or a transient one: says nothing about us."""


SUSPICIOUS: Final = frozenset({Outcome.TOOL, Outcome.FORBIDDEN, Outcome.COOKIES})


@dataclass(frozen=True, slots=True)
class Note:
    """How one request ended.

    Attributes:
        order: grows with what its writer had seen; no clock is in it.
        kind: an `Outcome`.
        mark: the tool and the cookies that were used, as 8 hex digits.
        video_id: of which video.
        broken_ms: set if a video that worked before failed: when, shared time.
        name: the file's name.
    """

    order: int
    kind: str
    mark: str
    video_id: str
    broken_ms: int | None
    name: str = ""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What the notes say.

    Attributes:
        suspect: too many failures in a row: somebody must try a video that worked before.
        broken: that failed too: the kind of failure, or None.
        order: the state of things that a trial belongs to.
        failed: how many videos failed in a row.
        worked: videos that worked before, the latest first.
        kind: the most frequent kind of failure, or "".
    """

    suspect: bool
    broken: str | None
    order: int
    failed: int
    worked: tuple[str, ...]
    kind: str


def diagnose(notes: Sequence[Note], mark: str, now_ms: int, in_a_row: int) -> Diagnosis:
    """Return what the notes say to a rank with these tools and cookies.

    Args:
        notes: oldest first.
        mark: the rank's own tool and cookies; failures with others say nothing about these.
        now_ms: shared time.
        in_a_row: after so many different videos, something is wrong.
    """
    last_ok = max((n.order for n in notes if n.mark == mark and n.kind == Outcome.OK), default=0)
    since = [n for n in notes if n.mark == mark and n.order > last_ok and n.kind in SUSPICIOUS]
    failed = {n.video_id: n.kind for n in since if n.broken_ms is None}
    kinds = Counter(failed.values()).most_common(1)
    oks = [n.video_id for n in reversed(notes) if n.kind == Outcome.OK and n.video_id != NOBODY]
    worked = tuple(dict.fromkeys(video_id for video_id in oks if video_id not in failed))
    kind = kinds[0][0] if kinds else ""
    verdicts = [n for n in since if n.broken_ms is not None]
    if verdicts:
        newest = verdicts[-1]
        fresh = now_ms - (newest.broken_ms or 0) < RECHECK_SECONDS * 1000
        broken = newest.kind if fresh else None
        return Diagnosis(not fresh, broken, newest.order, len(failed), worked, kind)
    return Diagnosis(len(failed) >= in_a_row, None, last_ok, len(failed), worked, kind)
