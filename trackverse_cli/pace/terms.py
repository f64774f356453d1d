"""What the configuration says of an egress, and the sentences in which it ends a rank."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from trackverse_cli.pace.diagnosis import Outcome
from trackverse_cli.pace.fleet import time_text

if TYPE_CHECKING:
    from trackverse_cli.pace.health import Verdict
    from trackverse_cli.pace.spacing import Rate


@dataclass(frozen=True, slots=True)
class Terms:
    """What the configuration says of one egress.

    Attributes:
        rate: the least distance of two requests.
        cool_down_seconds: the first pause after a throttle; it doubles when throttled again.
        longest_cool_down_seconds: it grows to this.
        longest_wait_seconds: a rank that would have to wait longer for its end stops instead.
        throttled_in_a_row: so many cool-downs without an answer in between end the rank.
        broken_in_a_row: so many different videos over the fleet make the tool suspect.
    """

    rate: Rate
    cool_down_seconds: float = 3600.0
    longest_cool_down_seconds: float = 8 * 3600.0
    longest_wait_seconds: float = 600.0
    throttled_in_a_row: int = 3
    broken_in_a_row: int = 5


def come_back_sentence(egress: str, why: str, now: float, seconds: float) -> str:
    """Return when to come back, in local time.

    Args:
        egress: which one.
        why: what happened.
        now: the host's own clock, for what it shows is what a person compares with.
        seconds: from now.
    """
    back = datetime.fromtimestamp(now + seconds).astimezone()
    return (
        f"{why} (egress {egress}): run the same command again after "
        f"{back:%Y-%m-%d %H:%M %Z}, in {time_text(seconds)}"
    )


_REMEDIES = {
    Outcome.TOOL: "upgrade yt-dlp with `pip install -U 'yt-dlp[default]'`",
    Outcome.FORBIDDEN: "upgrade yt-dlp with `pip install -U 'yt-dlp[default]'`, "
    "or leave through another address",
    Outcome.COOKIES: "export the cookies anew and put them where [download] cookies says",
}


def broken_sentence(verdict: Verdict) -> str:
    """Return what to do about a verdict of broken."""
    kind = Outcome(verdict.reason) if verdict.reason in set(Outcome) else Outcome.TOOL
    remedy = _REMEDIES.get(kind, _REMEDIES[Outcome.TOOL])
    return (
        f"downloads fail for everybody ({verdict.failed} videos in a row, the last as {kind}), "
        f"also for a video that worked before; {remedy}, then run the same command again: "
        "no video was given up for it"
    )
