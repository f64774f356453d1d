"""Frames of a source video with the place that a clip was cut from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from trackverse_cli.errors import DamagedFileError, ItemError, TrackverseError
from trackverse_cli.geometry import plan_tracks
from trackverse_cli.interfaces import Damage, close_decoder
from trackverse_cli.report.pictures import SOURCE_SIDE, Picture, declared_size, fitting, jpeg

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from trackverse_cli.boxes import CropPlan
    from trackverse_cli.interfaces import Decoder, DecoderPlugin, Frame, VideoInfo
    from trackverse_cli.metadata import Track

DECODER = "pyav"
"""What opens the videos, whatever the clips were cut with: it needs no GPU."""

PATH_POINTS = 48
"""Places that the line of a crop's way through the picture is drawn by."""


@dataclass(frozen=True, slots=True)
class SourceFrame:
    """One frame of the video that a clip was cut from.

    Attributes:
        picture: the whole frame, made smaller.
        size: (width, height) of the video as displayed; box and path are in its pixels.
        box: xywh of the crop at that moment.
        path: (x, y) of the crop's centre over the whole clip.
        at: when it is shown, in seconds.
    """

    picture: Picture
    size: tuple[int, int]
    box: tuple[float, float, float, float]
    path: tuple[tuple[float, float], ...]
    at: float


@dataclass(frozen=True, slots=True)
class Moment:
    """Which frame is wanted for a clip, in seconds of the video: the nearest to `at`.

    Attributes:
        at: when the clip's own frame is shown.
        first: when the clip begins.
        last: when it ends.
    """

    at: float
    first: float
    last: float


@dataclass(slots=True)
class _Wanted:
    track_id: str
    moment: Moment
    plan: CropPlan
    nearest: Frame | None = None
    off: float = field(default=float("inf"))


def source_frames(
    path: Path,
    tracks: Sequence[Track],
    source_size: tuple[int, int] | None,
    moments: Mapping[str, Moment],
) -> dict[str, SourceFrame | str]:
    """Return the frames of one video for some of its tracks, or in a sentence why there is none.

    Args:
        path: the video.
        tracks: all its known tracks, which settle its geometry together.
        source_size: the largest (width, height) that its host offers, if known.
        moments: track id -> which frame.
    """
    found: dict[str, SourceFrame | str] = {}
    try:
        plugin, settings = _decoder()
        declared_size(str(path.absolute()))
        decoder = plugin.open(path, settings)
    except TrackverseError as error:
        return dict.fromkeys(moments, str(error))
    try:
        plans = plan_tracks(tracks, (decoder.info.width, decoder.info.height), source_size)
        wanted: list[_Wanted] = []
        for track_id, moment in moments.items():
            plan = plans[track_id]
            if isinstance(plan, ItemError):
                found[track_id] = plan.message
            else:
                wanted.append(_Wanted(track_id, moment, plan))
        return found | _decoded(decoder, wanted)
    finally:
        close_decoder(decoder)


def _decoder() -> tuple[DecoderPlugin, Any]:
    from trackverse_cli.plugins import choose_decoder

    plugin = choose_decoder(DECODER)
    return plugin, plugin.settings()


def _decoded(decoder: Decoder, wanted: Sequence[_Wanted]) -> dict[str, SourceFrame | str]:
    """Go through the video once; a frame is let go of as soon as its picture is made."""
    found: dict[str, SourceFrame | str] = {}
    reach = 1.5 / float(decoder.info.rate)
    waiting = sorted(wanted, key=lambda one: one.moment.at, reverse=True)
    spans = [(one.moment.at - reach, one.moment.at + reach) for one in waiting]
    told = ""
    try:
        for frame in decoder.frames(spans):
            if isinstance(frame, Damage):
                told = frame.message
                continue
            at = float(frame.pts * frame.time_base)
            while waiting and at > waiting[-1].moment.at + reach:
                one = waiting.pop()
                found[one.track_id] = _shown(one, decoder.info, told)
            for one in reversed(waiting):
                off = abs(at - one.moment.at)
                if off > reach:
                    break
                if off < one.off:
                    one.nearest, one.off = frame, off
            if not waiting:
                break
    except DamagedFileError as error:
        told = str(error)
    return found | {one.track_id: _shown(one, decoder.info, told) for one in waiting}


def _shown(one: _Wanted, info: VideoInfo, told: str) -> SourceFrame | str:
    frame = one.nearest
    if frame is None:
        return told or f"the video on disk has no frame at {one.moment.at:.2f} s"
    at = float(frame.pts * frame.time_base)
    size = fitting((info.width, info.height), SOURCE_SIDE)
    whole = np.array([[0.0, 0.0, info.width, info.height]])
    picture = frame.crop(whole, [size])[0]
    picture.colorspace, picture.color_range = info.colour.matrix, info.colour.range
    x, y, w, h = one.plan.boxes_at([at])[0].tolist()
    way = one.plan.boxes_at(np.linspace(one.moment.first, one.moment.last, PATH_POINTS))
    centres = (way[:, :2] + way[:, 2:] / 2).tolist()
    pixels = picture.to_ndarray(format="rgb24").astype(np.uint8, copy=False)
    path = tuple((float(a), float(b)) for a, b in centres)
    return SourceFrame(jpeg(pixels), (info.width, info.height), (x, y, w, h), path, at)
