"""The proxies: is each an address that can be used, and does it answer?"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from trackverse_cli.config_check import masked
from trackverse_cli.doctor.finding import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trackverse_cli.settings import DownloadSettings

SCHEMES: Final = {
    "http": 80, "https": 443, "socks4": 1080, "socks4a": 1080, "socks5": 1080, "socks5h": 1080,
}  # fmt: skip
"""Scheme -> the port where the URL names none."""

CONNECT_SECONDS: Final = 10.0


def check_proxies(settings: DownloadSettings, online: bool) -> Iterator[Finding]:
    """Yield what is to be said of each proxy of `[download]`; with `online`, connect to it."""
    for url in [*([settings.proxy] if settings.proxy else []), *settings.proxies]:
        yield _check(url, online)


def _check(url: str, online: bool) -> Finding:
    name, shown = "proxy", str(masked(url))
    try:
        parts = urlsplit(url)
        scheme, host, port = parts.scheme.lower(), parts.hostname, parts.port
    except ValueError:
        return Finding(name, "missing", f"{shown} is no address; write http://HOST:PORT")
    if scheme not in SCHEMES:
        known = ", ".join(SCHEMES)
        told = f"{shown} is no address of a proxy; begin it with one of {known} and ://"
        return Finding(name, "missing", told)
    if not host:
        return Finding(name, "missing", f"{shown} names no host; write {scheme}://HOST:PORT")
    if not online:
        return Finding(name, "ok", f"{shown}; `doctor --online` connects to it")
    try:
        with socket.create_connection((host, port or SCHEMES[scheme]), CONNECT_SECONDS):
            pass
    except OSError as error:
        said = error.strerror or str(error) or type(error).__name__
        return Finding(name, "missing", f"{shown} cannot be reached: {said}; is it started?")
    return Finding(name, "ok", f"{shown} takes connections")
