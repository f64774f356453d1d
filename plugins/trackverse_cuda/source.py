"""One video as PyAV decodes it, on a card or not: its frames by spans, and what it is."""

from __future__ import annotations

import os
from bisect import bisect_right
from fractions import Fraction
from functools import cached_property
from typing import TYPE_CHECKING

import av

from trackverse_cli.errors import DamagedFileError
from trackverse_cli.interfaces import Colour, VideoInfo
from trackverse_cuda.crops import CARD_FORMATS, HOST_FORMATS
from trackverse_cuda.display import Display

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from av import VideoFrame
    from av.codec.hwaccel import HWAccel

TIE_SECONDS = 1e-6
"""Times closer than this are the same time."""

GAP_SECONDS = 10.0
"""A longer gap is sought over also where nothing says that there is a key frame in it."""

_STEPS_BACK = (0.0, 2.0, 8.0, 32.0)
"""Seconds by which a seek that landed too late is repeated earlier."""


class Source:
    """A video file, with its pixels left as they were decoded.

    Args:
        path: the file.
        threads: decoding threads on the CPU; 0 for as many as there are cores, up to 4.
        hwaccel: what decodes on a card, or None.

    Raises:
        DamagedFileError: no video can be read from it.
    """

    def __init__(self, path: Path, threads: int, hwaccel: HWAccel | None = None) -> None:
        self._path = path
        self._container = self._opened(hwaccel)
        self._stream = self._container.streams.video[0]
        self._stream.thread_type = "AUTO"
        cores = threads or min(4, os.cpu_count() or 1)
        self._stream.codec_context.thread_count = 1 if hwaccel else cores
        self._decoded: Iterator[VideoFrame] = iter(())
        self._held: VideoFrame | None = None
        try:
            self._decoded = self._container.decode(self._stream)
            first = next(self._decoded, None)
        except (av.error.FFmpegError, ValueError) as error:
            self.close()
            raise self._damaged(f"its first frame cannot be decoded ({error})") from error
        if first is None or self._stream.time_base is None:
            self.close()
            raise self._damaged("it holds no frame")
        self._held = first
        self._base = Fraction(self._stream.time_base)
        self._on_card = _stays_on_card(first)
        display = Display.of(first, self._stream.sample_aspect_ratio)
        self.to_coded = display.to_coded()
        self.info = self._describe(display)

    def _opened(self, hwaccel: HWAccel | None) -> av.container.InputContainer:
        # A playlist may name other files or addresses; only this one is read.
        options = {"protocol_whitelist": "file"}
        try:
            container = av.open(str(self._path.absolute()), options=options, hwaccel=hwaccel)
        except (av.error.FFmpegError, OSError, ValueError, RuntimeError) as error:
            raise self._damaged(str(error)) from error
        if not container.streams.video:
            container.close()
            raise self._damaged("it has no video stream")
        return container

    def _damaged(self, why: str) -> DamagedFileError:
        return DamagedFileError(f"cannot read the video {self._path}: {why}")

    def _describe(self, display: Display) -> VideoInfo:
        stream, context = self._stream, self._stream.codec_context
        duration = None
        if stream.duration:
            duration = float((stream.duration + (stream.start_time or 0)) * self._base)
        elif self._container.duration:
            duration = self._container.duration / av.time_base
        colour = Colour(
            context.color_primaries, context.color_trc, context.colorspace, context.color_range
        )
        if context.format is not None and context.format.is_rgb:
            colour = Colour(matrix=1, range=1)
        elif self._full_range:
            colour = Colour(colour.primaries, colour.transfer, colour.matrix, 2)
        rate = stream.average_rate or stream.guessed_rate or stream.base_rate or Fraction(25)
        width, height = display.size
        return VideoInfo(
            width, height, Fraction(rate), self._base, duration, context.name, colour
        )  # fmt: skip

    @property
    def _full_range(self) -> bool:
        context = self._stream.codec_context
        return (context.pix_fmt or "").startswith("yuvj") or context.color_range == 2

    @property
    def on_card(self) -> bool:
        """Whether it is decoded on the card and can be taken from there; FFmpeg does not say."""
        return self._on_card

    @property
    def what(self) -> str:
        """The codec and pixel format, for people."""
        context = self._stream.codec_context
        return f"{context.name} {context.pix_fmt}"

    def close(self) -> None:
        """Close the file; frames that were handed out stay valid."""
        self._decoded, self._held = iter(()), None
        self._container.close()

    def pictures(self, spans: Sequence[tuple[float, float]]) -> Iterator[VideoFrame]:
        """Yield the frames that some span (start, stop), in seconds, holds, in order, each once.

        The first frame after a span comes too. Gaps that hold a key frame are sought over.

        Raises:
            DamagedFileError: the video cannot be decoded further.
        """
        last: int | None = None
        for start, stop in merged(spans):
            self._go_to(start, last)
            while (frame := self._next(last)) is not None:
                assert frame.pts is not None
                last, at = frame.pts, self._seconds(frame.pts)
                if at < start - TIE_SECONDS:
                    continue
                if frame.is_corrupt:
                    raise self._damaged(f"the picture at {at:.3f} s is damaged")
                yield self._plain(frame)
                if at > stop + TIE_SECONDS:
                    break

    def _seconds(self, pts: int) -> float:
        return float(pts * self._base)

    def _next(self, last: int | None) -> VideoFrame | None:
        """Return the next frame that is later than `last`, in units of the time base."""
        while True:
            frame, self._held = self._held, None
            if frame is None:
                try:
                    frame = next(self._decoded, None)
                except (av.error.FFmpegError, ValueError) as error:
                    at = "the start" if last is None else f"{self._seconds(last):.3f} s"
                    raise self._damaged(f"decoding fails after {at} ({error})") from error
            if frame is None or (frame.pts is not None and (last is None or frame.pts > last)):
                return frame

    def _go_to(self, start: float, last: int | None) -> None:
        """Stand where the frames from `start` on can be decoded, without decoding a gap."""
        here = self._here(last)
        key = self._key_before(start)
        if start - here <= GAP_SECONDS if key is None else key <= here:
            return
        for back in _STEPS_BACK:
            if start - back <= here:
                break
            # The index sorts by decoding time, so a seek may land after the frame it was for.
            self._seek(int((start - back) / self._base))
            if self._held is not None and self._here(None) <= start + TIE_SECONDS:
                return
        self._seek(self._stream.start_time or 0)

    def _here(self, last: int | None) -> float:
        """Return the time in seconds of the newest frame that was decoded."""
        return self._seconds((self._held.pts if self._held is not None else last) or 0)

    def _seek(self, pts: int) -> None:
        """Hold the first frame that can be decoded from the key frame before `pts`."""
        try:
            self._container.seek(pts, stream=self._stream, backward=True)
            self._decoded = self._container.decode(self._stream)
            self._held = next(self._decoded, None)
        except (av.error.FFmpegError, ValueError) as error:
            at = self._seconds(pts)
            raise self._damaged(f"it cannot be read at {at:.3f} s ({error})") from error

    def _key_before(self, seconds: float) -> float | None:
        """Return the time of the last key frame at or before `seconds`, None if not indexed."""
        keys, end = self._index
        place = bisect_right(keys, seconds)
        if place == len(keys) and seconds > end + 1.0:
            return None  # a fragmented file's index ends with its first fragment
        return keys[place - 1] if place else None

    @cached_property
    def _index(self) -> tuple[list[float], float]:
        """The times of the container's key frames, and where its index ends, in seconds."""
        entries = [(self._seconds(e.timestamp), e.is_keyframe) for e in self._stream.index_entries]
        keys = sorted(at for at, is_key in entries if is_key)
        return keys, max((at for at, _ in entries), default=0.0)

    def _plain(self, frame: VideoFrame) -> VideoFrame:
        """Return the frame in a form that crops are made from, on the card where it may stay."""
        if frame.format.name in HOST_FORMATS or _stays_on_card(frame):
            return frame
        if frame.format.is_rgb:
            plain = frame.reformat(
                format="yuv420p", dst_colorspace="ITU709", dst_color_range="MPEG"
            )
        elif self._full_range:
            plain = frame.reformat(
                format="yuvj420p", src_color_range="JPEG", dst_color_range="JPEG"
            )
        else:
            plain = frame.reformat(format="yuv420p")
        plain.pts, plain.time_base = frame.pts, frame.time_base
        return plain


def _stays_on_card(frame: VideoFrame) -> bool:
    form = frame.sw_format
    # DLPack leaves out the last column and row of chroma where a size is odd.
    even = frame.width % 2 == frame.height % 2 == 0
    return form is not None and form.name in CARD_FORMATS and even


def merged(spans: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the spans in order, those that overlap or touch joined."""
    joined: list[tuple[float, float]] = []
    for start, stop in sorted(spans):
        if joined and start <= joined[-1][1] + TIE_SECONDS:
            joined[-1] = (joined[-1][0], max(joined[-1][1], stop))
        else:
            joined.append((start, stop))
    return joined
