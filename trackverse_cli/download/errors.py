"""Why a download failed, in one word of the ledger's vocabulary, from what the downloader says.

Nothing here imports the downloader: its exceptions are known by the names of their classes, so
that this stays cheap to load and pure to test.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from trackverse_cli.download.said import (
    causes,
    clean_message,
    is_a,
    normal,
    response_of,
    wait_seconds,
)
from trackverse_cli.errors import ItemError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

RESUMABLE: Final = frozenset({"transient", "throttled", "offline", "tool", "needs-cookies"})
"""Reasons after which what has come so far is worth keeping."""

_THROTTLED = (
    "try again later", "rate-limited", "not a bot", "captcha challenge",
    "your ip is likely being blocked", "http error 429", "too many requests",
)  # fmt: skip
_OFFLINE = (
    "failed to resolve", "name or service not known", "temporary failure in name resolution",
    "no address associated with hostname", "network is unreachable", "no route to host",
    "connection refused", "unable to connect to proxy", "proxy authentication required",
    "certificate verify failed",
)  # fmt: skip
_TRANSIENT = (
    "timed out", "time-out", "more expected", "giving up after", "connection reset",
    "connection aborted", "remote end closed connection", "did not get any data blocks",
    "content too short", "incompleteread", "http error 5",
)  # fmt: skip

# The first line that matches decides; what blames the asker stands before what blames the video.
_SENTENCES: Final = (
    ("throttled", _THROTTLED),
    (
        "geo",
        (
            "not available in your country", "video available in your country",
            "blocked it in your country", "not available from your location",
        ),
    ),
    (
        "access",
        (
            "private video", "video is private", "members-only", "members only",
            "join this channel", "requires payment", "premium members",
        ),
    ),
    (
        "needs-cookies",
        (
            "confirm your age", "inappropriate for some users", "registered users",
            "age-restricted",
        ),
    ),
    (
        "later",
        (
            "premieres in", "premiere will begin", "live event will begin",
            "live event has ended", "processing this video",
        ),
    ),
    (
        "permanent",
        (
            "removed by the uploader", "account associated with this video has been terminated",
            "account has been terminated", "uploader has closed their", "removed for violating",
            "copyright",
        ),
    ),
    (
        "tool",
        (
            "no video formats found", "requested format is not available", "drm protected",
            "failed to extract any player response",
        ),
    ),
    ("offline", _OFFLINE),
    ("needs-cookies", ("please sign in", "use --cookies")),
    ("ambiguous", ("video unavailable", "video is unavailable")),
    ("transient", _TRANSIENT),
)  # fmt: skip

# Failures that the downloader sums up; what happened is then only in its warnings.
_SUMMARIES = (
    "failed to extract any player response", "no video formats found",
    "requested format is not available",
)  # fmt: skip
# Where YouTube says one of these, its words decide, whatever status came along.
_DECISIVE = frozenset({"throttled", "geo", "access", "needs-cookies", "later", "permanent"})
# What cookies that the host takes no more may be the cause of; with good ones it may be otherwise.
_BY_COOKIES = frozenset({"access", "needs-cookies", "throttled", "tool", "ambiguous"})
_EXPIRED = "cookies are no longer valid"
_NO_RUNTIME = (
    "no supported javascript runtime", "challenge solving failed", "signature solving failed",
)  # fmt: skip
_MEDIA = "unable to download video data"


NO_RUNTIME: Final = (
    "yt-dlp cannot run the host's JavaScript, so formats are missing: install deno and the newest "
    "solver with `pip install -U 'yt-dlp[default]' deno`"
)

NEW_COOKIES: Final = "the host no longer takes the cookies: export them anew"


class DownloadError(ItemError):
    """One video cannot be had, now or ever.

    Args:
        reason: one word of `trackverse_cli.reasons`.
        message: the host's sentence, on one line and without secrets.
        retry_after_seconds: how long the host asked to be left alone, where it said so.
        cookies_expired: whether the host no longer takes the cookies; then no video is at fault,
            and none can be won before there are new ones.
    """

    def __init__(
        self,
        reason: str,
        message: str,
        retry_after_seconds: float | None = None,
        cookies_expired: bool = False,
    ) -> None:
        super().__init__(reason, message)
        self.retry_after_seconds = retry_after_seconds
        self.cookies_expired = cookies_expired


def classify(
    error: BaseException,
    warnings: Sequence[str],
    url_is_youtube: bool,
    now: float | None = None,
) -> tuple[str, str, float | None]:
    """Say why a download failed.

    Args:
        error: what the downloader raised.
        warnings: what it only logged for this video.
        url_is_youtube: whether YouTube was asked; its statuses and sentences mean other things.
        now: seconds since 1970, for a Retry-After that names a date; the machine's own if None.

    Returns:
        The reason, the message on one line without secrets, and the seconds to wait that the
        host named, or None.
    """
    chain = list(causes(error))
    said = clean_message(str(error)) or type(error).__name__
    plain = normal(str(error))
    heard = [normal(warning) for warning in warnings]
    response = response_of(chain)
    wait = wait_seconds(response[1], now) if response else None
    if any(summary in plain for summary in _SUMMARIES):
        for reason in ("throttled", "offline", "transient"):
            for text, warning in zip(heard, warnings, strict=True):
                if any(part in text for part in _parts(reason)):
                    return reason, f"{said} ({clean_message(warning)})", wait
    reason = _reason(chain, plain, response[0] if response else None, url_is_youtube)
    if reason in _BY_COOKIES and has_expired_cookies(warnings):
        return "needs-cookies", f"{said} ({NEW_COOKIES})", wait
    if reason == "tool" and lacks_runtime(warnings):
        return reason, f"{said} ({NO_RUNTIME})", wait
    return reason, said, wait


def has_expired_cookies(warnings: Iterable[str]) -> bool:
    """Say whether the downloader noticed that the host no longer takes the cookies."""
    return any(_EXPIRED in normal(warning) for warning in warnings)


def lacks_runtime(warnings: Iterable[str]) -> bool:
    """Say whether the downloader could not run the host's JavaScript."""
    return any(part in normal(warning) for warning in warnings for part in _NO_RUNTIME)


