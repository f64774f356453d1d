"""Is a file that came the whole video that was promised? And its way into an mp4."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from trackverse_cli.download.errors import DownloadError
from trackverse_cli.means import raise_if_lacking

if TYPE_CHECKING:
    from pathlib import Path

    from av.container import InputContainer
    from av.video.stream import VideoStream

SLACK_SECONDS = 1.0
SLACK_SHARE = 0.02
"""Two durations that differ by no more than the slack and this share of the promise agree."""

MOST_PIXELS = 1 << 26
"""Twice the pixels of 8K; a picture that says it has more would only take all memory."""

_CONTAINERS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,mpegts,mpeg,flv,avi,asf,ogg"
_MAGIC_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Probe:
    """What a complete video file is.

    Attributes:
        is_mp4: whether the container is mp4 or its kin.
        width: pixels, as displayed.
        height: pixels, as displayed.
        duration_seconds: as the container says, else as its packets show.
        fps: pictures a second on the average, 0 if the container does not tell.
        codec: FFmpeg's name of the codec, such as `h264`.
        packets: how many packets the video stream has.
    """

    is_mp4: bool
    width: int
    height: int
    duration_seconds: float
    fps: float
    codec: str
    packets: int


def durations_agree(seconds: float, promised_seconds: float) -> bool:
    """Say whether a duration is the promised one, within 1 s and 2 %."""
    return abs(seconds - promised_seconds) <= SLACK_SECONDS + SLACK_SHARE * promised_seconds


def is_short(seconds: float, promised_seconds: float, needed_seconds: float) -> bool:
    """Say whether a video ends before its promise and before its tracks, by over a second each."""
    return seconds < min(promised_seconds, needed_seconds) - SLACK_SECONDS


def check_video(
    path: Path,
    *,
    promised_seconds: float | None = None,
    promised_bytes: int | None = None,
    needed_seconds: float = 0.0,
) -> Probe:
    """Read a downloaded file to its end, without decoding more than its first picture.

    Args:
        path: the file.
        promised_seconds: the duration that the host states, if it does.
        promised_bytes: the size that the host states, if it does.
        needed_seconds: where the last track of the video ends. A video that ends before is no
            error by itself, but the slack of a long one is not for what its tracks need; a file
            of the very size that the host states is as long as it is.

    Returns:
        What the file is.

    Raises:
        DownloadError: `ambiguous` for what is no video at all, `transient` for one that is cut
            short, damaged or another than was promised.
    """
    size = path.stat().st_size
    if promised_bytes is not None and size != promised_bytes:
        raise DownloadError(
            "transient", f"{size} bytes came where the host stated {promised_bytes}"
        )
    probe = _probe(path)
    seconds = probe.duration_seconds
    if promised_seconds and (
        not durations_agree(seconds, promised_seconds)
        or (promised_bytes is None and is_short(seconds, promised_seconds, needed_seconds))
    ):
        raise DownloadError(
            "transient",
            f"the file lasts {seconds:.2f} s where the host stated {promised_seconds:.2f} s",
        )
    return probe


def check_stretches(path: Path, samples: int) -> Probe:
    """Read a file of stretches to its end, as `check_video` does.

    Args:
        path: the file.
        samples: the pictures that it must hold.

    Returns:
        What the file is; its duration is where its last stretch ends.

    Raises:
        DownloadError: `transient`, the file is damaged.
    """
    probe = _probe(path, whole=False)
    if probe.packets != samples:
        raise DownloadError(
            "transient", f"the file holds {probe.packets} pictures where {samples} should be"
        )
    return probe


def _probe(path: Path, *, whole: bool = True) -> Probe:
    import av

    try:
        with _opened(path) as container:
            stream = _video_of(container)
            frame = next(container.decode(stream), None)
            if frame is None:
                raise DownloadError("transient", "the file holds no picture")
            aspect = stream.sample_aspect_ratio or Fraction(1)
            width, height = round(frame.width * aspect), frame.height
            if round(frame.rotation / 90) % 2:
                width, height = height, width
            codec = stream.codec_context.codec.canonical_name
            fps = round(float(stream.average_rate or 0), 4)
        # Opened anew, since decoding has taken packets.
        with _opened(path) as container:
            seconds, packets = _walk(container, _video_of(container), whole)
            is_mp4 = "mp4" in container.format.name.split(",")
    except av.error.FFmpegError as error:
        raise_if_lacking(error)
        raise _unreadable(path, error) from error
    return Probe(is_mp4, max(1, width), max(1, height), seconds, fps, codec, packets)


def _opened(path: Path) -> InputContainer:
    import av

    # A playlist may name other files and addresses; only what is a video itself is opened.
    options = {"protocol_whitelist": "file", "format_whitelist": _CONTAINERS}
    return av.open(f"file:{path.absolute()}", options=options)


def _video_of(container: InputContainer) -> VideoStream:
    if not container.streams.video:
        raise DownloadError("ambiguous", "the host sent a file without a video stream")
    video = container.streams.video[0]
    if video.width * video.height > MOST_PIXELS:
        raise DownloadError(
            "ambiguous",
            f"the host sent pictures of {video.width}x{video.height}, too large to open",
        )
    return video


def _walk(container: InputContainer, video: VideoStream, whole: bool) -> tuple[float, int]:
    """Return (duration in seconds, video packets), having met every packet of the file."""
    import av

    first: Fraction | None = None
    last = Fraction(0)
    packets = 0
    in_index = "mp4" in container.format.name.split(",")
    for packet in container.demux():
        at = packet.dts if packet.pts is None else packet.pts
        if at is None:
            continue
        # In mp4 every packet's place and size is known, so a short one means a cut file.
        if packet.is_corrupt and in_index:
            raise DownloadError(
                "transient", f"the file is cut short at {float(at * packet.time_base):.2f} s"
            )
        packets += packet.stream_index == video.index
        first = at * packet.time_base if first is None else min(first, at * packet.time_base)
        last = max(last, (at + (packet.duration or 0)) * packet.time_base)
    seconds = float(last - (first or 0))
    stated = container.duration / av.time_base if container.duration else seconds
    if not packets or stated <= 0:
        raise DownloadError("transient", "the file holds no picture that has a time")
    if whole and seconds < stated and not durations_agree(seconds, stated):
        raise DownloadError(
            "transient", f"the file is cut short: {seconds:.2f} s of its {stated:.2f} s are there"
        )
    return stated, packets


def _unreadable(path: Path, error: Exception) -> DownloadError:
    with path.open("rb") as file:
        head = file.read(_MAGIC_BYTES)
    if head[4:8] in (b"ftyp", b"styp", b"moov", b"mdat", b"moof") or head[:4] == b"\x1aE\xdf\xa3":
        return DownloadError("transient", f"the video that came is damaged or cut short ({error})")
    if b"\0" not in head:
        page = b"<html" in head.lower() or b"<!doctype" in head.lower()
        kind = "a web page" if page else "text"
        return DownloadError("ambiguous", f"the host sent {kind} instead of a video")
    return DownloadError("ambiguous", "the host sent something that is no video")


def remux_to_mp4(source: Path, target: Path, probe: Probe) -> None:
    """Write the video stream of `source` into the mp4 file `target`, without re-encoding.

    The time of every picture stays what it was; sound is left out, since no clip needs it.

    Raises:
        DownloadError: `tool` if mp4 cannot hold the codec, `transient` if packets were lost.
        OSError: the disk refused.
    """
    import av

    try:
        with _opened(source) as container, av.open(str(target), "w", format="mp4") as output:
            video = _video_of(container)
            stream = output.add_stream_from_template(video)
            for packet in container.demux(video):
                if packet.pts is None and packet.dts is None:
                    continue
                packet.stream = stream
                output.mux_one(packet)
        packets = _probe(target).packets
    except (av.error.FFmpegError, ValueError) as error:
        raise_if_lacking(error)
        if isinstance(error, OSError) and 0 < (error.errno or 0) < 200:
            raise
        raise DownloadError(
            "tool", f"a {probe.codec} video cannot be stored in an mp4 file ({error})"
        ) from error
    if packets != probe.packets:
        raise DownloadError(
            "transient", f"only {packets} of {probe.packets} packets fit into the mp4 file"
        )
