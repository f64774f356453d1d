"""What the downloader is told: its options, and its folder on this node."""

from __future__ import annotations

import copy
import io
import os
import stat
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from trackverse_cli.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from trackverse_cli.download.cookies import Cookies
    from trackverse_cli.settings import DownloadSettings

FORMAT: Final = (
    "bv[vcodec^=avc1][protocol^=http][format_id!*=sr]/bv[ext=mp4][protocol^=http][format_id!*=sr]"
    "/bv[protocol^=http][format_id!*=sr]/b[ext=mp4][protocol^=http]/bv/b"
)
"""Pictures alone where the host offers them so, H.264 first, none that was scaled up."""

_NOWHERE: Final = "/nonexistent/trackverse-asks-by-itself"

SOCKET_TIMEOUT_SECONDS = 20.0
BLOCK_BYTES = 16 << 10
RETRIES = 2
"""How often the downloader itself goes on where a line broke, within one attempt of ours."""

_OURS: Final = frozenset(
    {
        # where files go, and under which name
        "paths", "outtmpl", "outtmpl_na_placeholder", "final_ext", "nopart", "restrictfilenames",
        "windowsfilenames", "trim_file_name", "overwrites", "nooverwrites", "continuedl",
        "download_archive", "load_info_filename",
        # how it speaks with us
        "cookiefile", "cookiesfrombrowser", "logger", "progress_hooks", "post_hooks",
        "postprocessor_hooks",
        "match_filter", "retry_sleep_functions", "ignoreerrors", "quiet", "logtostderr", "verbose",
        "progress_with_newline", "forceprint", "print_to_file", "forcejson", "dump_single_json",
        # what would make a file other than what it claims, or wait without end
        "simulate", "skip_download", "test", "download_ranges", "postprocessors", "fixup",
        "skip_unavailable_fragments", "throttledratelimit", "wait_for_video", "live_from_start",
        "extract_flat", "noplaylist", "playlist_items", "enable_file_urls", "listformats",
        "external_downloader", "external_downloader_args", "ffmpeg_location", "hls_prefer_native",
        "listsubtitles", "list_thumbnails", "ignore_no_formats_error", "allow_unplayable_formats",
    }
)  # fmt: skip


def check_settings(settings: DownloadSettings) -> None:
    """Refuse an address or an option that cannot be.

    Raises:
        ConfigError: there is one.
    """
    _check_url_template(settings.url_template)
    _check_passed(settings.yt_dlp)


def _check_url_template(template: str) -> None:
    try:
        parts = urlsplit(template.replace("{video_id}", "-" * 11))
        good = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        good = False
    if not good:
        raise ConfigError(
            "[download] url_template must be an http or https address that holds {video_id}, "
            "such as https://www.youtube.com/watch?v={video_id}"
        )


def is_youtube(url: str) -> bool:
    """Say whether an address is one of YouTube's own."""
    host = (urlsplit(url).hostname or "").removesuffix(".")
    names = ("youtube.com", "youtu.be", "youtube-nocookie.com")
    return any(host == name or host.endswith(f".{name}") for name in names)


def _check_passed(options: dict[str, Any]) -> None:
    taken = sorted(_OURS.intersection(options))
    if taken:
        raise ConfigError(
            f"[download] yt_dlp.{taken[0]} cannot be set: where files go, what is kept and how it "
            "is logged is decided here; remove the key"
        )


def downloader_options(
    settings: DownloadSettings,
    *,
    partial: Path,
    node: Path,
    cookies: Cookies,
    wait: Callable[[int], float],
    hooks: dict[str, Any],
) -> dict[str, Any]:
    """Return a fresh set of options; the downloader changes what it is given.

    Args:
        settings: the user's, whose own options come last.
        partial: where unfinished files go.
        node: a folder on this node, for what may be forgotten.
        cookies: those of this process.
        wait: called with the number of earlier retries; waits itself and returns 0.
        hooks: logger, match_filter and progress_hooks.
    """
    options: dict[str, Any] = {
        "format": FORMAT,
        "format_sort": [f"res:{settings.max_height}", "+vcodec:avc", "proto"],
        "noplaylist": True,
        "quiet": True,
        "noprogress": True,
        "color": "never",
        "paths": {"home": str(partial)},
        "continuedl": True,
        "retries": RETRIES,
        "fragment_retries": RETRIES,
        "extractor_retries": RETRIES,
        # Small steps, so that a slow host is told from a silent one.
        "buffersize": BLOCK_BYTES,
        "noresizebuffer": True,
        "socket_timeout": SOCKET_TIMEOUT_SECONDS,
        "retry_sleep_functions": dict.fromkeys(("http", "fragment", "extractor"), wait),
        "skip_unavailable_fragments": False,
        "fixup": "never",
        # FFmpeg would be told keys on its command line, and go where its playlists lead.
        "hls_prefer_native": True,
        "ffmpeg_location": _NOWHERE,
        "cachedir": str(node / "yt-dlp"),
        **hooks,
    }
    if is_youtube(settings.url_template):
        # Quick to construct, and no page can lead to somebody else's video.
        options["allowed_extractors"] = ["youtube$"]
    if settings.proxy is not None:
        options["proxy"] = settings.proxy
    if cookies.text is not None:
        # A copy of this session's own: the downloader writes back to what it is given.
        options["cookiefile"] = io.StringIO(cookies.text)
    options.update(cookies.options())
    options.update(copy.deepcopy(settings.yt_dlp))
    return options


def node_folder() -> Path:
    """Return a folder of this user's own on this node, for what the downloader may forget.

    It holds scripts that will be run, so one that others could have written to is passed over.
    """
    folder = Path(tempfile.gettempdir()) / f"trackverse-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError:
        return Path(tempfile.mkdtemp(prefix="trackverse-"))
    ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o077
    return folder if ours else Path(tempfile.mkdtemp(prefix="trackverse-"))
