"""One video file, opened by PyAV: what it is, and the frames that some span needs."""

from __future__ import annotations

import math
import os
from collections import deque
from typing import TYPE_CHECKING

import av

from trackverse_cli.decoding.display import Display
from trackverse_cli.decoding.key_frames import KeyFrames
from trackverse_cli.decoding.opening import describe, is_full_range, opened, unreadable
from trackverse_cli.decoding.pictures import is_sound
from trackverse_cli.decoding.rationals import as_fraction
from trackverse_cli.decoding.sieve import Sieve
from trackverse_cli.decoding.spans import TIE_SECONDS, merged
from trackverse_cli.interfaces import Damage
from trackverse_cli.means import raise_if_lacking

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from av import Packet, VideoFrame
    from av.codec.hwaccel import HWAccel
    from av.video.stream import VideoStream

    from trackverse_cli.errors import DamagedFileError

GAP_SECONDS = 10.0
"""Where the container has no index of key frames, a longer gap is sought over, not decoded."""

SKIPPING = frozenset({"h264"})
"""FFmpeg's decoders that leave out, if told so under way, what nothing at all is predicted from."""

_STEPS_BACK = (0.0, 2.0, 8.0, 32.0)
"""Seconds by which a seek that landed too late is repeated earlier, before the very start."""


