"""Secrets out of every text that leaves the program, whoever put them there.

Configuration is masked where it is shown; this is the net below: whatever counts as a secret is
known by its value, and taken out of log lines, error messages, tracebacks and the ledger.
"""

from __future__ import annotations

import re
from base64 import b64encode
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, urlsplit

from trackverse_cli.config_check import is_secret, masked

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_SHORTEST = 4
"""A shorter text may stand anywhere, and is no secret worth the name."""

_known: set[str] = set()


def guard(values: Iterable[str]) -> None:
    """Have some texts taken out of all that is said from now on."""
    for value in values:
        _known.update(one for one in (value, quote(value), unquote(value)) if len(one) >= _SHORTEST)


def guard_setting(dotted: str, value: Any) -> None:
    """Have what is secret in one value of the configuration taken out from now on."""
    if is_secret(dotted, value):
        guard(_texts(value))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for one in value.values():
            yield from _texts(one)
    elif isinstance(value, list):
        for one in value:
            yield from _texts(one)
    elif isinstance(value, str):
        parts = re.split(r"[/?#]", value.partition("://")[2])[0] if "://" in value else ""
        user, _, password = parts.rpartition("@")[0].partition(":")
        if password:
            # A host that repeats what it was told, repeats it as it was written.
            pair = f"{unquote(user)}:{unquote(password)}".encode()
            yield from (password, b64encode(pair).decode().rstrip("="))
        elif user:
            yield user
        elif masked(value) == value:
            yield value
            # As a scheme and its key, or as pairs: the key alone is as good.
            yield from (word.rpartition("=")[2] for word in value.replace(";", " ").split()[1:])
        yield from (pair.partition("=")[2] for pair in _queries(value))


def _queries(value: str) -> list[str]:
    try:
        query = urlsplit(value).query
    except ValueError:
        return []
    return [pair for pair in query.split("&") if masked(f"?{pair}") != f"?{pair}"]


def redacted(text: str) -> str:
    """Return a text with `***` for every secret that is known, and for what looks like one."""
    if _known:
        longest_first = sorted(_known, key=len, reverse=True)
        text = re.sub("|".join(map(re.escape, longest_first)), "***", text)
    return str(masked(text))
