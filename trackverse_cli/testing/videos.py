"""The videos of the decoder contract: pictures whose number can be read off them."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from av import VideoFrame, VideoStream
    from numpy.typing import NDArray

RATE: Final = Fraction(30000, 1001)
FRAMES: Final = 120
GOP: Final = 30


@dataclass(frozen=True, slots=True)
class Kind:
    """What is special about a video.

    Attributes:
        size: (width, height) of its coded pictures.
        pix_fmt: their format.
        options: of x264.
        first: number of the first picture; a negative one makes an edit list that cuts those off.
        steps: units of 1 / rate from one picture to the next, repeated.
        rotation: degrees counter-clockwise by which a player turns it.
        pixel_aspect: width / height of a pixel.
        codec: the encoder.
        muxer: options of the container.
    """

    size: tuple[int, int] = (320, 180)
    pix_fmt: str = "yuv420p"
    options: str = "bframes=3:b-adapt=0"
    first: int = 0
    steps: tuple[int, ...] = (1,)
    rotation: int = 0
    pixel_aspect: Fraction = Fraction(1)
    codec: str = "libx264"
    muxer: tuple[tuple[str, str], ...] = ()


KINDS: Final[Mapping[str, Kind]] = MappingProxyType(
    {
        "plain": Kind(),
        "open GOPs": Kind(options="bframes=3:b-adapt=0:open-gop=1"),
        "late start": Kind(first=42),
        "edit list": Kind(first=-12),
        "variable rate": Kind(steps=(1, 1, 3, 1, 2)),
        "rotated": Kind(rotation=90),
        "rotated the other way": Kind(rotation=-90),
        "wide pixels": Kind(pixel_aspect=Fraction(4, 3)),
        "odd size": Kind(size=(321, 181), pix_fmt="yuv444p"),
        "10-bit": Kind(pix_fmt="yuv420p10le"),
        "fragments": Kind(muxer=(("movflags", "frag_keyframe+empty_moov"),)),
        "index first": Kind(muxer=(("movflags", "faststart"),)),
    }
)


def picture(number: int, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Return a grey picture: its number on top, dark on the left third, bright on the rest."""
    import numpy as np

    width, height = size
    luma = np.full((height, width), 200, np.uint8)
    luma[:, : width // 3] = 40
    luma[: height // 8] = 16 + number
    # Texture, so that there is something in a packet to be damaged.
    noise = np.random.default_rng(number).integers(0, 40, (height - height // 2, width), np.uint8)
    luma[height // 2 :] -= noise
    return luma


def write_video(path: Path, name: str) -> Path:
    """Write the video of that name; return its path."""
    path.write_bytes(_content(name))
    return path


@cache
def _content(name: str) -> bytes:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "video.mp4"
        _encode(path, KINDS[name])
        return path.read_bytes()


def _frame(luma: NDArray[np.uint8], pix_fmt: str) -> VideoFrame:
    """Return a frame with that luma and no colour; nothing is converted."""
    import av
    import numpy as np

    frame = av.VideoFrame(luma.shape[1], luma.shape[0], pix_fmt)
    kind, scale = (np.dtype("<u2"), 4) if pix_fmt.endswith("10le") else (np.dtype("u1"), 1)
    for number, plane in enumerate(frame.planes):
        rows = np.full((plane.height, plane.line_size // kind.itemsize), 128 * scale, kind)
        if number == 0:
            rows[:, : plane.width] = luma.astype(kind) * scale
        plane.update(rows.tobytes())
    return frame


def _encode(path: Path, kind: Kind) -> None:
    import av

    with av.open(str(path), "w", options=dict(kind.muxer)) as out:
        stream: VideoStream = out.add_stream(kind.codec, rate=RATE)  # type: ignore[assignment]  # a name known at run time
        stream.width, stream.height = kind.size
        stream.pix_fmt = kind.pix_fmt
        stream.codec_context.gop_size = GOP
        params = f"scenecut=0:log-level=none:{kind.options}"
        stream.codec_context.options = {"preset": "superfast", "crf": "24", "x264-params": params}
        stream.codec_context.sample_aspect_ratio = kind.pixel_aspect
        if kind.rotation:
            stream.set_display_rotation(kind.rotation)
        pts = kind.first
        for number in range(FRAMES):
            frame = _frame(picture(number, kind.size), kind.pix_fmt)
            frame.pts, frame.time_base = pts, 1 / RATE
            pts += kind.steps[number % len(kind.steps)]
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
