"""One clip in the making: the frames it owns, its place on disk, its end."""

from __future__ import annotations

from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trackverse_cli.encode import ClipOrigin, ClipWriter
from trackverse_cli.errors import ItemError, StoppedError
from trackverse_cli.outputs.table import Member
from trackverse_cli.strands import Strand

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Sequence
    from concurrent.futures import Executor
    from pathlib import Path

    from av import VideoFrame

    from trackverse_cli.boxes import CropPlan
    from trackverse_cli.interfaces import DecoderPlugin, VideoInfo
    from trackverse_cli.metadata import Track
    from trackverse_cli.outputs import ClipSink, FinishedClip
    from trackverse_cli.settings import EncodeSettings

TIE_SECONDS = 1e-6
"""Times closer than this are the same time."""

SAMPLING_SECONDS = 1 / 16
"""Boxes were sampled 16 times a second, so the last one may lie this far after the last frame."""


@dataclass(frozen=True, slots=True)
class CutSettings:
    """How clips are cut.

    Attributes:
        decoder: the plugin that opens videos.
        decoder_settings: its validated settings.
        for_changed: a decoder, with its settings, for files that are known to have changed; None
            where `decoder` sees by itself what was changed.
        encode: the `[encode]` section.
        max_clip_seconds: where a longer track is cut off.
        recipe: the name of all of this (`trackverse_cli.recipe`).
    """

    decoder: DecoderPlugin
    decoder_settings: Any
    encode: EncodeSettings
    max_clip_seconds: float
    recipe: str
    for_changed: tuple[DecoderPlugin, Any] | None = None


@dataclass(frozen=True, slots=True)
class ClipDone:
    """A clip that its sink has taken, with what the ledger keeps of it.

    `note` says why its encoder is not the one that was meant to be; else "".
    """

    track_id: str
    frames: int
    bytes: int
    checksum: str
    finished: FinishedClip
    note: str = ""


@dataclass(frozen=True, slots=True)
class ClipSpan:
    """The times of a clip in seconds: a frame with start <= t <= stop and t < limit is in it."""

    start: float
    stop: float
    limit: float

    @classmethod
    def of(cls, track: Track, info: VideoInfo, max_seconds: float) -> ClipSpan:
        """Return the span from half a frame before the first box to half a frame after the last."""
        half = float(1 / (2 * info.rate)) + TIE_SECONDS
        first, last = float(track.frame_ts.min()), float(track.frame_ts.max())
        return cls(first - half, last + half, first + max_seconds - TIE_SECONDS)

    def over(self, at: float) -> bool:
        """Say whether no frame from `at` on is in it."""
        return at > self.stop or at >= self.limit

    def last_needed(self, frame_seconds: float) -> float:
        """Return the time of the last frame that is in it."""
        return min(self.stop - frame_seconds / 2, self.limit - frame_seconds)

    def lacks_frames(self, end: float, frame_seconds: float) -> bool:
        """Say whether frames of it are missing in a video that ends at `end`."""
        return self.last_needed(frame_seconds) > end + max(frame_seconds, SAMPLING_SECONDS)


@dataclass(frozen=True, slots=True)
class Workshop:
    """What all clips share: where they go, how they are cut, who works on them.

    Attributes:
        sink: where finished clips go.
        settings: how clips are cut.
        pool: the threads that crop and encode.
        stop: set by a signal; nothing is encoded after it.
    """

    sink: ClipSink
    settings: CutSettings
    pool: Executor
    stop: threading.Event


class ClipInProgress:
    """Takes its frames in order from the decoding thread, encodes them on the shared pool.

    Frames wait until `flush`, or the end, hands them over together: an encoder that gets many at a
    time finds more of what it needs in the caches. The public methods only queue work; `result`
    is there when the clip is published or dropped.
    """

    def __init__(
        self,
        shop: Workshop,
        track: Track,
        plan: CropPlan,
        span: ClipSpan,
        info: VideoInfo,
        hw_encoder: str | None,
    ) -> None:
        self.track = track
        self.plan = plan
        self.span = span
        self.ended = False
        self.result: Future[ClipDone] = Future()
        self._shop = shop
        self._info = info
        self._hw_encoder = hw_encoder
        self._strand = Strand(shop.pool)
        self._waiting: list[tuple[Sequence[VideoFrame], int, int, Callable[[], None]]] = []
        self._writer: ClipWriter | None = None
        self._temporary: Path | None = None

    def add(
        self, crops: Sequence[VideoFrame], place: int, pts: int, leave: Callable[[], None]
    ) -> None:
        """Take the frame `crops[place]` at `pts`; `leave` is called when it is used."""
        self._waiting.append((crops, place, pts, leave))

    def flush(self) -> None:
        """Queue the frames that wait."""
        if self._waiting:
            frames, self._waiting = self._waiting, []
            self._strand.put(lambda: self._add_all(frames))

    def finish(self) -> None:
        """Queue the end: every frame has been added."""
        self.ended = True
        self.flush()
        self._strand.put(self._finish)

    def drop(self, error: Exception) -> None:
        """Queue the end without a clip, for the reason given."""
        self.ended = True
        self.flush()
        self._strand.put(lambda: self._fail(error))

    def _add_all(
        self, frames: list[tuple[Sequence[VideoFrame], int, int, Callable[[], None]]]
    ) -> None:
        # Taken out one by one, so that nothing here keeps a frame that has been used.
        frames.reverse()
        while frames:
            self._add(*frames.pop())

    def _add(
        self, crops: Sequence[VideoFrame], place: int, pts: int, leave: Callable[[], None]
    ) -> None:
        try:
            if self._shop.stop.is_set():
                raise StoppedError(15)
            if not self.result.done():
                writer = self._writer or self._open()
                writer.add(crops[place], pts, 0)
        except Exception as error:  # noqa: BLE001 - kept for the thread that waits for the clip
            self._fail(error)
        finally:
            leave()

    def _finish(self) -> None:
        if self.result.done():
            return
        try:
            self.result.set_result(self._published())
        except Exception as error:  # noqa: BLE001 - as above
            self._fail(error)

    def _open(self) -> ClipWriter:
        settings = self._shop.settings
        self._temporary = self._shop.sink.temporary(self.track.clip_name)
        origin = ClipOrigin(
            self.track.track_id,
            self.track.video_id,
            (self._info.width, self._info.height),
            settings.recipe,
        )
        self._writer = ClipWriter(
            self._temporary,
            self.plan.clip_size,
            self._info,
            origin,
            settings.encode,
            self._hw_encoder,
        )
        return self._writer

    def _published(self) -> ClipDone:
        if self._writer is None or self._temporary is None:
            raise ItemError(
                "empty-span",
                f"the video has no frame between {self.span.start:.3f} and {self.span.stop:.3f} s",
            )
        self._writer.finish()
        track, frames, note = self.track, self._writer.frames, self._writer.note
        self._writer = None  # its encoder takes megabytes until then
        ids, names = track.label_ids, track.label_names
        member = Member(
            track.video_id, track.track_id, track.clip_name, ids[0] if ids else None,
            names[0] if names else "", frames, self._shop.settings.recipe,
        )  # fmt: skip
        done = self._shop.sink.store(self._temporary, member)
        return ClipDone(track.track_id, frames, done.bytes, done.checksum, done, note)

    def _fail(self, error: Exception) -> None:
        if self.result.done():
            return
        try:
            if self._writer is not None:
                self._writer.abort()
            self._writer = None
            if self._temporary is not None:
                with suppress(OSError):
                    self._temporary.unlink()
        finally:
            # Somebody waits for it, even where no memory was left to tidy up.
            self.result.set_exception(error)
