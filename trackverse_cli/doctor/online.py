"""One video asked for, to see whether downloads work at all; only its beginning comes."""

from __future__ import annotations

import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Final

from trackverse_cli.doctor.finding import Finding
from trackverse_cli.errors import ItemError, StoppedError, TrackverseError
from trackverse_cli.layout import Layout
from trackverse_cli.pacing import proxies_of
from trackverse_cli.reasons import MEANING, OF_THE_VIDEO

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trackverse_cli.config import Config
    from trackverse_cli.settings import DownloadSettings

LONGEST_SECONDS: Final = 120.0

_NEXT: Final = {
    "throttled": "wait an hour or more, or leave through another address",
    "offline": "run it where there is a way out, such as a transfer node, or set [download] proxy",
    "tool": "upgrade yt-dlp with `pip install -U 'yt-dlp[default]'`",
    "needs-cookies": "export the cookies anew and put them where [download] cookies says",
    "transient": "try it again",
}


def check_online(config: Config, video_id: str | None) -> Iterator[Finding]:
    """Yield what came of asking for one video, the first of the catalogue where none is named."""
    if video_id is None:
        from trackverse_cli.catalog import open_catalog

        try:
            video_id = open_catalog(config).video_ids[0]
        except (TrackverseError, IndexError) as error:
            told = f"no video to ask for ({error}); name one, or run fetch-meta first"
            yield Finding("online", "warning", told)
            return
    yield probe_online(config, video_id)


def probe_online(
    config: Config, video_id: str, longest_seconds: float = LONGEST_SECONDS
) -> Finding:
    """Ask the host for one video, as a rank would, and stop when its first bytes have come.

    Nothing is written into the dataset folder or its ledger. It is one request of the pace.

    Args:
        config: its `[download]` says how to ask.
        video_id: which video.
        longest_seconds: when to give up.
    """
    from trackverse_cli.download import Downloader

    name, stop = "online", threading.Event()
    timer = threading.Timer(longest_seconds, stop.set)
    timer.daemon = True
    timer.start()
    try:
        with (
            tempfile.TemporaryDirectory(prefix="trackverse-probe-") as folder,
            Downloader(_first_way(config), Layout(Path(folder)), stop=stop) as downloader,
        ):
            downloader.ask(video_id)
    except StoppedError:
        told = f"video {video_id}: no answer in {longest_seconds:.0f} s; is the line that slow?"
        return Finding(name, "missing", told)
    except ItemError as error:
        return _of_reason(name, video_id, error)
    except TrackverseError as error:
        return Finding(name, "missing", f"video {video_id}: {error}")
    finally:
        timer.cancel()
    return Finding(name, "ok", f"video {video_id} comes from its host")


def _first_way(config: Config) -> DownloadSettings:
    """Return the settings of a download by the first of several proxies, as a rank has them."""
    settings = config.settings.download
    return settings.model_copy(update={"proxy": proxies_of(config)[0]})


def _of_reason(name: str, video_id: str, error: ItemError) -> Finding:
    told = f"video {video_id}: {MEANING.get(error.reason, error.reason)} ({error.message})"
    if error.reason in OF_THE_VIDEO:
        # The host was reached and said so: that is about the video, not about this machine.
        return Finding(name, "warning", f"{told}; ask for another one")
    return Finding(name, "missing", f"{told}; {_NEXT.get(error.reason, 'look at the reason')}")
