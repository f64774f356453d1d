"""From a file that has come to a video in its place."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from trackverse_cli.download.check import Probe, check_stretches, check_video, remux_to_mp4
from trackverse_cli.download.info import largest_size
from trackverse_cli.files import checksum, make_folder, publish
from trackverse_cli.ranges import UnfitFileError, spans_in

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trackverse_cli.download.info import Info
    from trackverse_cli.download.stretches import Stretches
    from trackverse_cli.layout import Layout

_INSIDE_SECONDS = 0.25
_UNFINISHED = re.compile(r"\.part(-Frag\d+.*)?$|\.ytdl$")


@dataclass(frozen=True, slots=True)
class DownloadedVideo:
    """One video that came and was read to its end.

    Attributes:
        video_id: its id.
        path: its file, in place; `<id>.ranges.mp4` if it holds only stretches.
        bytes: the size of the file.
        width: pixels, as displayed.
        height: pixels, as displayed.
        duration_seconds: of the whole video, as the container says.
        codec: FFmpeg's name of the codec, such as `h264`.
        format_id: the host's name of the format.
        checksum: BLAKE2b-128 of the file.
        source_size: the largest (width, height) that the host offers, where it says it.
        fps: pictures a second on the average, 0 if the container does not tell.
        upload_date: the day as YYYYMMDD, empty if the host does not say it.
        ranges: (start, stop) in seconds of what the file holds; empty for the whole video.
        fetched_bytes: what came over the line for it in this run, retries of a line included.
        whole_bytes: the size of the whole file at the host, 0 if it is not known.
        note: why the whole file came where stretches were wanted, on one line; else empty.
    """

    video_id: str
    path: Path
    bytes: int
    width: int
    height: int
    duration_seconds: float
    codec: str
    format_id: str
    checksum: str
    source_size: tuple[int, int] | None
    fps: float = 0.0
    upload_date: str = ""
    ranges: tuple[tuple[float, float], ...] = ()
    fetched_bytes: int = 0
    whole_bytes: int = 0
    note: str = ""


def held_before(layout: Layout, video_id: str) -> tuple[tuple[float, float], ...]:
    """Return the (start, stop) seconds that a video's file of stretches holds, drawn in a little.

    So much that a plan for them takes no more than there is.
    """
    try:
        spans = spans_in(layout.ranges_target(video_id))
    except (OSError, UnfitFileError):
        return ()
    return tuple(
        (a + _INSIDE_SECONDS, b - _INSIDE_SECONDS) for a, b in spans if b - a > 2 * _INSIDE_SECONDS
    )


def place(
    layout: Layout,
    video_id: str,
    info: Info,
    lengths: Mapping[str, int],
    needed_seconds: float = 0.0,
) -> DownloadedVideo:
    """Check the file that has come, make it an mp4 where it is none, and put it into its place.

    Args:
        layout: the dataset folder.
        video_id: a checked id.
        info: what the downloader knows of the video and of its file.
        lengths: address -> bytes of the whole file behind it, where its host said it.
        needed_seconds: where the last track of the video ends.

    Raises:
        DownloadError: the file is not the video that was promised.
        OSError: the disk refused.
    """
    source = Path(info["requested_downloads"][0]["filepath"])
    stated = _stated_bytes(info, lengths)
    probe = check_video(
        source,
        promised_seconds=info.get("duration"),
        promised_bytes=stated,
        needed_seconds=needed_seconds,
    )
    if not probe.is_mp4:
        remuxed = layout.partial / f"{video_id}.remuxed.mp4"
        remux_to_mp4(source, remuxed, probe)
        source = remuxed
    target = layout.video_target(video_id)
    video = replace(
        _describe(video_id, source, target, probe, info),
        duration_seconds=probe.duration_seconds,
        whole_bytes=stated or 0,
    )
    make_folder(target.parent, "the folder of videos")
    publish(source, target)
    # The whole holds every stretch.
    layout.ranges_target(video_id).unlink(missing_ok=True)
    return video


def place_stretches(layout: Layout, video_id: str, came: Stretches) -> DownloadedVideo:
    """Check a file of stretches, and put it into its place.

    Raises:
        DownloadError: the file is damaged.
        OSError: the disk refused.
    """
    probe = check_stretches(came.path, came.held.samples)
    target = layout.ranges_target(video_id)
    video = replace(
        _describe(video_id, came.path, target, probe, came.info),
        duration_seconds=came.held.whole_seconds,
        ranges=came.held.spans,
        fetched_bytes=came.fetched_bytes,
        whole_bytes=came.whole_bytes,
    )
    make_folder(target.parent, "the folder of videos")
    publish(came.path, target)
    return video


def _describe(
    video_id: str, source: Path, target: Path, probe: Probe, info: Info
) -> DownloadedVideo:
    return DownloadedVideo(
        video_id=video_id,
        path=target,
        bytes=source.stat().st_size,
        width=probe.width,
        height=probe.height,
        duration_seconds=probe.duration_seconds,
        codec=probe.codec,
        format_id=str(info.get("format_id") or ""),
        checksum=checksum(source),
        source_size=largest_size(info.get("formats") or []),
        fps=probe.fps,
        upload_date=str(info.get("upload_date") or "")[:8],
    )


def _stated_bytes(info: Info, lengths: Mapping[str, int]) -> int | None:
    """Return the size of the file as its host stated it; what came along with it counts most."""
    if info.get("protocol") not in ("http", "https") or info.get("requested_formats"):
        return None
    stated = lengths.get(str(info.get("url"))) or info.get("filesize")
    return int(stated) if stated else None


def forget(partial: Path, video_id: str, *, resumable: bool = True) -> None:
    """Remove what is left of a video among the unfinished ones.

    Args:
        partial: their folder.
        video_id: a checked id.
        resumable: whether also what a next attempt would go on from.
    """
    for path in partial.glob(f"{video_id}.*"):
        if resumable or not _UNFINISHED.search(path.name):
            path.unlink(missing_ok=True)
