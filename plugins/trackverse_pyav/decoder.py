"""One video, opened by PyAV: what it is, and the frames that some span needs."""

from __future__ import annotations

import os
from bisect import bisect_right
from fractions import Fraction
from functools import cached_property
from typing import TYPE_CHECKING

import av
import cv2

from trackverse_cli.errors import DamagedFileError
from trackverse_cli.interfaces import Colour, VideoInfo
from trackverse_pyav.crop import Crops, Display

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import numpy as np
    from av import VideoFrame
    from numpy.typing import NDArray

TIE_SECONDS = 1e-6
"""Times closer than this are the same time."""

GAP_SECONDS = 10.0
"""Where the container has no index of key frames, a longer gap is sought over, not decoded."""

INDEX_SECONDS = 1.0
"""What lies so long after the last entry of a container's index is not indexed."""

_STEPS_BACK = (0.0, 2.0, 8.0, 32.0)
"""Seconds by which a seek that landed too late is repeated earlier, before the very start."""

# Every crop runs on a thread of ours already; OpenCV's own pool would only fight with them.
cv2.setNumThreads(1)


class PyavFrame:
    """One decoded frame in main memory, as yuv420p."""

    def __init__(self, frame: VideoFrame, to_coded: NDArray[np.float64]) -> None:
        assert frame.pts is not None
        assert frame.time_base is not None
        self.pts: int = frame.pts
        self.time_base: Fraction = frame.time_base
        self._frame = frame
        self._to_coded = to_coded

    def crop(
        self, boxes: NDArray[np.float64], sizes: Sequence[tuple[int, int]]
    ) -> Sequence[VideoFrame]:
        """Return the boxes as frames of `sizes`; each is computed when it is taken."""
        return Crops(self._frame, self._to_coded, boxes, sizes)


