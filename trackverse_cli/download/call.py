"""One call of the downloader after the other: what it may do, what it says, and how fast it is."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any, Final

from trackverse_cli.download.bounds import Bounds
from trackverse_cli.download.cookies import Cookies
from trackverse_cli.download.errors import (
    NO_RUNTIME,
    DownloadError,
    classify,
    has_expired_cookies,
    lacks_runtime,
)
from trackverse_cli.download.info import check_info, is_smaller
from trackverse_cli.download.options import is_youtube
from trackverse_cli.download.patience import LONGEST_WAIT_SECONDS, Patience, backoff_seconds
from trackverse_cli.download.place import forget
from trackverse_cli.download.said import http_status
from trackverse_cli.download.session import Arrivals, Log
from trackverse_cli.download.storage import storage_error, storage_problem
from trackverse_cli.download.stretches import (
    Mode,
    RangeReader,
    Spans,
    Stretches,
    bring_stretches,
    can_have_stretches,
)
from trackverse_cli.download.ydl import new_session, web_request
from trackverse_cli.errors import TrackverseError
from trackverse_cli.means import lacking
from trackverse_cli.ranges import UnfitFileError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from trackverse_cli.download.floor import SpeedFloor
    from trackverse_cli.settings import DownloadSettings


PAGE_SECONDS: Final = 300.0
"""A host that has not sent a page in so long never will; extractors work for less between two."""

_GRACE_SECONDS = 5.0


class _StretchesCameError(Exception):
    """Ends the downloader's work on a video whose stretches have come."""

    def __init__(self, stretches: Stretches) -> None:
        super().__init__()
        self.stretches = stretches


