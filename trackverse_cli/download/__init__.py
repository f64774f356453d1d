"""One video by yt-dlp: asked for, checked, and put in its place."""

from __future__ import annotations

from trackverse_cli.download.downloader import ATTEMPTS, Downloader
from trackverse_cli.download.errors import DownloadError
from trackverse_cli.download.patience import Patience
from trackverse_cli.download.place import DownloadedVideo

__all__ = ["ATTEMPTS", "DownloadError", "DownloadedVideo", "Downloader", "Patience"]
