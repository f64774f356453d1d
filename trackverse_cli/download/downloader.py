"""One video from its host into the dataset folder, as promised or not at all.

The downloader's name for an unfinished file holds the format, so that no file is ever continued
with bytes of another; a finished one is read to its end before it gets its place.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Self

from trackverse_cli.clock import Clock, SystemClock
from trackverse_cli.download.call import Call
from trackverse_cli.download.errors import RESUMABLE, DownloadError
from trackverse_cli.download.floor import FLOOR_BYTES_PER_SECOND, FLOOR_SECONDS, SpeedFloor
from trackverse_cli.download.options import check_settings
from trackverse_cli.download.patience import LONGEST_WAIT_SECONDS, Patience, backoff_seconds
from trackverse_cli.download.place import (
    DownloadedVideo,
    forget,
    held_before,
    place,
    place_stretches,
)
from trackverse_cli.download.storage import storage_error
from trackverse_cli.download.stretches import Mode, Spans, Stretches
from trackverse_cli.files import make_folder
from trackverse_cli.layout import check_video_id

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from trackverse_cli.layout import Layout
    from trackverse_cli.settings import DownloadSettings


ATTEMPTS: Final = 3
"""How often a download is tried whose failure may be over in a moment."""


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
        ranges: whether `fetch` with spans may bring only stretches: `auto` where that saves a
            good part, `always` wherever it can, `off` never.
        floor: (bytes a second, seconds): an average below, over so long, ends an attempt.
        on_total: called with the size of a file once its host says it; it may wait for room.
        largest_bytes: there is never room for more, so a larger video is broken off.

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
        ranges: Mode = "auto",
        floor: tuple[float, float] = (FLOOR_BYTES_PER_SECOND, FLOOR_SECONDS),
        on_total: Callable[[int], None] | None = None,
        largest_bytes: int | None = None,
    ) -> None:
        check_settings(settings)
        self._layout = layout
        self._patience = Patience(clock or SystemClock(), stop)
        self._mode: Mode = ranges
        speed = SpeedFloor(*floor, self._patience.clock.monotonic)
        self._call = Call(
            settings, layout.partial, self._patience, speed, on_bytes, register, on_total,
            largest_bytes,
        )  # fmt: skip

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections; the cookie file stays as it is."""
        self._call.close()

    def fetch(
        self, video_id: str, needed_seconds: float = 0.0, spans: Spans = ()
    ) -> DownloadedVideo:
        """Bring one video to its place, replacing what is there.

        Args:
            video_id: the id.
            needed_seconds: the end of the last track of the video; a shorter video is no error.
            spans: (start, stop) in seconds of what is needed; without any, the whole video comes.
                What a file of stretches in its place holds already stays held.

        Raises:
            DownloadError: this video cannot be had; failures of a moment were tried again.
            TryLaterError: the storage is full.
            LacksError: the storage cannot be written to.
            StoppedError: `stop` was set.
            RefusedNameError: the id is none, or a symbolic link lies where the video goes.
            ConfigError: the downloader does not take an option.
        """
        check_video_id(video_id)
        self._layout.check_own(self._layout.partial, self._layout.video_target(video_id).parent)
        make_folder(self._layout.partial, "the folder of unfinished downloads")
        self._call.refresh_cookies()
        # Beside a whole file, a file of stretches would never be looked at.
        alone = self._mode != "off" and self._layout.find_video(video_id) is None
        wanted = (*spans, *held_before(self._layout, video_id)) if spans and alone else ()
        attempt = 1
        while True:
            self._patience.check()
            try:
                return self._attempt(video_id, needed_seconds, wanted)
            except DownloadError as error:
                if error.reason not in RESUMABLE:
                    forget(self._layout.partial, video_id)
                wait = max(backoff_seconds(attempt), error.retry_after_seconds or 0.0)
                last = attempt >= ATTEMPTS or wait > LONGEST_WAIT_SECONDS
                if error.reason != "transient" or last:
                    raise
            self._patience.wait(wait)
            attempt += 1

    def ask(self, video_id: str) -> None:
        """Ask for a video and the beginning of its file, and keep nothing.

        Raises:
            DownloadError: it cannot be had now.
            StoppedError: `stop` was set.
        """
        check_video_id(video_id)
        self._call.refresh_cookies()
        self._patience.do(lambda: self._call.ask(video_id), self._call.abandon, self._call.watch)

    def _attempt(self, video_id: str, needed_seconds: float, spans: Spans) -> DownloadedVideo:
        # A finished file that a killed run left would be taken for this one, whatever it is.
        forget(self._layout.partial, video_id, resumable=False)
        for path in self._layout.partial.glob(f"{video_id}.*"):
            if path.is_symlink():
                path.unlink(missing_ok=True)  # going on from it would write elsewhere
        call = self._call
        came = self._patience.do(
            lambda: call.bring(video_id, spans, self._mode), call.abandon, call.watch
        )
        try:
            if isinstance(came, Stretches):
                video = place_stretches(self._layout, video_id, came)
            else:
                video = place(self._layout, video_id, came, call.lengths, needed_seconds)
                video = replace(video, fetched_bytes=call.came_bytes, note=call.note)
        except DownloadError:
            forget(self._layout.partial, video_id)
            raise
        except OSError as error:
            raise storage_error(error, self._layout.arrivals) from error
        forget(self._layout.partial, video_id)
        return video
