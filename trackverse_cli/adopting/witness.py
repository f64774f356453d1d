"""The source of one video: what its clips are held against, and adopted itself."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Self

from trackverse_cli.adopting.judge import check_count, check_size, frames_without_video
from trackverse_cli.adopting.source import Source, facts_of
from trackverse_cli.errors import ItemError
from trackverse_cli.files import checksum, publish, temporary_beside
from trackverse_cli.geometry import LONG_SIDE, SHORT_SIDE, plan_tracks
from trackverse_cli.probe import Level, check_video

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from trackverse_cli.adopting.judge import Wanted
    from trackverse_cli.adopting.means import Means
    from trackverse_cli.adopting.media import ClipHeader, Picture
    from trackverse_cli.adopting.outcome import Outcome
    from trackverse_cli.catalog import Video
    from trackverse_cli.metadata import Track

NOTE = "adopted"
"""What the ledger notes on a video that was taken over."""


class Witness:
    """The source of one video, opened when it is first asked for.

    Args:
        means: what the adoption works with.
        video: which video.
    """

    def __init__(self, means: Means, video: Video) -> None:
        self._means, self._video = means, video
        self._source: Source | None = None
        self._error: ItemError | None = None
        self._pictures: dict[tuple[str, int], Picture] | None = None
        self._theirs: Path | None = None
        self._trouble: ItemError | None = None
        try:
            self._theirs = means.folder.video(video.video_id)
        except ItemError as error:
            self._trouble = error
        own = means.layout.find_video(video.video_id)
        self._own = self._theirs if means.folder.videos_in_place else own

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._source is not None:
            self._source.close()

    def _opened(self) -> Source:
        """Return the open source; raise ItemError `video-missing` or `video-damaged`."""
        if self._error is not None:
            raise self._error
        if self._source is None:
            means, video_id = self._means, self._video.video_id
            path = self._own or self._theirs
            try:
                if path is None:
                    why = self._trouble.message if self._trouble else "it is not there"
                    told = f"its video cannot be asked about it: {why}"
                    raise ItemError("video-missing", told)
                self._check_damage(path)
                sizes = [k.source_sizes.get(video_id) for k in (means.ledger, means.folder.ledger)]
                self._source = Source.open(path, self._video, sizes[0] or sizes[1], means.eyes)
            except ItemError as error:
                self._error = error
                raise
        return self._source

    def _check_damage(self, path: Path) -> None:
        """Hold a video that a check found damaged here against what it was when it came."""
        entry = self._means.ledger.videos.get(self._video.video_id)
        if path != self._own or entry is None or not entry.checksum:
            return
        if (entry.state, entry.reason) != ("failed", "video-damaged"):
            return
        if checksum(path) != entry.checksum:
            told = "it has another checksum than when it came; download it again"
            raise ItemError("video-damaged", told)

    def wanted(self, track: Track, header: ClipHeader) -> Wanted | None:
        """Hold a clip's header against the video.

        Returns:
            What its pictures are to be held against; None where the video is not there and clips
            are taken on trust.

        Raises:
            ItemError: it is not what was asked for, or there is no video to tell.
        """
        try:
            source = self._opened()
        except ItemError:
            if not self._means.options.without_video:
                raise
            self._trust(track, header)
            return None
        wanted = source.wanted(track)
        check_count(header.frames, wanted.count, wanted.count, wanted.count)
        check_size(header, wanted.size, wanted.count)
        return wanted

    def _trust(self, track: Track, header: ClipHeader) -> None:
        """Hold a clip against its own rate, and against a video as boxes are made on."""
        first, last = float(track.frame_ts.min()), float(track.frame_ts.max())
        seconds = min(last - first, self._means.eyes.max_clip_seconds)
        least, most, likely = frames_without_video(seconds, float(header.rate))
        check_count(header.frames, least, most, likely)
        problem: ItemError | None = None
        for size in self._sizes(track):
            plan = plan_tracks(self._video.tracks, size, None)[track.track_id]
            try:
                if isinstance(plan, ItemError):
                    raise plan
                check_size(header, plan.clip_size, likely)
            except ItemError as error:
                problem = problem or error
            else:
                return
        if problem is not None:
            raise problem

    def _sizes(self, track: Track) -> list[tuple[int, int]]:
        known = [
            (entry.width, entry.height)
            for state in (self._means.ledger, self._means.folder.ledger)
            if (entry := state.videos.get(self._video.video_id)) is not None and entry.width
        ]
        if known:
            return known[:1]
        if track.video_size is not None:
            return [(track.video_size[1], track.video_size[0])]
        return [(LONG_SIDE, SHORT_SIDE), (SHORT_SIDE, LONG_SIDE)]

    def ask(self, track: Track, header: ClipHeader, wanted: Wanted) -> None:
        """Say which pictures will be needed, before the first is taken."""
        self._opened().ask(track.track_id, header.size, wanted, header.frames)

    def shown(self, track: Track) -> Callable[[int], Picture | None]:
        """Return what gives the cells of a track's box in a frame; raises ItemError."""
        if self._pictures is None:
            self._pictures = self._opened().pictures()
        pictures = self._pictures
        return lambda place: pictures.get((track.track_id, place))

    def adopt(self, out: Outcome, *, lacking: bool) -> None:
        """Take the video itself over, if that is wanted.

        Args:
            out: takes what came of it.
            lacking: whether a clip is left to be cut from it.
        """
        means, video_id = self._means, self._video.video_id
        which = means.options.videos
        if self._trouble is not None:
            out.leave_video(video_id, self._trouble)
        elif self._own is None and self._theirs is None:
            out.videos["absent"] += 1
        elif which == "none" or (which == "needed" and not lacking):
            return
        elif self._own is not None and self._is_settled(out):
            out.videos["there"] += 1
        else:
            try:
                self._adopt(out)
                out.videos["adopted"] += 1
            except ItemError as error:
                out.leave_video(video_id, error)

    def _is_settled(self, out: Outcome) -> bool:
        """Say whether nothing is to be done for a video that is here; let a stopped move go on."""
        recorded = self._is_recorded()
        if self._means.folder.videos_in_place:
            return recorded
        moves = self._means.options.move and self._means.sink is not None
        if self._own is None or self._theirs is None or (recorded and not moves):
            return True
        # Their name may go, and a run that was killed may have brought it, if it is the very same.
        if checksum(self._own) != checksum(self._theirs):
            return True
        if self._means.sink is not None:
            out.sources.append(self._theirs)
        return recorded

    def _is_recorded(self) -> bool:
        entry = self._means.ledger.videos.get(self._video.video_id)
        if entry is None or self._own is None or entry.state != "present" or not entry.checksum:
            return False
        return self._own.stat().st_size == entry.bytes

    def _adopt(self, out: Outcome) -> None:
        means, source = self._means, self._opened()
        size = source.path.stat().st_size
        out.bytes += size
        if means.sink is None:
            return
        known = means.folder.ledger.videos.get(self._video.video_id)
        known = known if known is not None and known.state == "present" else None
        if self._own is not None:
            digest = checksum(self._own)
        else:
            digest = self._bring(source, out)
            out.sources.append(source.path)
        out.came = facts_of(known, source, size) | {"checksum": digest, "note": NOTE}

    def _bring(self, source: Source, out: Outcome) -> str:
        """Bring the very file that was read; return its checksum."""
        means, video_id = self._means, self._video.video_id
        target = means.layout.videos / video_id[:2] / f"{video_id}.mp4"
        target.parent.mkdir(parents=True, exist_ok=True)
        top = os.path.realpath(means.layout.videos)
        if os.path.commonpath([top, os.path.realpath(target.parent)]) != top:
            raise ItemError("refused-name", f"{target.parent} is a link, which is not followed")
        temporary = temporary_beside(target)
        before = source.stamp
        try:
            way = means.carrier.bring(source.path, temporary, "video-damaged")
            if Source.stamp_of(source.path) != before:
                raise ItemError("video-damaged", "it changed while it was read")
            digest = checksum(temporary)
            self._check_known(digest, source)
            check_video(temporary, Level.PROBE)
            publish(temporary, target)
        finally:
            with suppress(OSError):
                temporary.unlink()
        out.how[way] += 1
        return digest

    def _check_known(self, digest: str, source: Source) -> None:
        """Hold a video against what its own ledger recorded of a file of this size."""
        known = self._means.folder.ledger.videos.get(self._video.video_id)
        if known is None or known.state != "present" or known.ranges or not known.checksum:
            return
        if known.bytes == source.path.stat().st_size and known.checksum != digest:
            raise ItemError("video-damaged", "it has another checksum than when it came")
