"""One video by yt-dlp: asked for, checked, and put in its place."""

from __future__ import annotations

from trackverse_cli.download.cookies import is_browser
from trackverse_cli.download.downloader import ATTEMPTS, Downloader
from trackverse_cli.download.errors import DownloadError
from trackverse_cli.download.floor import FLOOR_SECONDS
from trackverse_cli.download.options import is_youtube
from trackverse_cli.download.patience import Patience
from trackverse_cli.download.place import DownloadedVideo

__all__ = [
    "ATTEMPTS",
    "FLOOR_SECONDS",
    "DownloadError",
    "DownloadedVideo",
    "Downloader",
    "Patience",
    "is_browser",
    "is_youtube",
]
