"""Chosen frames of one clip, by seeking: a clip has a key frame every half second, GOPs closed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import av
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter

from trackverse_cli.encode import ClipOrigin
from trackverse_cli.errors import DamagedFileError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from av import VideoFrame
    from av.container import InputContainer
    from av.video.stream import VideoStream
    from numpy.typing import NDArray

    Picture = NDArray[np.uint8]
    Numbers = NDArray[np.int64]

_READABLE = {"protocol_whitelist": "file,subfile"}


@dataclass(frozen=True, slots=True)
class ReadFrames:
    """What was read of a clip.

    Attributes:
        pictures: (t, height, width, 3) uint8 RGB.
        numbers: (t,) which frames they are.
        seconds: (t,) when each is shown, from the clip's beginning.
    """

    pictures: Picture
    numbers: Numbers
    seconds: NDArray[np.float64]


def read_frames(
    url: str,
    names: tuple[str, str],
    choose: Callable[[int], Numbers],
    size: tuple[int, int] | None = None,
) -> ReadFrames:
    """Decode the chosen frames of a clip, and no GOP that holds none of them.

    Args:
        url: the clip's file, or a stretch of one (`outputs.member_url`).
        names: (video id, track id) that it must show, as far as it says.
        choose: number of frames -> (t,) which of them, in any order, also repeated.
        size: (height, width) to scale to, or None for the clip's own.

    Raises:
        DamagedFileError: it cannot be opened or decoded, or shows another track.
    """
    try:
        with av.open(url, format="mov", options=_READABLE) as container:
            origin = ClipOrigin.from_comment(str(container.metadata.get("comment", "")))
            if origin is not None and (origin.video, origin.track) != names:
                raise DamagedFileError(f"it shows track {origin.track!a} of video {origin.video!a}")
            stream = container.streams.video[0]
            # The workers of a DataLoader run beside each other; threads within one cost more.
            stream.thread_type = "NONE"
            stream.codec_context.thread_count = 1
            numbers = choose(len(stream.index_entries))
            wanted, places = np.unique(numbers, return_inverse=True)
            # PyAV 19 would take one that outlives a fork, and wait for its threads for ever.
            scaler = VideoReformatter()
            read = [
                (_picture(scaler, frame, size), frame.time or 0.0)
                for frame in _frames(container, stream, wanted)
            ]
    except (av.error.FFmpegError, OSError, ValueError, IndexError) as error:
        raise DamagedFileError(str(error)) from error
    if len(read) < len(wanted):
        raise DamagedFileError(f"it ends before its frame {wanted[len(read)]}")
    pictures = np.stack([read[place][0] for place in places.tolist()])
    return ReadFrames(pictures, numbers, np.array([read[place][1] for place in places.tolist()]))


def _picture(scaler: VideoReformatter, frame: VideoFrame, size: tuple[int, int] | None) -> Picture:
    height, width = size or (frame.height, frame.width)
    scaled = scaler.reformat(
        frame, width, height, "rgb24", interpolation=Interpolation.BILINEAR, threads=1
    )
    return scaled.to_ndarray().astype(np.uint8, copy=False)


def _frames(
    container: InputContainer, stream: VideoStream, wanted: Numbers
) -> Iterator[VideoFrame]:
    """Yield the wanted frames, which are ascending; fewer if the clip is cut short."""
    entries = stream.index_entries
    keys = [number for number, entry in enumerate(entries) if entry.is_keyframe]
    known = {entries[number].timestamp: number for number in keys}
    gops = (np.searchsorted(keys, wanted, side="right") - 1).tolist()
    left = wanted.tolist()
    begin = 0
    while begin < len(left):
        end = begin + 1
        # GOPs that follow each other are read in one go.
        while end < len(left) and gops[end] <= gops[end - 1] + 1:
            end += 1
        if gops[begin] > 0:
            # A key frame is found by when it is shown, the index has when it is decoded: the end
            # of its GOP is after both.
            last = keys[gops[begin] + 1] if gops[begin] + 1 < len(keys) else len(entries)
            container.seek(entries[last - 1].timestamp, stream=stream)
        yield from _decoded(container, stream, known, left[begin:end])
        begin = end


def _decoded(
    container: InputContainer, stream: VideoStream, keys: dict[int, int], wanted: list[int]
) -> Iterator[VideoFrame]:
    """Yield the wanted frames from the key frame on at which the container stands.

    Args:
        container: the open clip.
        stream: its pictures.
        keys: time of decoding -> number of every key frame.
        wanted: frame numbers, ascending.
    """
    number, place = -1, 0
    for packet in container.demux(stream):
        if number < 0:
            number = keys.get(packet.dts if packet.dts is not None else -1, -1)
            if not 0 <= number <= wanted[0]:
                raise DamagedFileError(f"its index does not lead to its frame {wanted[0]}")
        for frame in packet.decode():
            if frame.is_corrupt:
                raise DamagedFileError(f"its frame {number} is damaged")
            if number == wanted[place]:
                yield frame
                place += 1
                if place == len(wanted):
                    return
            number += 1
