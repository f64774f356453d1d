"""Names of egresses and accounts: checked before they become folders."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

from trackverse_cli.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

_EGRESS = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_TAG = re.compile(r"[a-z0-9]{1,32}")
_LOGINS = ("SAPISID", "__Secure-3PAPISID", "__Secure-1PAPISID", "LOGIN_INFO")


def checked_egress(name: str) -> str:
    """Return `name` if it can name a folder on any file system.

    Raises:
        ConfigError: it cannot.
    """
    if not _EGRESS.fullmatch(name):
        raise ConfigError(
            f"[pace] egress {name[:80]!r} is no name for an address: use 1 to 64 of "
            "A-Z, a-z, 0-9, - and _, beginning with a letter or a digit"
        )
    return name


def folder_name(egress: str, account: str = "") -> str:
    """Return the name of the folder of an egress and an account's tag ("" for a guest).

    Raises:
        ConfigError: a name that could lead elsewhere.
    """
    if account and not _TAG.fullmatch(account):
        raise ConfigError(f"the account's tag {account[:80]!r} is not made of a-z and 0-9")
    return f"{checked_egress(egress)}.{account}" if account else checked_egress(egress)


def account_tag(cookies: Path) -> str:
    """Return 8 hex digits for the account in a Netscape cookie file.

    Copies and later exports of one login give the same tag. A file without a login is known by its
    path. Nothing can be read back from the tag.

    Raises:
        ConfigError: the file cannot be read.
    """
    try:
        lines = cookies.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise ConfigError(
            f"cannot read the cookie file {cookies}: {error.strerror}; set [download] cookies to "
            "one that this user can read, or leave it out"
        ) from error
    fields = [line.removeprefix("#HttpOnly_").split("\t") for line in lines]
    values = {field[5]: field[6] for field in fields if len(field) == 7}
    for name in _LOGINS:
        if values.get(name):
            return _tag(f"{name}={values[name]}")
    return _tag(str(cookies.resolve()))


def mark_of(version: str, cookies: Path | None) -> str:
    """Return 8 hex digits that change with the tool's version or the cookie file.

    Args:
        version: of yt-dlp, and of whatever else an upgrade would change.
        cookies: the cookie file; that it is gone counts as a change too.
    """
    if cookies is None:
        return _tag(version)
    try:
        facts = cookies.stat()
        content = hashlib.blake2b(cookies.read_bytes()).hexdigest()
    except OSError:
        return _tag(f"{version} none")
    return _tag(f"{version} {facts.st_size} {content}")


def _tag(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=4, person=b"trackverse").hexdigest()
