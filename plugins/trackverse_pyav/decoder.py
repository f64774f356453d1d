"""One video, decoded by PyAV on the CPU: the frames that some span needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2

from trackverse_cli.decoding import Reader, as_fraction, to_yuv420p
from trackverse_cli.interfaces import Damage
from trackverse_pyav.crop import Crops, upright_axes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import numpy as np
    from av import VideoFrame
    from numpy.typing import NDArray

    from trackverse_pyav.crop import Axes

CROPPED_AS_THEY_ARE = ("yuv420p", "yuvj420p")

# Every crop runs on a thread of ours already; OpenCV's own pool would only fight with them.
cv2.setNumThreads(1)


class PyavFrame:
    """One decoded frame in main memory, as yuv420p."""

    def __init__(
        self, frame: VideoFrame, to_coded: NDArray[np.float64], upright: Axes | None
    ) -> None:
        assert frame.pts is not None
        assert frame.time_base is not None
        self.pts: int = frame.pts
        self.time_base = as_fraction(frame.time_base)
        self._frame = frame
        self._to_coded = to_coded
        self._upright = upright

    def crop(
        self, boxes: NDArray[np.float64], sizes: Sequence[tuple[int, int]]
    ) -> Sequence[VideoFrame]:
        """Return the boxes as frames of `sizes`; each is computed when it is taken."""
        return Crops(self._frame, self._to_coded, self._upright, boxes, sizes)


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
        self._reader = Reader(path, threads)
        self._to_coded = self._reader.display.to_coded()
        self._upright = upright_axes(self._to_coded)
        self.info = self._reader.info

    def close(self) -> None:
        """Close the file; frames that were handed out stay valid."""
        self._reader.close()

    def key_before(self, seconds: float) -> float | None:
        """Return the time of the last key frame at or before `seconds`, or None if not indexed."""
        return self._reader.key_before(seconds)

    def frames(self, spans: Sequence[tuple[float, float]]) -> Iterator[PyavFrame | Damage]:
        """Yield the frames that some span (start, stop), in seconds, holds, in order, each once.

        The first frame after a span comes too. Gaps that hold a key frame are sought over. Where
        pictures are damaged, a `Damage` takes their place.

        Raises:
            DamagedFileError: the file cannot be sought in.
        """
        for found in self._reader.frames(spans):
            if isinstance(found, Damage):
                yield found
                continue
            if found.format.name not in CROPPED_AS_THEY_ARE:
                found = to_yuv420p(found, self._reader.full_range)
            yield PyavFrame(found, self._to_coded, self._upright)
