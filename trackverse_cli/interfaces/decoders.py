"""What a decoder plugin implements: it opens a video and brings its frames."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from trackverse_cli.errors import DamagedFileError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from fractions import Fraction
    from pathlib import Path

    import numpy as np
    from av import VideoFrame
    from numpy.typing import NDArray
    from pydantic import BaseModel


@dataclass(frozen=True, slots=True)
class Colour:
    """Colour tags as FFmpeg's enumerations number them (ISO/IEC 23091-2); 2 is unspecified.

    Attributes:
        primaries: which red, green and blue.
        transfer: the transfer function.
        matrix: how Y'CbCr is made from R'G'B'.
        range: 0 unspecified, 1 limited ("tv"), 2 full ("pc").
    """

    primaries: int = 2
    transfer: int = 2
    matrix: int = 2
    range: int = 0


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """One video as a viewer sees it: after rotation and with square pixels.

    Attributes:
        width: pixels, as displayed.
        height: pixels, as displayed.
        rate: average frames a second.
        time_base: seconds of one unit of pts.
        duration_seconds: as the container says, or None.
        codec: FFmpeg's name of the codec, such as `h264`.
        colour: the colour tags that a clip takes over.
    """

    width: int
    height: int
    rate: Fraction
    time_base: Fraction
    duration_seconds: float | None
    codec: str
    colour: Colour


@dataclass(frozen=True, slots=True)
class Damage:
    """A stretch of a video whose frames are lost; it stands where they would have come.

    Attributes:
        start: time in seconds of the first frame that is missing or damaged.
        stop: of the last one; infinite where nothing good follows.
        message: one sentence that names the file, what is wrong with it and when.
    """

    start: float
    stop: float
    message: str


class Frame(Protocol):
    """One decoded frame of a video, wherever its pixels are."""

    @property
    def pts(self) -> int:
        """Presentation time in units of `time_base`."""
        ...

    @property
    def time_base(self) -> Fraction:
        """Seconds of one unit of `pts`."""
        ...

    def crop(
        self, boxes: NDArray[np.float64], sizes: Sequence[tuple[int, int]]
    ) -> Sequence[VideoFrame]:
        """Cut boxes out of the frame and resize each.

        Args:
            boxes: (m, 4) xywh in displayed pixels, inside the frame, at sub-pixel positions.
            sizes: m times (width, height), even.

        Returns:
            m frames that the encoder takes, in yuv420p or the format of the decoder's
            `hw_encoder`. An item may be computed when it is taken, by the thread that takes it;
            each is taken once.
        """
        ...


class Decoder(Protocol):
    """One open video; its `close()`, if it has one, is called when the video is through.

    A decoder may have a `note`: one sentence on why it does not work as it was asked to, such as
    a GPU that is missing, or None. It is read after `frames` and goes into the ledger.

    It may have a method `key_before(seconds)` that returns the time in seconds of the last key
    frame at or before `seconds`, or None where it does not know of any. Then a video is cut
    stretch by stretch, split where a gap between tracks holds a key frame: `frames` is called
    anew for each stretch, in any order, and the same file may be opened several times, to decode
    stretches beside each other.
    """

    @property
    def info(self) -> VideoInfo:
        """What the video is."""
        ...

    @property
    def hw_encoder(self) -> str | None:
        """The encoder that takes this decoder's crops without a copy, or None."""
        ...

    def frames(self, spans: Sequence[tuple[float, float]]) -> Iterator[Frame | Damage]:
        """Yield the frames of the video in presentation order, each once.

        It is called once, unless the decoder has `key_before`.

        Frames that cannot be trusted are not yielded; a `Damage` stands in their place, after the
        frames before it and before those after it. What is predicted from a damaged frame is
        damaged too, so the stretch mostly lasts until the next key frame.

        Args:
            spans: (start, stop) in seconds, both inside; frames that no span holds may be left
                out, and none that a span holds is. The first frame after each span, where
                there is one, is worth yielding too: by it the caller knows that the span is whole.

        Raises:
            DamagedFileError: the video cannot be decoded further; the frames before were good.
        """
        ...


def sound_frames(decoder: Decoder, spans: Sequence[tuple[float, float]]) -> Iterator[Frame]:
    """Yield what `decoder.frames(spans)` does, up to the first damage.

    Raises:
        DamagedFileError: there is damage; the frames before it were good.
    """
    for found in decoder.frames(spans):
        if isinstance(found, Damage):
            raise DamagedFileError(found.message)
        yield found


def note_of(decoder: Decoder) -> str:
    """Return a decoder's `note`, or "" where there is none."""
    return getattr(decoder, "note", None) or ""


def key_before(decoder: Decoder, seconds: float) -> float | None:
    """Return the time of the last key frame at or before `seconds`, or None if not known."""
    known = getattr(decoder, "key_before", None)
    return None if known is None else known(seconds)


def close_decoder(decoder: Decoder) -> None:
    """Call a decoder's `close()`, if it has one; frames that it handed out stay valid."""
    close = getattr(decoder, "close", None)
    if close is not None:
        close()


@dataclass(frozen=True, slots=True)
class Ability:
    """What a decoder found out about this machine by trying, for `trackverse doctor`.

    Attributes:
        message: one line, such as which card decodes what.
        lacks: whether the decoder cannot work here as it is asked to.
    """

    message: str
    lacks: bool = False


@dataclass(frozen=True, slots=True)
class DecoderPlugin:
    """A decoder as a plugin offers it.

    Attributes:
        name: what `--decoder` and `[extract] decoder` call it.
        summary: one line for `trackverse plugins`.
        settings: the pydantic model of `[decoder.<name>]`; every field has a default.
        open: opens a file with the validated settings; raises DamagedFileError for what is no
            readable video.
        unavailable: says in one sentence why it cannot work on this machine, or None.
        needs_gpu: whether a scheduler should reserve a GPU for a job that uses it.
        sees_changed_bytes: whether it notices bytes that were changed within a picture. Where it
            does not, videos are held against the checksum with which they came, and the default
            decoder takes over those that have changed since.
        examine: tries, with the validated settings, what this machine can do, and may take
            seconds; raises a TrackverseError where a run could not work at all.
    """

    name: str
    summary: str
    settings: type[BaseModel]
    open: Callable[[Path, Any], Decoder]
    unavailable: Callable[[], str | None] = lambda: None
    needs_gpu: bool = False
    sees_changed_bytes: bool = True
    examine: Callable[[Any], Iterable[Ability]] = lambda _: ()
