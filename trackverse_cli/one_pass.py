"""One pass over a stretch of a video: every frame to the clips that need it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from trackverse_cli.errors import DamagedFileError, ItemError, StoppedError
from trackverse_cli.interfaces import Damage
from trackverse_cli.means import raise_if_lacking
from trackverse_cli.strands import Window

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from av import VideoFrame

    from trackverse_cli.clips import ClipInProgress, ClipSpan
    from trackverse_cli.interfaces import Decoder, Frame, VideoInfo

BYTES_HELD = 64 << 20
"""Of source frames of one video that wait for their crops, and of these crops."""

FRAMES_HELD = 8
"""That many frames may wait in any case."""

FRAMES_TOGETHER = 8
"""Frames that a clip's encoder gets at a time, where so many may be held."""


def _taken(crops: Sequence[VideoFrame]) -> Sequence[VideoFrame]:
    """Return the crops computed; as they were if one fails, for its clip to meet the failure."""
    try:
        return list(crops)
    except Exception:  # noqa: BLE001 - raised again where the clip takes it
        return crops


def beyond_end(span: ClipSpan, info: VideoInfo, where: str) -> ItemError:
    """Return what a clip is told that lasts longer than the video, which ends `where`."""
    last = span.stop - float(1 / (2 * info.rate))
    told = f"the track lasts until {last:.3f} s, the video ends {where}"
    return ItemError("beyond-end", told)


class Pass:
    """One pass over a stretch of a video.

    Args:
        info: what the video is.
        clips: those that lie in the stretch, in the order in which they begin.
        bytes_held: of frames and crops that may wait for the encoders.
        is_stopped: says whether to leave off.
    """

    def __init__(
        self,
        info: VideoInfo,
        clips: Sequence[ClipInProgress],
        bytes_held: int,
        is_stopped: Callable[[], bool],
    ) -> None:
        self._info = info
        self._frame_seconds = float(1 / info.rate)
        self._clips = clips
        self._is_stopped = is_stopped
        self._window = Window(bytes_held, FRAMES_HELD)
        self._frame_bytes = info.width * info.height * 3 // 2
        self._together = 0
        self._waiting = list(reversed(clips))
        self._active: list[ClipInProgress] = []
        self._spans = [(c.span.start, min(c.span.stop, c.span.limit)) for c in clips]

    @property
    def seconds(self) -> float:
        """How long the stretch is."""
        return max(stop for _, stop in self._spans) - self._spans[0][0]

    def run(self, decoder: Decoder) -> None:
        """Decode the stretch once and feed every clip; the encoders may still be at work after it.

        Raises:
            StoppedError: it was to leave off; what its clips have got is to be dropped.
            LacksError: the process may have no more memory, threads or files; likewise.
        """
        damage: DamagedFileError | None = None
        end = 0.0
        try:
            for found in decoder.frames(self._spans):
                if isinstance(found, Damage):
                    self._spoil(found)
                else:
                    end = self._feed(found)
        except DamagedFileError as error:
            raise_if_lacking(error)
            damage = error
        for clip in self._clips:
            if not clip.ended:
                self._settle(clip, damage, end)

    def _feed(self, frame: Frame) -> float:
        """Hand a frame to the clips that need it; return the time in seconds at which it ends."""
        if self._is_stopped():
            raise StoppedError(15)
        at = float(frame.pts * frame.time_base)
        while self._waiting and self._waiting[-1].span.start <= at:
            self._active.append(self._waiting.pop())
        self._finish_before(at)
        if self._active:
            self._share(frame, at)
        return at + self._frame_seconds

    def _share(self, frame: Frame, at: float) -> None:
        """Let every clip that is due have its crop of the frame."""
        clips = self._active
        boxes = np.array([clip.plan.box_at(at) for clip in clips])
        sizes = [clip.plan.clip_size for clip in clips]
        size = sum(width * height for width, height in sizes) * 3 // 2
        # Where the encoders have enough to do, crops are taken here, with the frame in the caches;
        # then it need not be held.
        at_once = self._window.is_half_full()
        if not at_once:
            size += self._frame_bytes
        if self._together >= FRAMES_TOGETHER or not self._window.has_place(size):
            self._flush()
        leave = self._window.enter(len(clips), size)
        crops = frame.crop(boxes, sizes)
        if at_once:
            crops = _taken(crops)
        for place, clip in enumerate(clips):
            clip.add(crops, place, frame.pts, leave)
        self._together += 1

    def _flush(self) -> None:
        """Hand all frames that wait to the encoders."""
        for clip in self._active:
            clip.flush()
        self._together = 0

    def _finish_before(self, at: float) -> None:
        """Finish the clips that need no frame from `at` on."""
        for clip in [clip for clip in self._active if clip.span.over(at)]:
            self._active.remove(clip)
            clip.finish()

    def _spoil(self, damage: Damage) -> None:
        """Drop the clips that need a frame of the damaged stretch; all others go on."""
        self._finish_before(damage.start)
        for clip in [clip for clip in self._clips if not clip.ended]:
            if clip.span.start <= damage.stop and not clip.span.over(damage.start):
                clip.drop(ItemError("video-damaged", damage.message))
        self._active = [clip for clip in self._active if not clip.ended]
        self._waiting = [clip for clip in self._waiting if not clip.ended]

    def _settle(self, clip: ClipInProgress, damage: Exception | None, end: float) -> None:
        """End a clip that no later frame has ended: the video is over, or broken."""
        span, frame, promised = clip.span, self._frame_seconds, self._info.duration_seconds
        # Of what lies before the span only that is known which other clips needed.
        where = f"at {end:.3f} s" if end > span.start else f"before {span.start:.3f} s"
        if damage is not None:
            clip.drop(ItemError("video-damaged", str(damage)))
        elif not span.lacks_frames(end, frame):
            clip.finish()
        elif promised is not None and not span.lacks_frames(promised, frame):
            told = f"the video's frames end {where}, though it says {promised:.3f} s"
            clip.drop(ItemError("video-damaged", told))
        else:
            clip.drop(beyond_end(span, self._info, where))
