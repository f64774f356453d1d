"""Cookies: a Netscape file, read and never written, or those of a browser on this machine."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from loguru import logger

from trackverse_cli.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

BROWSER = "browser:"

_COOKIE_FIELDS = 7
_HTTP_ONLY = "#HttpOnly_"
_BROWSER = re.compile(
    r"""(?:^|.*/)browser:
        (?P<name>[a-z]+)
        (?:\+(?P<keyring>[a-z0-9]+))?
        (?::(?!:)(?P<profile>.+?))?
        (?:::(?P<container>.+))?""",
    re.VERBOSE | re.IGNORECASE,
)
_BROWSERS = (
    "brave", "chrome", "chromium", "edge", "firefox", "opera", "safari", "vivaldi", "whale",
)  # fmt: skip

_warned: set[str] = set()


def is_browser(source: Path) -> bool:
    """Say whether `[download] cookies` means those of a browser and no file."""
    return BROWSER in str(source)


class Cookies:
    """The cookies of one process, looked at anew before each video.

    Args:
        source: a file in Netscape format, `browser:NAME[+KEYRING][:PROFILE][::CONTAINER]`, or
            None for no cookies.

    Attributes:
        text: the file's cookies in the same format, or None.
        browser: what the downloader takes for a browser's, or None.

    Raises:
        ConfigError: there is no such browser, or the file cannot be read or holds no cookie.
    """

    def __init__(self, source: Path | None) -> None:
        self.browser = None if source is None else _browser_of(str(source))
        self._path = None if source is None or self.browser else source.expanduser()
        self._shown = source
        self._stale = False
        self.text: str | None = None
        self._stamp: tuple[int, int, int] | None = None
        if self._path is not None:
            self.text, self._stamp = read_cookies(self._path), _stamp_of(self._path)
            _warn_of_readers(self._path)

    def refresh(self) -> bool:
        """Read the file again if it is another one by now.

        Returns:
            Whether the cookies may be others than before. A file that cannot be read just now
            changes nothing; it is looked at again the next time.
        """
        stale, self._stale = self._stale, False
        if self._path is None:
            return stale
        stamp = _stamp_of(self._path)
        if stamp is None or stamp == self._stamp:
            return False
        try:
            text = read_cookies(self._path)
        except ConfigError as error:
            logger.warning("{}; the cookies from before stay in use", error)
            return False
        self._stamp = stamp
        changed, self.text = text != self.text, text
        return changed

    def doubt(self) -> None:
        """Have a browser's cookies read anew before the next video: the host refused these."""
        self._stale = self.browser is not None

    def options(self) -> dict[str, Any]:
        """Return the downloader's options for a browser's cookies; none for a file's."""
        return {"cookiesfrombrowser": self.browser} if self.browser else {}


def _browser_of(source: str) -> tuple[str, str | None, str | None, str | None] | None:
    """Return (name, profile, keyring, container), None if a file is meant."""
    if BROWSER not in source:
        return None
    match = _BROWSER.fullmatch(source)
    name = match["name"].lower() if match else ""
    if match is None or name not in _BROWSERS:
        raise ConfigError(
            f"[download] cookies names a browser that is not known, {source.rpartition(BROWSER)[2]}"
            f"; write browser: and one of {', '.join(_BROWSERS)}"
        )
    keyring = match["keyring"].upper() if match["keyring"] else None
    return name, match["profile"], keyring, match["container"]


def _stamp_of(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _warn_of_readers(path: Path) -> None:
    """Say once in a process that others can read the file."""
    if str(path) in _warned:
        return
    if path.stat().st_mode & 0o077:
        _warned.add(str(path))
        logger.warning(
            "the cookie file {} can be read by others, who can then act as you; chmod 600 it",
            path,
        )


def read_cookies(path: Path) -> str:
    """Read a Netscape cookie file; it is opened for reading and never again.

    Returns:
        The file's cookies as text of the same format. Lines that are no cookie are left out,
        because the downloader would print them.

    Raises:
        ConfigError: it cannot be read, or holds no cookie in that format.
    """
    where = f"the cookie file {path} ([download] cookies)"
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigError(
            f"cannot read {where}: {error.strerror}; export it anew, or leave the setting out"
        ) from error
    except UnicodeDecodeError:
        raise ConfigError(
            f"{where} is not a text file; export it as cookies.txt in Netscape format"
        ) from None
    lines = [line for line in text.replace("\r\n", "\n").split("\n") if _is_cookie(line)]
    if not lines:
        found = "is empty" if not text.strip() else "holds no cookie in Netscape format"
        raise ConfigError(
            f"{where} {found}; export it as cookies.txt, seven fields a line with tabs between"
        )
    return "\n".join(["# Netscape HTTP Cookie File", *lines, ""])


def _is_cookie(line: str) -> bool:
    line = line.removeprefix(_HTTP_ONLY)
    fields = line.split("\t")
    if line.startswith("#") or len(fields) != _COOKIE_FIELDS:
        return False
    expires = fields[4]
    return not expires or expires.replace(".", "", 1).isdecimal()
