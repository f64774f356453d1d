"""Frames to one H.264 clip, with the source's own timing, colours and an origin in its comment."""

from __future__ import annotations

import json
import math
from contextlib import suppress
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import av
from av.video.frame import PictureType

from trackverse_cli.encoders import encoder_options
from trackverse_cli.errors import ItemError

if TYPE_CHECKING:
    from pathlib import Path

    from av import VideoFrame
    from av.video.stream import VideoStream

    from trackverse_cli.interfaces import VideoInfo
    from trackverse_cli.settings import EncodeSettings

COMMENT_FORMAT = "trackverse-clip-1"
_PLAIN = ("yuv420p", "yuvj420p")
_LONGEST_GOP = 600
"""Frames; key frames are set by time, this only bounds a source with absurd timing."""


@dataclass(frozen=True, slots=True)
class ClipOrigin:
    """What a clip says about itself in its container's comment.

    Attributes:
        track: the track id.
        video: the video id.
        source: (width, height) of the video that it was cut from.
        recipe: how it was cut (`trackverse_cli.recipe`).
    """

    track: str
    video: str
    source: tuple[int, int]
    recipe: str

    def to_comment(self) -> str:
        """Return the comment's text."""
        return json.dumps({"format": COMMENT_FORMAT, **asdict(self)}, separators=(",", ":"))

    @classmethod
    def from_comment(cls, text: str) -> ClipOrigin | None:
        """Return what a comment says, or None if another program wrote it."""
        try:
            said = json.loads(text)
            if said.pop("format") != COMMENT_FORMAT:
                return None
            width, height = said.pop("source")
            return cls(source=(int(width), int(height)), **{k: str(v) for k, v in said.items()})
        except (ValueError, TypeError, KeyError, AttributeError):
            return None


class ClipWriter:
    """Encodes one clip into a file of its own; the caller renames it into place.

    Args:
        path: the file to write.
        size: (width, height) in pixels, even.
        info: the video that the frames come from.
        origin: what the clip says about itself.
        settings: the `[encode]` section.
        hw_encoder: the decoder's own encoder, which takes the place of the configured one where
            it opens; frames come in its format.

    Attributes:
        frames: how many have been added.
        note: why the configured encoder had to take the place of `hw_encoder`; else "".

    Raises:
        ItemError: reason `encoder-failed`: the encoder refuses the size or its settings.
        OSError: the disk is full, or the file cannot be made.
    """

    def __init__(
        self,
        path: Path,
        size: tuple[int, int],
        info: VideoInfo,
        origin: ClipOrigin,
        settings: EncodeSettings,
        hw_encoder: str | None = None,
    ) -> None:
        self.frames = 0
        self._first_pts = 0
        self._next_key = 0
        # A frame up to half a frame early is the one that was meant.
        until_key = Fraction(settings.gop_seconds) - 1 / (2 * info.rate)
        self._key_units = math.ceil(until_key / info.time_base)
        self._frame_units = max(1, round(1 / (info.rate * info.time_base)))
        self._path = path
        self._size, self._info, self._origin, self._settings = size, info, origin, settings
        # An encoder of the decoder's own may turn out not to open with its first frame.
        self._own_encoder = hw_encoder
        self.note = ""
        try:
            self._start(hw_encoder or settings.codec)
        except ItemError as error:
            if hw_encoder is None:
                raise
            self._fall_back(error)

    def _start(self, codec: str) -> None:
        # Asked for its name after a failed open, PyAV 19 reads where nothing is.
        self._codec = codec
        self._container = av.open(
            str(self._path), "w", format="mp4", options={"movflags": "+faststart"}
        )
        try:
            self._container.metadata["comment"] = self._origin.to_comment()
            self._stream = self._open(codec)
        except OSError:
            self.abort()
            raise
        except (av.error.FFmpegError, ValueError) as error:
            self.abort()
            raise _failure(codec, self._size, error) from error

    def _fall_back(self, error: ItemError) -> None:
        """Begin anew with the configured encoder."""
        own, self._own_encoder = self._own_encoder, None
        self.abort()
        self.note = f"{own} does not open, so {self._settings.codec} encodes"
        _say_once(self.note, error.message)
        self._start(self._settings.codec)

    def _open(self, codec: str) -> VideoStream:
        info, settings = self._info, self._settings
        # A name known at run time, and PyAV 19 takes more than its types say.
        stream: Any = self._container.add_stream(codec, rate=info.rate)
        context = stream.codec_context
        stream.width, stream.height = self._size
        stream.pix_fmt = "yuv420p"
        stream.time_base = context.time_base = info.time_base
        stream.sample_aspect_ratio = Fraction(1)
        context.gop_size = _LONGEST_GOP
        context.thread_count = 1  # clips run beside each other; threads within one cost quality
        context.color_primaries = info.colour.primaries
        context.color_trc = info.colour.transfer
        context.colorspace = info.colour.matrix
        context.color_range = info.colour.range
        context.options = encoder_options(codec, settings)
        opened: VideoStream = stream
        return opened

    def add(self, frame: VideoFrame, pts: int, duration: int) -> None:
        """Encode the next frame.

        Args:
            frame: the picture, of the clip's size.
            pts: its time in the source's time base; the first one becomes 0.
            duration: in the same units; 0 if the source does not say.
        """
        if self.frames == 0:
            self._first_pts = pts
            if self._own_encoder is not None:
                self._stream.pix_fmt = frame.format.name
        if self._own_encoder is None and frame.format.name not in _PLAIN:
            frame = frame.reformat(format="yuv420p", threads=1)
        at = pts - self._first_pts
        frame.pts = at
        # The stream's own time base may become finer once the muxer has written its header.
        frame.time_base = self._info.time_base
        frame.duration = duration or self._frame_units
        key = at >= self._next_key
        if key:
            self._next_key = at + self._key_units
        frame.pict_type = PictureType.I if key else PictureType.NONE
        try:
            self._encode(frame)
        except ItemError as error:
            if self._own_encoder is None or self.frames:
                raise
            self._fall_back(error)
            self._next_key = 0
            self.add(frame, pts, duration)
            return
        self.frames += 1

    def _encode(self, frame: VideoFrame) -> None:
        try:
            packets = self._stream.encode(frame)
        # To PyAV some errors of encoders are OSErrors as well, such as "no such device".
        except (av.error.FFmpegError, OSError, ValueError) as error:
            raise _failure(self._codec, self._size, error) from error
        try:
            self._container.mux(packets)
        except OSError:
            raise
        except (av.error.FFmpegError, ValueError) as error:
            raise _failure(self._codec, self._size, error) from error

    def finish(self) -> None:
        """Write what the encoder still holds, and the header; the file is whole after this."""
        self._container.mux(self._stream.encode(None))
        self._container.close()

    def abort(self) -> None:
        """Let go of the file, whatever state it is in; the caller removes it."""
        # The first close may fail while it writes what is left; the second one lets go.
        for _ in range(2):
            with suppress(av.error.FFmpegError, OSError):
                self._container.close()


_told: set[str] = set()


def _say_once(note: str, why: str) -> None:
    from loguru import logger

    if note not in _told:
        _told.add(note)
        logger.warning("{}; said once ({})", note, why)


def _failure(codec: str, size: tuple[int, int], error: Exception) -> ItemError:
    why = getattr(error, "strerror", None) or str(error)
    if log := getattr(error, "log", None):  # what FFmpeg said last: (level, who, words)
        why += f" ({log[2].strip()})"
    told = f"cannot encode a clip of {size[0]}x{size[1]} with {codec}: {why}"
    return ItemError("encoder-failed", told)