class PyavDecoder:
    """A video file of any kind that FFmpeg reads.

    Args:
        path: the file.
        threads: decoding threads; 0 for as many as there are cores, up to 4.

    Raises:
        DamagedFileError: no video can be read from it.
    """

    hw_encoder: str | None = None

    def __init__(self, path: Path, threads: int = 0) -> None:
        self._path = path
        self._container = self._opened()
        self._stream = self._container.streams.video[0]
        self._stream.thread_type = "AUTO"
        self._stream.codec_context.thread_count = threads or min(4, os.cpu_count() or 1)
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
        self._display = _display_of(first, self._stream.sample_aspect_ratio)
        self._to_coded = self._display.to_coded()
        self.info = self._describe()

    def _opened(self) -> av.container.InputContainer:
        # A file may name other files or addresses (playlists do); only this one is read.
        options = {"protocol_whitelist": "file"}
        try:
            container = av.open(str(self._path.absolute()), options=options)
        except (av.error.FFmpegError, OSError, ValueError) as error:
            raise self._damaged(str(error)) from error
        if not container.streams.video:
            container.close()
            raise self._damaged("it has no video stream")
        return container

    def _damaged(self, why: str) -> DamagedFileError:
        return DamagedFileError(f"cannot read the video {self._path}: {why}")

    def _describe(self) -> VideoInfo:
        stream, context = self._stream, self._stream.codec_context
        assert stream.time_base is not None
        width, height = self._display.size
        rate = stream.average_rate or stream.guessed_rate or stream.base_rate or Fraction(25)
        duration = None
        if stream.duration:
            duration = float((stream.duration + (stream.start_time or 0)) * stream.time_base)
        elif self._container.duration:
            duration = self._container.duration / av.time_base
        colour = Colour(
            context.color_primaries, context.color_trc, context.colorspace, context.color_range
        )
        if context.format is not None and context.format.is_rgb:
            colour = Colour(matrix=1, range=1)
        elif self._full_range:
            colour = Colour(colour.primaries, colour.transfer, colour.matrix, 2)
        return VideoInfo(
            width, height, Fraction(rate), Fraction(stream.time_base), duration,
            context.name, colour,
        )  # fmt: skip

    @property
    def _full_range(self) -> bool:
        context = self._stream.codec_context
        return (context.pix_fmt or "").startswith("yuvj") or context.color_range == 2

    def close(self) -> None:
        """Close the file; frames that were handed out stay valid."""
        self._decoded, self._held = iter(()), None
        self._container.close()

    def frames(self, spans: Sequence[tuple[float, float]]) -> Iterator[PyavFrame]:
        """Yield the frames that some span (start, stop), in seconds, holds, in order, each once.

        The first frame after a span comes too. Gaps that hold a key frame are sought over.

        Raises:
            DamagedFileError: the video cannot be decoded further.
        """
        last: int | None = None
        for start, stop in _merged(spans):
            self._go_to(start, last)
            for frame in self._frames_after(last):
                last = frame.pts
                at = float((frame.pts or 0) * self.info.time_base)
                if at < start - TIE_SECONDS:
                    continue
                if frame.is_corrupt:
                    raise self._damaged(f"the picture at {at:.3f} s is damaged")
                yield PyavFrame(self._plain(frame), self._to_coded)
                if at > stop + TIE_SECONDS:
                    break

    def _frames_after(self, last: int | None) -> Iterator[VideoFrame]:
        """Yield the frames from here on that are later than `last`, in units of the time base."""
        while True:
            frame, self._held = self._held, None
            if frame is None:
                try:
                    frame = next(self._decoded, None)
                except (av.error.FFmpegError, ValueError) as error:
                    at = (
                        "the start"
                        if last is None
                        else f"{float(last * self.info.time_base):.3f} s"
                    )
                    raise self._damaged(f"decoding fails after {at} ({error})") from error
            if frame is None:
                return
            if frame.pts is None or (last is not None and frame.pts <= last):
                continue
            last = frame.pts
            yield frame

    def _go_to(self, start: float, last: int | None) -> None:
        """Stand where the frames from `start` on can be decoded, without decoding a gap."""
        here = self._here(last)
        key = self._key_before(start)
        near = start - here <= GAP_SECONDS if key is None else key <= here
        if near:
            return
        for back in _STEPS_BACK:
            if start - back <= here:
                break
            # The index sorts by decoding time, so a seek may land after the frame it was for.
            self._seek(int((start - back) / self.info.time_base))
            if self._held is not None and self._here(None) <= start + TIE_SECONDS:
                return
        self._seek(self._stream.start_time or 0)

    def _here(self, last: int | None) -> float:
        """Return the time in seconds of the newest frame that was decoded."""
        pts = self._held.pts if self._held is not None else last
        return float((pts or 0) * Fraction(self._stream.time_base or 1))

    def _seek(self, pts: int) -> None:
        """Hold the first frame that can be decoded from the key frame before `pts`."""
        try:
            self._container.seek(pts, stream=self._stream, backward=True)
            self._decoded = self._container.decode(self._stream)
            self._held = next(self._decoded, None)
        except (av.error.FFmpegError, ValueError) as error:
            at = float(pts * Fraction(self._stream.time_base or 1))
            raise self._damaged(f"it cannot be read at {at:.3f} s ({error})") from error

    def _key_before(self, seconds: float) -> float | None:
        """Return the time of the last key frame at or before `seconds`, None if not indexed."""
        keys = self._keys
        place = bisect_right(keys, seconds)
        if place == len(keys) and seconds > self._indexed_until + INDEX_SECONDS:
            return None  # a fragmented file's index ends with its first fragment
        return keys[place - 1] if place else None

    @cached_property
    def _indexed_until(self) -> float:
        base = float(self._stream.time_base or 1)
        return max((e.timestamp * base for e in self._stream.index_entries), default=0.0)

    @cached_property
    def _keys(self) -> list[float]:
        base = float(self._stream.time_base or 1)
        return sorted(e.timestamp * base for e in self._stream.index_entries if e.is_keyframe)

    def _plain(self, frame: VideoFrame) -> VideoFrame:
        """Return the frame as 8-bit 4:2:0 with the same range of values."""
        if frame.format.name in ("yuv420p", "yuvj420p"):
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


def _display_of(frame: VideoFrame, pixel_aspect: Fraction | None) -> Display:
    aspect = Fraction(pixel_aspect) if pixel_aspect else Fraction(1)
    rotation = round(frame.rotation / 90) * 90 % 360
    return Display((frame.width, frame.height), rotation, aspect if aspect > 0 else Fraction(1))


def _merged(spans: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the spans in order, those that overlap or touch joined."""
    merged: list[tuple[float, float]] = []
    for start, stop in sorted(spans):
        if merged and start <= merged[-1][1] + TIE_SECONDS:
            merged[-1] = (merged[-1][0], max(merged[-1][1], stop))
        else:
            merged.append((start, stop))
    return merged
