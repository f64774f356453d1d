"""The pace that the configuration asks for, and what an answer of the host means to it."""

from __future__ import annotations

import hashlib
from contextlib import ExitStack, contextmanager, suppress
from importlib.metadata import version
from typing import TYPE_CHECKING

from trackverse_cli.download import is_browser, is_youtube
from trackverse_cli.errors import TrackverseError
from trackverse_cli.pace import (
    ACCOUNT_VIDEOS_PER_HOUR,
    GUEST_VIDEOS_PER_HOUR,
    Outcome,
    Pace,
    Rotation,
    Terms,
    account_tag,
    egress_names,
    mark_of,
    rate_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from trackverse_cli.clock import Clock
    from trackverse_cli.config import Config
    from trackverse_cli.download import DownloadError

UNPACED_VIDEOS_PER_HOUR = 360_000.0
"""For a host that is not YouTube, and whose owner set no pace."""

_TAG_CHARACTERS = 8


def videos_per_hour(config: Config) -> float:
    """Return how many videos one address may ask for in an hour."""
    download, pace = config.settings.download, config.settings.pace
    if pace.videos_per_hour is not None:
        return pace.videos_per_hour
    if not is_youtube(download.url_template):
        return UNPACED_VIDEOS_PER_HOUR
    return ACCOUNT_VIDEOS_PER_HOUR if download.cookies else GUEST_VIDEOS_PER_HOUR


def proxies_of(config: Config) -> list[str | None]:
    """Return the ways out that are used in turn: the proxies, or the one, or None for none."""
    download = config.settings.download
    return list(download.proxies) or [download.proxy]


def account_of(cookies: Path | None) -> str:
    """Return the tag of the account that the cookies sign in, empty for a guest.

    Raises:
        ConfigError: the cookie file cannot be read.
    """
    if cookies is None:
        return ""
    if is_browser(cookies):
        return hashlib.blake2b(str(cookies).encode()).hexdigest()[:_TAG_CHARACTERS]
    return account_tag(cookies)


@contextmanager
def open_rotation(
    config: Config, clock: Clock, worked_before: Callable[[], str | None]
) -> Iterator[Rotation]:
    """Yield the ways out, each with the pace that all ranks behind it share.

    Args:
        config: the configuration in force.
        clock: what to take the time from.
        worked_before: gives the id of a video that came before, to tell a host that refuses us
            from videos that are gone.

    Raises:
        ConfigError: the cookie file cannot be read.
    """
    download, own = config.settings.download, config.settings.pace
    account = account_of(download.cookies)
    terms = Terms(
        rate_of(videos_per_hour(config), own.jitter, own.share),
        own.cool_down_seconds,
        own.longest_cool_down_seconds,
        own.longest_wait_seconds,
        own.throttled_in_a_row,
        own.broken_in_a_row,
    )
    folder = own.dir or config.layout.state / "pace"
    proxies = proxies_of(config)

    def mark() -> str:
        file = (
            None if download.cookies is None or is_browser(download.cookies) else download.cookies
        )
        return mark_of(version("yt-dlp"), file)

    with ExitStack() as stack:
        ways = []
        for proxy, egress in zip(proxies, egress_names(own.egress, len(proxies)), strict=True):
            pace = Pace(
                folder, egress, account, terms, mark=mark, worked_before=worked_before, clock=clock
            )
            ways.append((proxy, stack.enter_context(pace)))
        yield Rotation(ways)


def cool_downs(config: Config, clock: Clock) -> list[tuple[str, float]]:
    """Return (egress, seconds until its cool-down ends) of each way out that is cooling down.

    Where nobody has asked yet, or the folder cannot be read, there is none.
    """
    own = config.settings.pace
    if not (own.dir or config.layout.state / "pace").is_dir():
        return []
    found = []
    with suppress(TrackverseError, OSError), open_rotation(config, clock, lambda: None) as rotation:
        for pace in rotation.paces:
            seconds = pace.cool_down_seconds()
            if seconds > 0:
                found.append((pace.name, seconds))
    return found


def outcome_of(error: DownloadError, youtube: bool) -> Outcome:
    """Return what a failed download says about us rather than about the video."""
    if error.reason == "throttled":
        return Outcome.THROTTLED
    if error.cookies_expired:
        return Outcome.COOKIES
    if error.reason == "tool":
        return Outcome.TOOL
    if youtube and "403" in error.message:
        return Outcome.FORBIDDEN
    return Outcome.OTHER
