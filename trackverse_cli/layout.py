"""Every path inside the dataset folder, and the check of every name that comes from outside."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trackverse_cli.errors import RefusedNameError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_VIDEO_ID = re.compile(r"[A-Za-z0-9_-]{11}", re.ASCII)
_COMPONENT_BYTES = 255
_NAME_BYTES = 2048


def check_video_id(video_id: str) -> str:
    """Return `video_id` if it is 11 characters of `A-Za-z0-9_-`.

    Raises:
        RefusedNameError: it is not.
    """
    if not _VIDEO_ID.fullmatch(video_id):
        raise RefusedNameError(
            f"video id {_shown(video_id)} is not 11 characters of A-Z, a-z, 0-9, _ and -"
        )
    return video_id


def check_clip_name(name: str) -> str:
    """Return `name` if it stays inside `tracks_mp4/` on every system.

    Raises:
        RefusedNameError: it is empty, absolute, holds `.` or `..` as a part, a control character
            or a backslash, is not valid UTF-8, or is too long for a file system.
    """
    problem = _problem_of(name)
    if problem:
        raise RefusedNameError(f"clip name {_shown(name)} {problem}")
    return name


def _problem_of(name: str) -> str | None:
    try:
        encoded = name.encode()
    except UnicodeEncodeError:
        return "is not valid UTF-8"
    parts = name.split("/")
    if not name:
        return "is empty"
    if name.startswith("/"):
        return "is absolute"
    if any(ord(c) < 32 or 127 <= ord(c) < 160 for c in name):
        return "holds a control character"
    if "\\" in name:
        return "holds a backslash"
    if any(part in ("", ".", "..") for part in parts):
        return "has an empty part, '.' or '..'"
    if len(encoded) > _NAME_BYTES or any(len(p.encode()) > _COMPONENT_BYTES for p in parts):
        return f"has a part over {_COMPONENT_BYTES} bytes, or is over {_NAME_BYTES} as a whole"
    return None


def _shown(name: str) -> str:
    text = ascii(name)
    return text if len(text) <= 120 else text[:117] + "..."


@dataclass(frozen=True, slots=True)
class Layout:
    """The paths of one dataset folder.

    Attributes:
        root: the dataset folder, absolute.
        scratch: where videos are brought to instead, on a disk of this machine's own, or None.
    """

    root: Path
    scratch: Path | None = None

    @property
    def metadata(self) -> Path:
        """Where released metadata files are kept as they came."""
        return self.root / "metadata"

    @property
    def videos(self) -> Path:
        """Where source videos are kept."""
        return self.root / "videos_mp4"

    @property
    def arrivals(self) -> Path:
        """Where videos are brought to: `videos`, or a folder of this machine's own disk."""
        return self.videos if self.scratch is None else self.scratch / "videos_mp4"

    @property
    def partial(self) -> Path:
        """Where unfinished downloads are, and nothing else."""
        return self.arrivals / ".partial"

    @property
    def tracks(self) -> Path:
        """Where clips are kept."""
        return self.root / "tracks_mp4"

    @property
    def ledger(self) -> Path:
        """Where every run's record is kept."""
        return self.root / "ledger"

    @property
    def state(self) -> Path:
        """What may be deleted when nothing runs."""
        return self.root / "state"

    @property
    def runs(self) -> Path:
        """Where each run at work keeps its sign of life."""
        return self.state / "runs"

    @property
    def leases(self) -> Path:
        """Where runs say what they are at."""
        return self.state / "leases"

    @property
    def done(self) -> Path:
        """Where ranks that found nothing left to win are marked."""
        return self.state / "done"

    @property
    def jobs(self) -> Path:
        """Where every submitted job is kept, each in a folder of its own."""
        return self.state / "jobs"

    @property
    def logs(self) -> Path:
        """Where the ranks' logs are kept."""
        return self.root / "logs"

    def index(self, name: str) -> Path:
        """Return the folder of the index of the metadata file called `name`."""
        return self.root / "index" / name

    def video_target(self, video_id: str) -> Path:
        """Return where the video of a checked id is written."""
        return self.arrivals / video_id[:2] / f"{video_id}.mp4"

    def ranges_target(self, video_id: str) -> Path:
        """Return where the needed stretches of the video of a checked id are written."""
        return self.arrivals / video_id[:2] / f"{video_id}.ranges.mp4"

    def find_ranges(self, video_id: str) -> Path | None:
        """Return the file with stretches of a video, which may not be those needed, or None."""
        for folder in (self.arrivals, self.videos):
            path = folder / video_id[:2] / f"{video_id}.ranges.mp4"
            if path.is_file():
                return path
        return None

    def find_video(self, video_id: str) -> Path | None:
        """Return the video's file in either layout, or on this machine's own disk, or None."""
        deep = f"{video_id[:2]}/{video_id}.mp4"
        for path in (
            self.video_target(video_id), self.videos / deep, self.videos / f"{video_id}.mp4",
        ):  # fmt: skip
            if path.is_file():
                return path
        return None

    def clip(self, name: str) -> Path:
        """Return a clip's path.

        Raises:
            RefusedNameError: the name, or a symbolic link below `tracks_mp4/`, leads out of it.
        """
        path = self.tracks / check_clip_name(name)
        folder = path.parent
        if folder != self.tracks:
            top = os.path.realpath(self.tracks)
            # Only a link below the top folder can lead out, so only existing folders matter;
            # unlike Path.resolve, realpath bears links that go round in a circle.
            if os.path.commonpath([top, os.path.realpath(folder)]) != top:
                raise RefusedNameError(
                    f"clip name {_shown(name)} leads out of {self.tracks} by a symbolic link"
                )
        return path

    def check_own(self, *folders: Path) -> None:
        """Refuse folders to which a symbolic link below a top folder leads, out of it or not.

        Raises:
            RefusedNameError: one is such; what was written there could land anywhere.
        """
        for folder in folders:
            for top in filter(None, (self.root, self.scratch)):
                parts = folder.relative_to(top).parts if folder.is_relative_to(top) else ()
                for depth in range(2, len(parts) + 1):
                    at = top.joinpath(*parts[:depth])
                    if at.is_symlink():
                        raise RefusedNameError(
                            f"{at} is a symbolic link, and only the top folders of a dataset may "
                            "be; move it away, then run the same command again"
                        )

    def relative(self, path: Path) -> str:
        """Return `path` relative to the root, which may be moved, as text with `/`."""
        return path.relative_to(self.root).as_posix()

    def listed_videos(self) -> Iterator[tuple[str, Path]]:
        """Yield (id, path) of every video on disk in either layout, by directory listings.

        A file that holds only stretches comes as `<id>.ranges.mp4`, before or after the whole one.
        """
        if not self.videos.is_dir():
            return
        for entry in sorted(self.videos.iterdir()):
            if entry.suffix == ".mp4" and _VIDEO_ID.fullmatch(entry.stem):
                yield entry.stem, entry
            elif len(entry.name) == 2 and entry.is_dir():
                for path in sorted(entry.iterdir()):
                    in_place = path.stem[:2] == entry.name
                    video_id = path.stem.removesuffix(".ranges")
                    if path.suffix == ".mp4" and in_place and _VIDEO_ID.fullmatch(video_id):
                        yield video_id, path
