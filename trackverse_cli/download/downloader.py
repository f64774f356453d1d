"""One video from its host into the dataset folder, whole or not at all; the only home of yt_dlp.

The downloader's name for an unfinished file holds the format, so that no file is ever continued
with bytes of another; a finished one is read to its end before it gets its place.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Self

from trackverse_cli.clock import Clock, SystemClock
from trackverse_cli.download.errors import (
    RESUMABLE,
    DownloadError,
    classify,
    clean_message,
    http_status,
)
from trackverse_cli.download.info import check_info
from trackverse_cli.download.options import (
    check_settings,
    downloader_options,
    is_youtube,
    node_folder,
    read_cookies,
)
from trackverse_cli.download.patience import LONGEST_WAIT_SECONDS, Patience, backoff_seconds
from trackverse_cli.download.place import DownloadedVideo, place
from trackverse_cli.download.session import Arrivals, Log, WebOnly
from trackverse_cli.download.storage import storage_error, storage_problem
from trackverse_cli.errors import ConfigError, TrackverseError
from trackverse_cli.files import make_folder
from trackverse_cli.layout import check_video_id

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from trackverse_cli.layout import Layout
    from trackverse_cli.settings import DownloadSettings


ATTEMPTS: Final = 3
"""How often a download is tried whose failure may be over in a moment."""

_UNFINISHED = re.compile(r"\.part(-Frag\d+.*)?$|\.ytdl$")


class Downloader:
    """Brings videos, one at a time. One thread uses it; another thread takes another.

    Args:
        settings: `[download]`.
        layout: the dataset folder.
        clock: for the waits between attempts.
        stop: ends a download within seconds once it is set; what has come is kept.
        on_bytes: called with the number of bytes that have just come.
        register: called once with the new `YoutubeDL`, to add the extractors to use instead of
            the downloader's own.

    Raises:
        ConfigError: an option, the address or the cookie file cannot be used.
    """

    def __init__(
        self,
        settings: DownloadSettings,
        layout: Layout,
        *,
        clock: Clock | None = None,
        stop: threading.Event | None = None,
        on_bytes: Callable[[int], None] | None = None,
        register: Callable[[Any], None] | None = None,
    ) -> None:
        check_settings(settings)
        self._settings = settings
        self._layout = layout
        self._clock = clock or SystemClock()
        self._patience = Patience(self._clock, stop)
        self._register = register
        self._cookies = read_cookies(settings.cookies)
        self._youtube = is_youtube(settings.url_template)
        self._log = Log()
        self._session: Any = None
        self._video_id = ""
        self._arrivals = Arrivals(on_bytes)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections; the cookie file stays as it is."""
        session, self._session = self._session, None
        if session is not None:
            session.close()

    def fetch(self, video_id: str, needed_seconds: float = 0.0) -> DownloadedVideo:  # noqa: ARG002 - for fetching only the stretches that are needed
        """Bring one video to its place, replacing what is there.

        Args:
            video_id: the id.
            needed_seconds: the end of the last track of the video; a shorter video is no error.

        Raises:
            DownloadError: this video cannot be had; failures of a moment were tried again.
            TryLaterError: the storage is full.
            LacksError: the storage cannot be written to.
            StoppedError: `stop` was set.
            RefusedNameError: the id is none.
            ConfigError: the downloader does not take an option.
        """
        check_video_id(video_id)
        make_folder(self._layout.partial, "the folder of unfinished downloads")
        attempt = 1
        while True:
            self._patience.check()
            try:
                return self._attempt(video_id)
            except DownloadError as error:
                if error.reason not in RESUMABLE:
                    self._forget(video_id)
                wait = max(backoff_seconds(attempt), error.retry_after_seconds or 0.0)
                last = attempt >= ATTEMPTS or wait > LONGEST_WAIT_SECONDS
                if error.reason != "transient" or last:
                    raise
            self._patience.wait(wait)
            attempt += 1

    def _attempt(self, video_id: str) -> DownloadedVideo:
        # A finished file that a killed run left would be taken for this one, whatever it is.
        self._forget(video_id, resumable=False)
        info = self._patience.do(lambda: self._download(video_id), self._abandon)
        lengths = self._session.lengths if self._session is not None else {}
        try:
            video = place(self._layout, video_id, info, lengths)
        except DownloadError:
            self._forget(video_id)
            raise
        except OSError as error:
            raise storage_error(error, self._layout.videos) from error
        self._forget(video_id)
        return video

    def _download(self, video_id: str) -> dict[str, Any]:
        """Let the downloader bring the file into the folder of unfinished ones."""
        self._video_id = video_id
        self._log.warnings.clear()
        self._arrivals.start(self._layout.partial.glob(f"{video_id}.*.part"))
        session = self._session = self._session or self._new_session()
        session.refusal = None
        session.lengths.clear()
        session.params["outtmpl"]["default"] = f"{video_id}.%(format_id).40s.%(ext)s"
        url = self._settings.url_template.replace("{video_id}", video_id)
        try:
            info = session.extract_info(url, download=True)
        except TrackverseError:
            raise
        except Exception as error:
            # Extractors raise whatever they like; it is sorted by what it says.
            raise self._failure(error, session) from error
        if not info or not info.get("requested_downloads"):
            raise DownloadError("tool", "the downloader ended without an error and without a file")
        return dict(info)

    def _failure(self, error: Exception, session: Any) -> TrackverseError:
        problem = storage_problem(error)
        if problem is not None:
            return storage_error(problem, self._layout.videos)
        if http_status(error) == 416:
            self._forget(self._video_id)
        reason, message, wait = classify(
            error, self._log.warnings, self._youtube, self._clock.time()
        )
        if wait is None and reason in ("transient", "throttled"):
            wait = session.asked_seconds(self._clock.time())
        return DownloadError(reason, message, wait)

    def _new_session(self) -> Any:
        """Return a new YoutubeDL, which never asks for more than web addresses."""
        from yt_dlp.utils import YoutubeDLError

        node = node_folder()
        os.environ.setdefault("DENO_DIR", str(node / "deno"))
        hooks = {
            "logger": self._log,
            "match_filter": self._check_info,
            "progress_hooks": [self._on_progress],
        }
        options = downloader_options(
            self._settings,
            partial=self._layout.partial,
            node=node,
            cookies=self._cookies,
            wait=self._wait_inside,
            hooks=hooks,
        )
        try:
            session = _session_type()(options, auto_init=self._register is None)
            # Loads the cookies, so that a browser's that cannot be read is said at once.
            _ = session.cookiejar
        except (ValueError, TypeError, AttributeError, SyntaxError, YoutubeDLError) as error:
            said = clean_message(str(error))
            raise ConfigError(
                f"the downloader does not take its options: {said}; look at [download] yt_dlp"
            ) from error
        session.folder, session.lengths = self._layout.partial, {}
        if self._register is not None:
            self._register(session)
        elif not self._youtube:
            session.refuse_embeds()
        return session

    def _check_info(self, info: dict[str, Any], *, incomplete: object = False) -> None:
        """Raise for what must not be downloaded; asked by the downloader before it does."""
        expected = self._video_id if self._youtube else None
        check_info(info, incomplete=bool(incomplete), expected_id=expected)

    def _on_progress(self, state: dict[str, Any]) -> None:
        self._patience.check()
        self._arrivals.update(state)

    def _wait_inside(self, n: int) -> float:
        """Wait before the downloader's own retry number `n`, from 0; leave it none to wait."""
        self._patience.check()
        asked = min(self._session.asked_seconds(self._clock.time()) or 0.0, LONGEST_WAIT_SECONDS)
        self._patience.wait(max(backoff_seconds(n + 1), asked))
        return 0.0

    def _abandon(self) -> None:
        self._session = None

    def _forget(self, video_id: str, *, resumable: bool = True) -> None:
        """Remove what is left of a video among the unfinished ones."""
        for path in self._layout.partial.glob(f"{video_id}.*"):
            if resumable or not _UNFINISHED.search(path.name):
                with suppress(FileNotFoundError):
                    path.unlink()


def _session_type() -> Any:
    """Return a YoutubeDL that stays on the web; yt_dlp is loaded by this, and by nothing before."""
    from yt_dlp import YoutubeDL

    return type("Session", (WebOnly, YoutubeDL), {})