class Reader:
    """A video file of any kind that FFmpeg reads.

    Args:
        path: the file.
        threads: decoding threads on the CPU; 0 for as many as there are cores, up to 4.
        hwaccel: what decodes on a card, or None.

    Attributes:
        info: what the video is, as displayed.
        display: how its coded pixels become what a viewer sees.
        full_range: whether its values go from 0 to 255.
        formats: (pixel format, format within a card's memory or None) of its first frame.

    Raises:
        DamagedFileError: no video can be read from it.
    """

    def __init__(self, path: Path, threads: int = 0, hwaccel: HWAccel | None = None) -> None:
        self._path = path
        self._container = opened(path, hwaccel)
        self._is_by_card = hwaccel is not None
        self._stream = self._container.streams.video[0]
        self._stream.thread_type = "AUTO"
        cores = threads or min(4, os.cpu_count() or 1)
        self._stream.codec_context.thread_count = 1 if hwaccel else cores
        self._trouble = ""
        self._needed_from: int | None = None
        self._brought: int | None = None
        self._begin()
        first = self._first_frame()
        base = as_fraction(self._stream.time_base or 0)
        if first is None or not base:
            self.close()
            why = f"its first frame cannot be decoded ({self._trouble})"
            raise self._damaged(why if self._trouble else "it holds no frame")
        self._base = base
        self._keys = KeyFrames(self._stream, self._base)
        self.formats = (first.format.name, first.sw_format.name if first.sw_format else None)
        self.display = Display.of(first, self._stream.sample_aspect_ratio)
        self.info = describe(self._container, self._base, self.display.size)
        self.full_range = is_full_range(self._stream)

    def _damaged(self, why: str) -> DamagedFileError:
        return unreadable(self._path, why)

    @property
    def what(self) -> str:
        """The codec and pixel format, for people."""
        return f"{self.info.codec} {self._stream.codec_context.pix_fmt}"

    def close(self) -> None:
        """Close the file; frames that were handed out stay valid."""
        self._begin()
        self._container.close()

    def frames(self, spans: Sequence[tuple[float, float]]) -> Iterator[VideoFrame | Damage]:
        """Yield the frames that some span (start, stop), in seconds, holds, in order, each once.

        The first frame after a span comes too. Gaps that hold a key frame are sought over; between
        a key frame and a span, pictures that no other one is predicted from are not decoded where
        the decoder can tell them. Where pictures are damaged, a `Damage` takes their place.

        May be called again when it is through, for spans anywhere in the video.

        Raises:
            DamagedFileError: the file cannot be sought in.
        """
        last, goes_back = self._brought, True
        for start, stop in merged(spans):
            # As it is rounded, what lies at the very start is decoded in any case.
            self._needed_from = math.floor((start - TIE_SECONDS) / self._base)
            if goes_back and last is not None and start <= self._seconds(last) + TIE_SECONDS:
                last = None
                self._seek_before(start, -math.inf)
            else:
                self._go_to(start, last)
            goes_back = False
            lost: list[int] = []
            while (found := self._next(last)) is not None:
                last, frame = found
                self._brought = last
                at = self._seconds(last)
                if at < start - TIE_SECONDS:
                    continue
                if frame is None:
                    lost.append(last)
                else:
                    if lost:
                        yield self._damage(lost)
                        lost = []
                    yield frame
                if at > stop + TIE_SECONDS:
                    break
            if lost:
                yield self._damage(lost)
            if found is None and self._trouble_reading:
                at = start if last is None else self._seconds(last) + float(1 / self.info.rate)
                why = f"it cannot be read from {at:.3f} s on ({self._trouble_reading})"
                yield Damage(at, math.inf, str(self._damaged(why)))
                return

    def _damage(self, lost: Sequence[int]) -> Damage:
        first, last = self._seconds(lost[0]), self._seconds(lost[-1])
        where = f"from {first:.3f} s to {last:.3f} s" if last > first else f"at {first:.3f} s"
        return Damage(first, last, str(self._damaged(f"its pictures {where} are damaged")))

    def _seconds(self, pts: int) -> float:
        return float(pts * self._base)

    def _next(self, last: int | None) -> tuple[int, VideoFrame | None] | None:
        """Return the next pts after `last` with its frame, None for a damaged one; or the end."""
        while True:
            while self._queue:
                pts, frame = self._queue.popleft()
                if last is None or pts > last:
                    return pts, frame
            if not self._pump():
                return None

    def _begin(self) -> None:
        """Start anew at the container's place."""
        self._packets: Iterator[Packet[VideoStream]] = self._container.demux(self._stream)
        self._sieve: Sieve[VideoFrame] = Sieve()
        self._queue: deque[tuple[int, VideoFrame | None]] = deque()
        self._trouble_reading = ""

    def _pump(self, seen: Callable[[VideoFrame], None] = lambda _: None) -> bool:
        """Decode one packet, and queue what is settled by it; False when there is none left."""
        try:
            packet = next(self._packets, None)
        except (av.error.FFmpegError, OSError, ValueError) as error:
            raise_if_lacking(error)
            self._trouble = self._trouble_reading = str(error)
            packet = None
        if packet is None:
            settled = list(self._sieve.end())
            self._queue.extend(settled)
            return bool(settled)
        if packet.size and packet.pts is not None:
            self._sieve.sent(
                packet.pts, is_key=packet.is_keyframe, is_shown=not packet.is_discard,
                is_sound=is_sound(packet, self._stream, self._is_by_card),
            )  # fmt: skip
        self._skip_if_needless(packet)
        for frame in self._decoded(packet):
            seen(frame)
            if frame.pts is not None:
                self._queue.extend(self._sieve.came(frame.pts, frame, is_corrupt=frame.is_corrupt))
        return True

    def _first_frame(self) -> VideoFrame | None:
        """Decode until there is a frame, sound or not; what is settled meanwhile is queued."""
        first: list[VideoFrame] = []
        while not first and self._pump(first.append):
            pass
        return first[0] if first else None

    def _decoded(self, packet: Packet[VideoStream]) -> Sequence[VideoFrame]:
        try:
            return packet.decode()
        except (av.error.FFmpegError, ValueError) as error:
            raise_if_lacking(error)
            self._trouble = str(error)
            self._sieve.failed()
            return ()

    def _skip_if_needless(self, packet: Packet[VideoStream]) -> None:
        """Spare the decoder a picture that nothing needs: no span, and no other picture."""
        codec, first = self._stream.codec_context, self._needed_from
        if first is not None and packet.pts is not None and codec.name in SKIPPING:
            codec.skip_frame = "NONREF" if packet.pts < first else "DEFAULT"

    def _go_to(self, start: float, last: int | None) -> None:
        """Stand where the frames from `start` on can be decoded, without decoding a gap."""
        here = self._here(last)
        key = self.key_before(start)
        if start - here > GAP_SECONDS if key is None else key > here:
            self._seek_before(start, here)

    def _seek_before(self, start: float, here: float) -> None:
        """Seek to where the frames from `start` on can be decoded from, but not back to `here`."""
        for back in _STEPS_BACK:
            if start - back <= here:
                break
            # The index sorts by decoding time, so a seek may land after the frame it was for.
            self._seek(int((start - back) / self._base))
            if self._queue and self._here(None) <= start + TIE_SECONDS:
                return
        self._seek(self._stream.start_time or 0)

    def _here(self, last: int | None) -> float:
        """Return the time in seconds of the newest frame that was decoded."""
        return self._seconds((self._queue[0][0] if self._queue else last) or 0)

    def _seek(self, pts: int) -> None:
        """Queue the first frame that can be decoded from the key frame before `pts`."""
        try:
            self._container.seek(pts, stream=self._stream, backward=True)
        except (av.error.FFmpegError, ValueError) as error:
            at = self._seconds(pts)
            raise self._damaged(f"it cannot be read at {at:.3f} s ({error})") from error
        self._begin()
        while not self._queue and self._pump():
            pass

    def key_before(self, seconds: float) -> float | None:
        """Return the time of the last key frame at or before `seconds`, or None if not indexed."""
        return self._keys.before(seconds)
