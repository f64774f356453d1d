"""From a file that has come to a video in its place."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from trackverse_cli.download.check import check_video, remux_to_mp4
from trackverse_cli.download.info import largest_size
from trackverse_cli.files import checksum, make_folder, publish

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trackverse_cli.download.info import Info
    from trackverse_cli.layout import Layout


@dataclass(frozen=True, slots=True)
class DownloadedVideo:
    """One video that came and was read to its end.

    Attributes:
        video_id: its id.
        path: its file, in place.
        bytes: the size of the file.
        width: pixels, as displayed.
        height: pixels, as displayed.
        duration_seconds: as the container says.
        codec: FFmpeg's name of the codec, such as `h264`.
        format_id: the host's name of the format.
        checksum: BLAKE2b-128 of the file.
        source_size: the largest (width, height) that the host offers, where it says it.
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


def place(layout: Layout, video_id: str, info: Info, lengths: Mapping[str, int]) -> DownloadedVideo:
    """Check the file that has come, make it an mp4 where it is none, and put it into its place.

    Args:
        layout: the dataset folder.
        video_id: a checked id.
        info: what the downloader knows of the video and of its file.
        lengths: address -> bytes of the whole file behind it, where its host said it.

    Raises:
        DownloadError: the file is not the video that was promised.
        OSError: the disk refused.
    """
    source = Path(info["requested_downloads"][0]["filepath"])
    probe = check_video(
        source, promised_seconds=info.get("duration"), promised_bytes=_stated_bytes(info, lengths)
    )
    if not probe.is_mp4:
        remuxed = layout.partial / f"{video_id}.remuxed.mp4"
        remux_to_mp4(source, remuxed, probe)
        source = remuxed
    target = layout.video_target(video_id)
    video = DownloadedVideo(
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
    )
    make_folder(target.parent, "the folder of videos")
    publish(source, target)
    return video


def _stated_bytes(info: Info, lengths: Mapping[str, int]) -> int | None:
    """Return the size of the file as its host stated it; what came along with it counts most."""
    if info.get("protocol") not in ("http", "https") or info.get("requested_formats"):
        return None
    stated = lengths.get(str(info.get("url"))) or info.get("filesize")
    return int(stated) if stated else None
