"""The cookie file: readable, nobody else's business, and not out of date."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from trackverse_cli.doctor.finding import Finding
from trackverse_cli.download.cookies import BROWSER, read_cookies
from trackverse_cli.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LOGINS: Final = ("SAPISID", "__Secure-3PAPISID", "__Secure-1PAPISID", "LOGIN_INFO", "SID")
"""The cookies that make a session one of an account."""

_SOON_DAYS = 7
_NAME = "cookies"


def check_cookies(path: Path | None, now: float) -> Iterator[Finding]:
    """Yield what is to be said of `[download] cookies`; nothing where there are none.

    Args:
        path: a file, or a browser's as `browser:NAME`.
        now: seconds since 1970.
    """
    if path is None:
        return
    if BROWSER in str(path):
        told = f"those of a browser, {path.name}; `doctor --online` tells whether they can be read"
        yield Finding(_NAME, "ok", told)
        return
    path = path.expanduser()
    try:
        text = read_cookies(path)
        mode = path.stat().st_mode
    except ConfigError as error:
        yield Finding(_NAME, "missing", str(error))
        return
    except OSError as error:
        yield Finding(_NAME, "missing", f"{path} cannot be read: {error.strerror}")
        return
    problems = [problem for problem in (_readers(mode), _expiry(text, now)) if problem]
    if problems:
        yield Finding(_NAME, "warning", f"{path} {' and '.join(problems)}")
    else:
        yield Finding(_NAME, "ok", str(path))


def _readers(mode: int) -> str:
    if mode & 0o077:
        return "can be read by others, who can then act as you (chmod 600 it)"
    return ""


def _expiry(text: str, now: float) -> str:
    """Return what is wrong with the session, "" for nothing; the text is of whole cookies."""
    lines = [line.removeprefix("#HttpOnly_") for line in text.splitlines()]
    fields = [line.split("\t") for line in lines if line and not line.startswith("#")]
    youtube = [field for field in fields if _is_youtube(field[0])]
    if not youtube:
        return "holds no cookie of youtube.com (export it while youtube.com is open)"
    ends = [float(field[4] or 0) for field in youtube if field[5] in LOGINS and field[6]]
    if not ends:
        return "holds no login of youtube.com, so it asks as a guest (export it while signed in)"
    # 0 stands for a cookie that ends with the browser: it says nothing about the session.
    left = max(end if end > 0 else float("inf") for end in ends) - now
    if left <= 0:
        return f"expired {-left / 86400:,.0f} days ago (export it anew)"
    if left < _SOON_DAYS * 86400:
        return f"expires in {left / 86400:,.1f} days (export it anew)"
    return ""


def _is_youtube(domain: str) -> bool:
    name = domain.lstrip(".").lower()
    return name == "youtube.com" or name.endswith(".youtube.com")
