"""What PyAV reads of a video, as the reference of the decoder contract; and harm done to it."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final

from trackverse_cli.errors import DamagedFileError
from trackverse_cli.interfaces import Damage

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import numpy as np
    from av import VideoFrame
    from numpy.typing import NDArray

    from trackverse_cli.interfaces import Decoder, Frame

EVERYTHING: Final = ((0.0, 1e6),)
PATCHES: Final = (
    (0.16, 0.16, 0.13, 0.13),
    (0.70, 0.37, 0.14, 0.10),
    (0.37, 0.03, 0.10, 0.07),
    (0.03, 0.37, 0.07, 0.10),
    (0.90, 0.37, 0.07, 0.10),
    (0.37, 0.90, 0.10, 0.07),
    (0.54, 0.70, 0.10, 0.14),
)
"""Parts of a picture that are looked at, as shares of its width and height: x, y, w, h.

Turned by any right angle, none of them lies on an edge of what is in the pictures.
"""


def scrambled(content: bytes) -> bytes:
    """Change bytes of a picture beyond its headers."""
    place = len(content) // 3
    return (
        content[:place]
        + bytes(b ^ 0xA5 for b in content[place : place + 40])
        + (content[place + 40 :])
    )


def holed(content: bytes) -> bytes:
    """Put zeros in place of all but the first third of a picture."""
    place = len(content) // 3
    return content[:place] + bytes(len(content) - place)


class Sample:
    """One packet of a file: which it is in decoding order, and where its bytes are."""

    def __init__(self, number: int, pts: int, place: int, size: int, is_key: bool) -> None:
        self.number, self.pts, self.is_key = number, pts, is_key
        self.place, self.size = place, size


def overwrite(path: Path, packet: Sample, harm: Callable[[bytes], bytes]) -> None:
    """Put what `harm` makes of a packet in its place."""
    content = path.read_bytes()
    end = packet.place + packet.size
    harmed = harm(content[packet.place : end])
    path.write_bytes(content[: packet.place] + harmed + content[end:])


def _luma(frame: VideoFrame) -> NDArray[np.uint8]:
    """Return the luma of a decoded frame in 8 bits."""
    import numpy as np

    plane: Any = frame.planes[0]  # a buffer, which not every version of PyAV tells
    wide = frame.format.components[0].bits > 8
    kind = np.dtype("<u2" if wide else "u1")
    rows = np.frombuffer(plane, kind).reshape(plane.height, -1)[:, : plane.width]
    luma: NDArray[np.uint8] = (rows >> 2 if wide else rows).astype(np.uint8)
    return luma


class Truth:
    """What PyAV reads of a whole video, without any of our code."""

    def __init__(self, path: Path) -> None:
        import av
        import numpy as np

        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            assert stream.time_base is not None
            base = stream.time_base
            self.time_base = Fraction(base.numerator, base.denominator)
            packets = [packet for packet in container.demux(stream) if packet.size]
            self.packets = [
                Sample(n, p.pts or 0, p.pos or 0, p.size, p.is_keyframe)
                for n, p in enumerate(packets)
            ]
        self._lumas: dict[int, NDArray[np.uint8]] = {}
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            aspect = float(stream.sample_aspect_ratio or 1)
            for frame in container.decode(stream):
                luma = np.rot90(_luma(frame), frame.rotation // 90)
                self._lumas[frame.pts or 0] = luma
                turned, rows = frame.rotation % 180 != 0, frame.height
                wide = round(frame.width * aspect)
                self.shown = (rows, wide) if turned else (wide, rows)
        self.pts = list(self._lumas)

    def seconds(self, pts: int) -> float:
        """Return a pts in seconds."""
        return float(pts * self.time_base)

    def packet(self, number: int) -> Sample:
        """Return the packet of a picture that is predicted from, `number` or soon after."""
        newest = -math.inf
        for packet in self.packets:
            if packet.pts > newest and packet.pts >= self.pts[number]:
                return packet
            newest = max(newest, packet.pts)
        raise IndexError(number)

    def means(self, pts: int) -> list[float]:
        """Return the mean luma of each part that is looked at."""
        luma = self._lumas[pts]
        rows, columns = luma.shape
        return [
            float(
                luma[
                    round(y * rows) : round((y + h) * rows),
                    round(x * columns) : round((x + w) * columns),
                ].mean()
            )
            for x, y, w, h in PATCHES
        ]


def sound_frames(decoder: Decoder, spans: Sequence[tuple[float, float]]) -> list[Frame]:
    """Return the frames of some spans, none of which may be damaged."""
    found = list(decoder.frames(spans))
    assert not [one for one in found if isinstance(one, Damage)]
    return [one for one in found if not isinstance(one, Damage)]


def brought(decoder: Decoder) -> tuple[list[int], list[Damage]]:
    """Return the pts of the frames that come, and the damage that is told of."""
    got: list[int] = []
    damages: list[Damage] = []
    try:
        for found in decoder.frames(EVERYTHING):
            if isinstance(found, Damage):
                damages.append(found)
            else:
                assert not damages or float(found.pts * found.time_base) > damages[-1].stop
                got.append(found.pts)
    except DamagedFileError as error:
        damages.append(Damage(math.inf, math.inf, str(error)))
    return got, damages
