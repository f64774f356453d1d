"""What the downloader's exceptions say: their causes, the host's answer, and a clean sentence.

Nothing here imports the downloader: its exceptions are known by the names of their classes, so
that this stays cheap to load and pure to test.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from trackverse_cli.redaction import redacted

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_MESSAGE_CHARACTERS = 400


def http_status(error: BaseException) -> int | None:
    """Return the HTTP status that `error` comes from, or None."""
    response = response_of(list(causes(error)))
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
    text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    # A user and password, and whatever a query may carry besides the id of a video.
    text = re.sub(r"(\b[a-z][a-z0-9+.-]*://)[^\s/'\"]*@", r"\1", text, flags=re.IGNORECASE)
    text = re.sub(r"(https?://[^\s?'\"]+)\?(?!v=[\w-]{11}(?:[\s'\")]|$))[^\s'\")]*", r"\1", text)
    text = redacted(text)  # a host may repeat what it was told
    if len(text) > _MESSAGE_CHARACTERS:
        text = text[: _MESSAGE_CHARACTERS - 3] + "..."
    return text


def normal(text: str) -> str:
    """Return a text in lower case and with plain apostrophes, to look for sentences in."""
    return text.replace("\u2019", "'").lower()


def is_a(chain: Sequence[BaseException], *names: str) -> bool:
    """Say whether one of the errors is of a class of one of those names, or below it."""
    return any(kind.__name__ in names for error in chain for kind in type(error).__mro__)


def response_of(chain: Sequence[BaseException]) -> tuple[int, Any] | None:
    """Return (status, headers) of the innermost answer with an error status."""
    for error in reversed(chain):
        status = getattr(error, "status", None)
        if isinstance(status, int) and any(k.__name__ == "HTTPError" for k in type(error).__mro__):
            return status, getattr(getattr(error, "response", None), "headers", None)
    return None


def retry_after(error: BaseException, now: float | None = None) -> float | None:
    """Return the seconds that the host asked to wait in the answer behind `error`, or None."""
    response = response_of(list(causes(error)))
    return wait_seconds(response[1], now) if response else None


def wait_seconds(headers: Any, now: float | None) -> float | None:
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
