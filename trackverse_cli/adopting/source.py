"""One source video as a witness: the times of its frames, and what is inside a track's box."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import msgspec
import numpy as np

from trackverse_cli.adopting.judge import Wanted
from trackverse_cli.adopting.media import cells_of, frame_times, spread
from trackverse_cli.clips import ClipSpan
from trackverse_cli.download.check import Probe, check_video
from trackverse_cli.errors import DamagedFileError, ItemError, StoppedError
from trackverse_cli.geometry import plan_tracks
from trackverse_cli.interfaces import close_decoder, sound_frames

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterable, Mapping
    from fractions import Fraction
    from pathlib import Path

    from trackverse_cli.adopting.media import Picture
    from trackverse_cli.boxes import CropPlan
    from trackverse_cli.catalog import Video
    from trackverse_cli.interfaces import Decoder, DecoderPlugin
    from trackverse_cli.ledger import VideoEntry
    from trackverse_cli.metadata import Track


_WORDS = ("format_id", "upload_date")
_CARRIED = (*_WORDS, "source_size", "fetched_bytes", "whole_bytes")
_WORD = re.compile(r"[\w+.-]{1,40}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Eyes:
    """How sources are looked at.

    Attributes:
        decoder: the plugin that opens them; its frames must be in main memory.
        settings: its validated settings.
        max_clip_seconds: where a longer track is cut off.
        stop: set by a signal.
    """

    decoder: DecoderPlugin
    settings: Any
    max_clip_seconds: float
    stop: threading.Event


@dataclass(slots=True)
class Source:
    """One open video.

    Attributes:
        path: its file.
        probe: what it is.
        stamp: tells this file from one that is put into its place.
        pts: (m,) of its frames, ascending.
        base: seconds of one unit of them.
    """

    path: Path
    probe: Probe
    stamp: tuple[int, ...]
    pts: Any
    base: Fraction
    _decoder: Decoder
    _eyes: Eyes
    _plans: Mapping[str, CropPlan | ItemError]
    _asked: list[tuple[str, tuple[int, int], Wanted, int]] = field(default_factory=list)

    @classmethod
    def open(
        cls, path: Path, video: Video, source_size: tuple[int, int] | None, eyes: Eyes
    ) -> Self:
        """Read a video to its end, and plan its tracks.

        Raises:
            ItemError: reason `video-damaged`.
            StoppedError: a signal.
        """
        stamp = cls.stamp_of(path)
        try:
            probe = check_video(path)
            pts, base = frame_times(path, eyes.stop)
            decoder = eyes.decoder.open(path, eyes.settings)
        except ItemError as error:  # a download's words mean nothing here
            raise ItemError("video-damaged", error.message) from error
        except DamagedFileError as error:
            raise ItemError("video-damaged", str(error)) from error
        size = (decoder.info.width, decoder.info.height)
        plans = plan_tracks(video.tracks, size, source_size)
        return cls(path, probe, stamp, pts, base, decoder, eyes, plans)

    @staticmethod
    def stamp_of(path: Path) -> tuple[int, ...]:
        """Return what a file is by its facts, its content apart."""
        facts = path.lstat()
        return facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns

    def close(self) -> None:
        """Close the file."""
        close_decoder(self._decoder)

    def wanted(self, track: Track) -> Wanted:
        """Return what the clip of a track is to be.

        Raises:
            ItemError: it is not to be cut from this video: `geometry-mismatch`, `beyond-end`,
                `invalid-track` or `empty-span`.
        """
        plan = self._plans[track.track_id]
        if isinstance(plan, ItemError):
            raise plan
        info = self._decoder.info
        frame = float(1 / info.rate)
        span = ClipSpan.of(track, info, self._eyes.max_clip_seconds)
        times = self.pts * float(self.base)
        begin = int(np.searchsorted(times, span.start))
        end = int(
            min(np.searchsorted(times, span.stop, "right"), np.searchsorted(times, span.limit))
        )
        ends = float(times[-1]) + frame if len(times) else 0.0
        if span.lacks_frames(ends, frame):
            last = span.last_needed(frame)
            told = f"the track lasts until {last:.3f} s, the video ends at {ends:.3f} s"
            raise ItemError("beyond-end", told)
        if end <= begin:
            raise ItemError("empty-span", "the video has no frame in the time of the track")
        return Wanted(plan.clip_size, times, begin, end - begin, frame / 2)

    def ask(self, track_id: str, size: tuple[int, int], wanted: Wanted, frames: int) -> None:
        """Have `pictures` return what a clip of so many frames and this size is compared with."""
        self._asked.append((track_id, size, wanted, frames))

    def pictures(self) -> dict[tuple[str, int], Picture]:
        """Return (track id, place of a frame) -> its cells, for all that was asked, in one pass.

        Raises:
            ItemError: reason `video-damaged`.
            StoppedError: a signal.
        """
        places: dict[int, list[tuple[str, tuple[int, int]]]] = {}
        for track_id, size, wanted, frames in self._asked:
            for place in _places(wanted, frames):
                places.setdefault(place, []).append((track_id, size))
        times = {int(self.pts[place]): place for place in places}
        found: dict[tuple[str, int], Picture] = {}
        try:
            for frame in sound_frames(self._decoder, self._spans(times)):
                if self._eyes.stop.is_set():
                    raise StoppedError(15)
                here = times.get(frame.pts)
                if here is not None:
                    found |= self._cells(frame, here, places[here])
        except DamagedFileError as error:
            raise ItemError("video-damaged", str(error)) from error
        return found

    def _spans(self, times: Iterable[int]) -> list[tuple[float, float]]:
        return [(float(pts * self.base), float(pts * self.base)) for pts in sorted(times)]

    def _cells(
        self, frame: Any, place: int, tracks: list[tuple[str, tuple[int, int]]]
    ) -> dict[tuple[str, int], Picture]:
        at = float(frame.pts * frame.time_base)
        plans = [self._plans[track_id] for track_id, _ in tracks]
        boxes = np.concatenate([p.boxes_at([at]) for p in plans if not isinstance(p, ItemError)])
        # At whole pixels, as the scripts cut: in fine textures the rest of a pixel shows.
        crops = frame.crop(
            np.maximum(np.floor(boxes), 1.0 * (np.arange(4) > 1)), [size for _, size in tracks]
        )
        return {
            (track_id, place): cells_of(crops[number])
            for number, (track_id, _) in enumerate(tracks)
        }


def _places(wanted: Wanted, frames: int) -> set[int]:
    shifts = wanted.shifts(frames)
    return {wanted.begin + shift + number for shift in shifts for number in spread(frames)}


def facts_of(known: VideoEntry | None, source: Source, size: int) -> dict[str, Any]:
    """Return what to record of a video: what its own ledger knows of its download, and its probe.

    Sentences stay behind: nobody knows what another's ledger tells in them.
    """
    facts: dict[str, Any] = {}
    if known is not None and known.bytes == size and not known.ranges:
        said = msgspec.to_builtins(known)
        facts = {name: said[name] for name in _CARRIED if name in said}
        facts |= {name: "" for name in _WORDS if not _WORD.fullmatch(said.get(name, ""))}
    probe = source.probe
    return facts | {
        "bytes": size,
        "width": probe.width,
        "height": probe.height,
        "duration_seconds": probe.duration_seconds,
        "codec": probe.codec,
        "fps": probe.fps,
    }