def _parts(reason: str) -> tuple[str, ...]:
    return {"throttled": _THROTTLED, "offline": _OFFLINE, "transient": _TRANSIENT}[reason]


def _reason(chain: Sequence[BaseException], plain: str, status: int | None, youtube: bool) -> str:
    by_sentence = next((r for r, parts in _SENTENCES if any(p in plain for p in parts)), None)
    if is_a(chain, "GeoRestrictedError"):
        by_sentence = "geo"
    if youtube and by_sentence in _DECISIVE:
        return by_sentence
    by_status = None if status is None else _reason_of_status(status, _MEDIA in plain, youtube)
    decided = by_status or by_sentence
    if decided:
        return decided
    if is_a(chain, "UnsupportedError"):
        return "tool" if youtube else "ambiguous"
    if is_a(chain, "TransportError", "TimeoutError", "ConnectionError", "ContentTooShortError"):
        return "transient"
    expected = next((e.expected for e in chain if hasattr(e, "expected")), None)
    return "tool" if expected is False or not is_a(chain, "YoutubeDLError") else "ambiguous"


def _reason_of_status(status: int, media: bool, youtube: bool) -> str | None:
    """Return what an HTTP status says by itself, None if the sentence has to decide."""
    if status == 429:
        return "throttled"
    if status >= 500 or status in (408, 416, 425):
        return "transient"
    if status == 407:
        return "offline"
    if status == 403:
        page = "tool" if youtube else "access"
        return "transient" if media else page
    if youtube:
        # The addresses of YouTube's media expire; its pages answer 200 and explain themselves.
        return "transient" if media else None
    return {401: "needs-cookies", 404: "permanent", 410: "permanent", 451: "geo"}.get(status)
