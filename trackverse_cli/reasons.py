"""The vocabulary of outcomes: why a video or a clip is not there, in one word each."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

UNRECOVERABLE: Final = frozenset(
    {
        "permanent",
        "access",
        "geo",
        "geometry-mismatch",
        "beyond-end",
        "refused-name",
        "invalid-track",
    }
)
"""Reasons that no retry cures: listed by `verify`, never asked for again."""

HELD: Final = frozenset({"lacks-tail", "wrong-crop"})
"""Faults of clips that `adopt` found: they stay as they are until somebody asks."""

BLAMELESS: Final = frozenset({"throttled", "offline", "tool", "needs-cookies", "stopped"})
"""Reasons that say nothing about the video itself: this address, machine or account is meant."""

DOWNLOAD_REASONS: Final = (
    "permanent", "access", "geo", "needs-cookies", "throttled", "transient", "offline", "tool",
    "later", "ambiguous",
)  # fmt: skip
"""Why a video did not come: each failure gets one of these."""

OF_THE_VIDEO: Final = frozenset({"permanent", "access", "geo", "later", "ambiguous"})
"""Reasons of a download that are a property of the video, not of a moment or of who asks."""

SECOND_LOOK_SECONDS: Final = 24 * 3600.0
"""Two answers that name no reason count as "gone" if they lie at least so far apart."""

_DELAYS: Final = MappingProxyType(
    {
        "transient": (600.0, 24 * 3600.0),
        "throttled": (3600.0, 12 * 3600.0),
        "tool": (600.0, 24 * 3600.0),
        "later": (6 * 3600.0, 7 * 24 * 3600.0),
    }
)
"""(first, longest) seconds from a failed run to the next try; each further one doubles the first.

What is not here is due at once: the cause lies with this machine and may be mended by now.
"""

_FREE_TRIES: Final = MappingProxyType({"transient": 1, "tool": 1})
"""So many failed runs cost no delay: whoever starts a command again wants it tried."""

MEANING: Final = MappingProxyType(
    {
        "permanent": "the video is gone from its host",
        "access": "the video is private or for members only",
        "geo": "the video is not shown in this country",
        "needs-cookies": "the host wants a signed-in session",
        "throttled": "the host asked us to slow down",
        "transient": "the host or the line failed for a moment",
        "offline": "this machine could not reach the host",
        "tool": "the downloader could not read the page or find a format",
        "later": "the video has not been published yet",
        "ambiguous": "the host did not say why",
        "geometry-mismatch": "the boxes do not belong to a video of this shape",
        "beyond-end": "the track lies after the end of the video",
        "refused-name": "the metadata names a file outside the dataset, or no valid id",
        "invalid-track": "the metadata line cannot be used",
        "video-missing": "the video has not been downloaded yet",
        "video-damaged": "the video on disk cannot be read to where the track needs it",
        "not-cut": "the video is there, the clip has not been cut yet",
        "not-tried": "nobody has tried yet",
        "empty-span": "the video has no frame in the time of the track",
        "write-failed": "the file system refused the clip",
        "encoder-failed": "the encoder refused the clip",
        "clip-damaged": "the clip is there but fails its check",
        "other-recipe": "the clip was cut with other settings, or by another program",
        "lacks-tail": "the clip by other scripts ends before its track; adopt --redo cuts it again",
        "wrong-crop": "the clip by other scripts is not its track; adopt --redo cuts it again",
    }
)
"""What each reason means, for a person."""


@dataclass(frozen=True, slots=True)
class Look:
    """What one run found when it asked for a video.

    Attributes:
        time: seconds since 1970.
        reason: why it did not come, empty if it did.
    """

    time: float
    reason: str


def settle(reason: str, earlier: Iterable[Look], now: float) -> str:
    """Return the reason to write down, in the light of earlier looks at the same video.

    Args:
        reason: what this look gave.
        earlier: the looks before, in any order.
        now: seconds since 1970.

    Returns:
        `permanent` for an ambiguous answer that was given at least a day ago as well and by no
        success since; else `reason` as it is.
    """
    if reason != "ambiguous":
        return reason
    looks = list(earlier)
    came = max((look.time for look in looks if not look.reason), default=float("-inf"))
    first = min((k.time for k in looks if k.reason == reason and k.time > came), default=now)
    return "permanent" if now - first >= SECOND_LOOK_SECONDS else reason


def next_try_after(reason: str, tries: int, last_time: float) -> float:
    """Return when a video may be asked for again.

    Args:
        reason: why it did not come the last time.
        tries: how many runs in a row ended with that reason, the last one included.
        last_time: when the last one did, in seconds since 1970.

    Returns:
        Seconds since 1970; infinite if no retry cures the reason, `last_time` if it is due now.
    """
    if reason in UNRECOVERABLE:
        return float("inf")
    if reason == "ambiguous":
        return last_time + SECOND_LOOK_SECONDS
    first, longest = _DELAYS.get(reason, (0.0, 0.0))
    doublings = tries - 1 - _FREE_TRIES.get(reason, 0)
    if doublings < 0:
        return last_time
    return last_time + min(longest, first * 2.0 ** min(doublings, 30))