class Call:
    """Has one session of the downloader, made anew when it has to be, and watches over it.

    Args:
        settings: `[download]`.
        partial: where unfinished files go.
        patience: for waits, and to know when all has to end.
        floor: how slow a host may be.
        on_bytes: called with the number of bytes that have just come, or None.
        register: called with each new session, or None.
        on_total: called with the size of a file once its host says it, or None; it may wait.
        largest_bytes: there is never room for more.

    Attributes:
        note: why the whole file of the last video came where stretches were wanted, else empty.
        came_bytes: what came for it.

    Raises:
        ConfigError: the cookies cannot be used.
    """

    def __init__(
        self,
        settings: DownloadSettings,
        partial: Path,
        patience: Patience,
        floor: SpeedFloor,
        on_bytes: Callable[[int], None] | None,
        register: Callable[[Any], None] | None,
        on_total: Callable[[int], None] | None = None,
        largest_bytes: int | None = None,
    ) -> None:
        self._bounds = Bounds(settings.max_bytes, largest_bytes, on_total, floor)
        self.note = ""
        self.came_bytes = 0
        self._settings = settings
        self._partial = partial
        self._patience = patience
        self._floor = floor
        self._on_bytes = on_bytes
        self._register = register
        self._media = False
        self._cookies = Cookies(settings.cookies)
        self._youtube = is_youtube(settings.url_template)
        self._log = Log()
        self._session: Any = None
        self._arrivals = Arrivals(self._arrived)
        self._video_id = ""
        self._spans: Spans = ()
        self._mode: Mode = "off"

    @property
    def lengths(self) -> Mapping[str, int]:
        """Address -> bytes of the whole file behind it, where its host said it."""
        return {} if self._session is None else dict(self._session.lengths)

    def close(self) -> None:
        """Close the connections."""
        session, self._session = self._session, None
        if session is not None:
            session.close()

    def refresh_cookies(self) -> None:
        """Take the cookies as they are now; a new session begins if they are others."""
        if self._cookies.refresh():
            self.close()

    def bring(self, video_id: str, spans: Spans, mode: Mode) -> dict[str, Any] | Stretches:
        """Let the downloader bring the file into the folder of unfinished ones.

        Args:
            video_id: a checked id.
            spans: (start, stop) in seconds of what is needed; without any, the whole video comes.
            mode: whether stretches are worth having.

        Returns:
            What the downloader knows of the video and of its file, or the stretches.

        Raises:
            TrackverseError: as `Downloader.fetch` says.
        """
        self._video_id, self._spans, self._mode = video_id, spans, mode
        self.note, self.came_bytes, self._media = "", 0, False
        self._bounds.start()
        self._log.warnings.clear()
        self._arrivals.start(self._partial.glob(f"{video_id}.*.part"))
        session = self._session = self._session or self._new_session()
        session.refusal = None
        session.lengths.clear()
        session.params["outtmpl"]["default"] = f"{video_id}.%(format_id).40s.%(ext)s"
        url = self._settings.url_template.replace("{video_id}", video_id)
        try:
            info = session.extract_info(url, download=True)
        except _StretchesCameError as came:
            return came.stretches
        except TrackverseError:
            raise
        except Exception as error:
            # Extractors raise whatever they like; it is sorted by what it says.
            raise self._failure(error, session) from error
        finally:
            self._floor.end()
        if not info or not info.get("requested_downloads"):
            raise DownloadError("tool", "the downloader ended without an error and without a file")
        return dict(info)

    def ask(self, video_id: str) -> None:
        """Ask for a video and the beginning of its file, and keep nothing.

        Raises:
            TrackverseError: as `Downloader.fetch` says.
        """
        self._video_id, self._spans, self._mode, self._media = video_id, (), "off", False
        self._log.warnings.clear()
        session = self._session = self._session or self._new_session()
        session.refusal = None
        url = self._settings.url_template.replace("{video_id}", video_id)
        try:
            info = session.extract_info(url, download=False) or {}
            chosen = (info.get("requested_formats") or [info])[0]
            if chosen.get("url"):
                headers = {**(chosen.get("http_headers") or {}), "Range": "bytes=0-1023"}
                with closing(session.urlopen(web_request(str(chosen["url"]), headers))) as answer:
                    answer.read(1024)
        except TrackverseError:
            raise
        except Exception as error:
            raise self._failure(error, session) from error
        finally:
            self._floor.end()

    def _failure(self, error: Exception, session: Any) -> TrackverseError:
        problem = storage_problem(error)
        if problem is not None:
            return storage_error(problem, self._partial.parent)
        if (lacks := lacking(error)) is not None:
            return lacks
        if http_status(error) == 416:
            forget(self._partial, self._video_id)
        heard = self._log.heard
        reason, message, wait = classify(error, heard, self._youtube, self._patience.clock.time())
        if reason == "transient":
            # A line that was hung up on reads as one that broke.
            message = self._floor.said or message
        if wait is None and reason in ("transient", "throttled"):
            wait = session.asked_seconds(self._patience.clock.time())
        if reason == "needs-cookies":
            self._cookies.doubt()
        expired = reason == "needs-cookies" and has_expired_cookies(heard)
        return DownloadError(reason, message, wait, expired)

    def _new_session(self) -> Any:
        self._log.lasting.clear()
        return new_session(
            self._settings,
            partial=self._partial,
            cookies=self._cookies,
            wait=self._wait_inside,
            hooks={
                "logger": self._log,
                "match_filter": self._check_info,
                "progress_hooks": [self._on_progress],
            },
            register=self._register,
        )

    def _check_info(self, info: dict[str, Any], *, incomplete: object = False) -> None:
        """Raise for what must not be downloaded; asked by the downloader before it does."""
        expected = self._video_id if self._youtube else None
        check_info(info, incomplete=bool(incomplete), expected_id=expected)
        if incomplete:
            return
        if lacks_runtime(self._log.heard) and is_smaller(info, self._settings.max_height):
            raise DownloadError("tool", NO_RUNTIME)
        self._media = True
        self._floor.start()
        if self._spans and can_have_stretches(info):
            self._try_stretches(info)

    def _try_stretches(self, info: dict[str, Any]) -> None:
        """Bring only stretches, and end the downloader's work by that; or let it go on."""
        session = self._session
        reader = RangeReader(
            lambda url, headers: session.urlopen(web_request(url, headers)),
            str(info["url"]),
            dict(info.get("http_headers") or {}),
            self._arrived,
        )
        path = self._partial / f"{self._video_id}.ranges.mp4"
        try:
            stretches = bring_stretches(reader, info, self._spans, self._mode, path)
        except UnfitFileError as error:
            self.note = f"the whole file came: {error}"
            path.unlink(missing_ok=True)
            self._floor.start()
            return
        except OSError as error:
            raise storage_error(error, self._partial.parent) from error
        raise _StretchesCameError(stretches)

    def _arrived(self, count: int) -> None:
        self._patience.check()
        self.came_bytes += count
        self._bounds.came(self.came_bytes)
        self._floor.add(count)
        self._floor.check()
        if self._on_bytes is not None:
            self._on_bytes(count)

    def _on_progress(self, state: dict[str, Any]) -> None:
        self._patience.check()
        self._bounds.stated(int(state.get("total_bytes") or 0))
        self._bounds.came(int(state.get("downloaded_bytes") or 0))
        self._arrivals.update(state)

    def _wait_inside(self, n: int) -> float:
        """Wait before the downloader's own retry number `n`, from 0; leave it none to wait."""
        self._patience.check()
        self._floor.check()
        self._floor.end()
        asked = min(
            self._session.asked_seconds(self._patience.clock.time()) or 0.0, LONGEST_WAIT_SECONDS
        )
        self._patience.wait(max(backoff_seconds(n + 1), asked))
        self._floor.start()
        return 0.0

    def watch(self) -> None:
        """Look after the thread that downloads: a read that never ends is ended."""
        session = self._session
        if session is None:
            return
        silent = 0.0 if self._media else session.seconds_asked()
        if self._floor.is_too_slow() or silent > PAGE_SECONDS:
            session.hang_up()
        if silent > PAGE_SECONDS + _GRACE_SECONDS and not session.heard:
            # It has not even sent the head of an answer, so there is no line to hang up.
            self.abandon()
            raise DownloadError("transient", f"the host did not answer within {PAGE_SECONDS:.0f} s")

    def abandon(self) -> None:
        """Leave the session to the thread that still uses it, which then ends by itself."""
        session, self._session = self._session, None
        if session is not None:
            session.left = True
