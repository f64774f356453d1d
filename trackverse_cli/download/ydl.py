"""The downloader itself: a session of yt_dlp that stays on the web. Its only home."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from trackverse_cli.config_check import is_credential
from trackverse_cli.download.info import place_of
from trackverse_cli.download.options import downloader_options, is_youtube, node_folder
from trackverse_cli.download.said import clean_message
from trackverse_cli.download.session import WebOnly
from trackverse_cli.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from trackverse_cli.download.cookies import Cookies
    from trackverse_cli.settings import DownloadSettings


def new_session(
    settings: DownloadSettings,
    *,
    partial: Path,
    cookies: Cookies,
    wait: Callable[[int], float],
    hooks: dict[str, Any],
    register: Callable[[Any], None] | None,
) -> Any:
    """Return a new YoutubeDL, which never asks for more than web addresses.

    Args:
        settings: `[download]`.
        partial: where unfinished files go.
        cookies: those of this process.
        wait: called with the number of earlier retries; waits itself and returns 0.
        hooks: logger, match_filter and progress_hooks.
        register: called with the session, to add the extractors to use instead of its own.

    Raises:
        ConfigError: it does not take an option, or the browser's cookies cannot be read.
    """
    from yt_dlp.utils import YoutubeDLError

    node = node_folder()
    os.environ.setdefault("DENO_DIR", str(node / "deno"))
    options = downloader_options(
        settings, partial=partial, node=node, cookies=cookies, wait=wait, hooks=hooks
    )
    try:
        session = _session_type()(options, auto_init=register is None)
        # Loads the cookies, so that a browser's that cannot be read is said at once.
        _ = session.cookiejar
    except (ValueError, TypeError, AttributeError, SyntaxError, YoutubeDLError) as error:
        raise ConfigError(_refusal(clean_message(str(error)), cookies)) from error
    session.folder, session.lengths = partial, {}
    _keep_to_its_host(session, settings.url_template)
    if register is not None:
        session.at_home = True  # whoever brings extractors says where they lead
        register(session)
    elif not is_youtube(settings.url_template):
        session.refuse_embeds()
    return session


def _keep_to_its_host(session: Any, url_template: str) -> None:
    """Have keys among the user's headers told to the host that they are for, and to no other."""
    session.own_host = urlsplit(url_template).hostname or ""
    session.at_home = place_of(session.own_host) != "web"
    session.make_request = lambda url: web_request(url, {})
    headers = session.params.get("http_headers") or {}
    keys = {name: value for name, value in headers.items() if is_credential(name)}
    for name in keys:
        del headers[name]
    session.own_headers = keys


def _refusal(said: str, cookies: Cookies) -> str:
    if cookies.browser is not None and ("cookie" in said or "browser" in said):
        return (
            f"cannot read the cookies of the browser {cookies.browser[0]} ({said}); start it once "
            "on this machine as this user, or give [download] cookies a file"
        )
    return f"the downloader does not take its options: {said}; look at [download] yt_dlp"


def web_request(url: str, headers: dict[str, str]) -> Any:
    """Return a request for `session.urlopen`."""
    from yt_dlp.networking import Request

    return Request(url, headers=headers)


def _session_type() -> Any:
    """Return a YoutubeDL that stays on the web; yt_dlp is loaded by this, and by nothing before."""
    from yt_dlp import YoutubeDL

    return type("Session", (WebOnly, YoutubeDL), {})
