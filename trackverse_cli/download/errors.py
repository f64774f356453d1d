"""Why a download failed, in one word of the ledger's vocabulary, from what the downloader says.

Nothing here imports the downloader: its exceptions are known by the names of their classes, so
that this stays cheap to load and pure to test.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Final

from trackverse_cli.errors import ItemError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

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
        ("private video", "video is private", "members-only", "members only", "join this channel"),
    ),
    ("needs-cookies", ("confirm your age", "inappropriate for some users", "registered users")),
    ("later", ("premieres in", "premiere will begin", "live event will begin")),
    (
        "permanent",
        (
            "removed by the uploader", "account associated with this video has been terminated",
            "uploader has closed their", "removed for violating", "copyright",
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
_MEDIA = "unable to download video data"

_MESSAGE_CHARACTERS = 400


class DownloadError(ItemError):
    """One video cannot be had, now or ever.

    Args:
        reason: one word of `trackverse_cli.reasons`.
        message: the host's sentence, on one line and without secrets.
        retry_after_seconds: how long the host asked to be left alone, where it said so.
    """

    def __init__(self, reason: str, message: str, retry_after_seconds: float | None = None) -> None:
        super().__init__(reason, message)
        self.retry_after_seconds = retry_after_seconds


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
    plain = _normal(str(error))
    heard = [_normal(warning) for warning in warnings]
    response = _response(chain)
    wait = _seconds_of(response[1], now) if response else None
    if any(summary in plain for summary in _SUMMARIES):
        for reason in ("throttled", "offline", "transient"):
            for text, warning in zip(heard, warnings, strict=True):
                if any(part in text for part in _parts(reason)):
                    return reason, f"{said} ({clean_message(warning)})", wait
    reason = _reason(chain, plain, response[0] if response else None, url_is_youtube)
    return reason, said, wait


def _parts(reason: str) -> tuple[str, ...]:
    return {"throttled": _THROTTLED, "offline": _OFFLINE, "transient": _TRANSIENT}[reason]


def _reason(chain: Sequence[BaseException], plain: str, status: int | None, youtube: bool) -> str:
    by_sentence = next((r for r, parts in _SENTENCES if any(p in plain for p in parts)), None)
    if _is_a(chain, "GeoRestrictedError"):
        by_sentence = "geo"
    if youtube and by_sentence in _DECISIVE:
        return by_sentence
    by_status = None if status is None else _reason_of_status(status, _MEDIA in plain, youtube)
    decided = by_status or by_sentence
    if decided:
        return decided
    if _is_a(chain, "UnsupportedError"):
        return "tool" if youtube else "ambiguous"
    if _is_a(chain, "TransportError", "TimeoutError", "ConnectionError", "ContentTooShortError"):
        return "transient"
    expected = next((e.expected for e in chain if hasattr(e, "expected")), None)
    return "tool" if expected is False or not _is_a(chain, "YoutubeDLError") else "ambiguous"


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


def http_status(error: BaseException) -> int | None:
    """Return the HTTP status that `error` comes from, or None."""
    response = _response(list(causes(error)))
    return response[0] if response else None


def causes(error: BaseException) -> Iterator[BaseException]:
    """Yield `error` and what it was made from, from the outside in, each once."""
    queue, seen = [error], set[int]()
    while queue:
        current = queue.pop(0)
        if id(current) in seen:
            continue
        seen.add(id(current))
        yield current
        info = getattr(current, "exc_info", None)
        inner = info[1] if isinstance(info, tuple) and len(info) == 3 else None
        nested = (inner, getattr(current, "cause", None), current.__cause__, current.__context__)
        queue.extend(e for e in nested if isinstance(e, BaseException))


def clean_message(text: str) -> str:
    """Return a sentence of the downloader on one line, without its advice and without secrets."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", text)
    text = re.sub(r"^\s*(ERROR|WARNING):\s*", "", text)
    text = re.sub(r"^\[[\w:.+-]+\]\s+(?:[^\s:]+:\s+)?", "", text)
    advice = r";?\s*(please report this issue on|Use --cookies|You might want to use a VPN).*"
    shorter = re.sub(advice, "", text, flags=re.DOTALL)
    # What it was caused by repeats what is said, as a program's text.
    shorter = re.sub(r"\s*\(caused by .*\)\s*$", "", shorter, flags=re.DOTALL)
    text = " ".join((shorter.strip() or text).split())
    # A user and password, and whatever a query may carry besides the id of a video.
    text = re.sub(r"(\b[a-z][a-z0-9+.-]*://)[^\s/'\"]*@", r"\1", text, flags=re.IGNORECASE)
    text = re.sub(r"(https?://[^\s?'\"]+)\?(?!v=[\w-]{11}(?:[\s'\")]|$))[^\s'\")]*", r"\1", text)
    if len(text) > _MESSAGE_CHARACTERS:
        text = text[: _MESSAGE_CHARACTERS - 3] + "..."
    return text


def _normal(text: str) -> str:
    return text.replace("\u2019", "'").lower()


def _is_a(chain: Sequence[BaseException], *names: str) -> bool:
    return any(kind.__name__ in names for error in chain for kind in type(error).__mro__)


def _response(chain: Sequence[BaseException]) -> tuple[int, Any] | None:
    """Return (status, headers) of the innermost answer with an error status."""
    for error in reversed(chain):
        status = getattr(error, "status", None)
        if isinstance(status, int) and any(k.__name__ == "HTTPError" for k in type(error).__mro__):
            return status, getattr(getattr(error, "response", None), "headers", None)
    return None


def retry_after(error: BaseException, now: float | None = None) -> float | None:
    """Return the seconds that the host asked to wait in the answer behind `error`, or None."""
    response = _response(list(causes(error)))
    return _seconds_of(response[1], now) if response else None


def _seconds_of(headers: Any, now: float | None) -> float | None:
    """Return the seconds of a Retry-After header, which holds seconds or a date."""
    value = headers.get("Retry-After") if headers is not None else None
    if not value:
        return None
    value = str(value).strip()
    if value.isdecimal():
        return float(value)
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    start = datetime.now(UTC).timestamp() if now is None else now
    return max(0.0, moment.timestamp() - start)
