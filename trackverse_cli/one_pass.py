"""One pass over one video: every frame to the clips that need it, and what becomes of them."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from trackverse_cli.clip_errors import of_file_error
from trackverse_cli.clips import ClipDone, ClipInProgress, ClipSpan, Workshop
from trackverse_cli.errors import (
    DamagedFileError,
    ItemError,
    RefusedNameError,
    StoppedError,
    TryLaterError,
)
from trackverse_cli.geometry import plan_tracks
from trackverse_cli.interfaces import Damage, note_of
from trackverse_cli.means import lacking
from trackverse_cli.strands import Window

if TYPE_CHECKING:
    from collections.abc import Sequence

    from av import VideoFrame

    from trackverse_cli.boxes import CropPlan
    from trackverse_cli.interfaces import Decoder, Frame
    from trackverse_cli.metadata import Track

BYTES_HELD = 64 << 20
"""Of source frames of one video that wait for their crops, and of these crops."""

FRAMES_HELD = 8
"""That many frames may wait in any case."""

FRAMES_TOGETHER = 8
"""Frames that a clip's encoder gets at a time, where so many may be held."""

SAMPLING_SECONDS = 1 / 16
"""Boxes were sampled 16 times a second, so the last one may lie this far after the last frame."""


@dataclass(frozen=True, slots=True)
class CutOutcome:
    """What became of the wanted tracks of one video.

    Attributes:
        done: the clips that were cut.
        failed: (track id, reason, message) of the others.
        note: what the decoder and the encoders did otherwise than asked, such as to fall back
            from a GPU; else "".
    """

    done: tuple[ClipDone, ...]
    failed: tuple[tuple[str, str, str], ...]
    note: str = ""


class PartlyCutError(Exception):
    """A pass ended early; what it finished stands and wants to be recorded.

    Attributes:
        outcome: what was finished.
        cause: why it ended: StoppedError or TryLaterError.
    """

    def __init__(self, outcome: CutOutcome, cause: Exception) -> None:
        super().__init__(str(cause))
        self.outcome = outcome
        self.cause = cause


def _taken(crops: Sequence[VideoFrame]) -> Sequence[VideoFrame]:
    """Return the crops computed; as they were if one fails, for its clip to meet the failure."""
    try:
        return list(crops)
    except Exception:  # noqa: BLE001 - raised again where the clip takes it
        return crops


class Pass:
    """One pass over one video."""

    def __init__(
        self,
        shop: Workshop,
        decoder: Decoder,
        tracks: Sequence[Track],
        due: Sequence[Track],
        source_size: tuple[int, int] | None,
    ) -> None:
        self._shop = shop
        self._decoder = decoder
        self._info = decoder.info
        self._frame_seconds = float(1 / self._info.rate)
        self._failed: list[tuple[str, str, str]] = []
        plans = plan_tracks(tracks, (self._info.width, self._info.height), source_size)
        clips = [clip for track in due if (clip := self._begin(track, plans[track.track_id]))]
        self._clips = sorted(clips, key=lambda clip: clip.span.start)

    def _begin(self, track: Track, plan: CropPlan | ItemError) -> ClipInProgress | None:
        span = ClipSpan.of(track, self._info, self._shop.settings.max_clip_seconds)
        end = self._info.duration_seconds
        if isinstance(plan, ItemError):
            self._failed.append((track.track_id, plan.reason, plan.message))
            return None
        if end is not None and self._lacks_frames(span, end):
            told = self._beyond(span, f"at {end:.3f} s")
            self._failed.append((track.track_id, "beyond-end", told))
            return None
        encoder = self._decoder.hw_encoder
        return ClipInProgress(self._shop, track, plan, span, self._info, encoder)

    def _lacks_frames(self, span: ClipSpan, end: float) -> bool:
        """Say whether the clip needs frames that a video which ends at `end` does not have."""
        frame = self._frame_seconds
        last_needed = min(span.stop - frame / 2, span.limit - frame)
        return last_needed > end + max(frame, SAMPLING_SECONDS)

    def _beyond(self, span: ClipSpan, where: str) -> str:
        last = span.stop - float(1 / (2 * self._info.rate))
        return f"the track lasts until {last:.3f} s, the video ends {where}"

    def run(self) -> CutOutcome:
        """Decode once, feed every clip, and wait for all of them."""
        damage: DamagedFileError | None = None
        end = 0.0
        try:
            for found in self._decoder.frames(self._spans()):
                if isinstance(found, Damage):
                    self._spoil(found)
                else:
                    end = self._feed(found)
        except DamagedFileError as error:
            if (lacks := lacking(error)) is not None:
                self._abandon(StoppedError(15))
                raise lacks from error
            damage = error
        except BaseException as error:
            self._abandon(error if isinstance(error, StoppedError) else StoppedError(15))
            raise
        for clip in self._clips:
            if not clip.ended:
                self._settle(clip, damage, end)
        return self._collect()

    def _spans(self) -> list[tuple[float, float]]:
        self._window = Window(BYTES_HELD, FRAMES_HELD)
        self._frame_bytes = self._info.width * self._info.height * 3 // 2
        self._together = 0
        self._waiting = list(reversed(self._clips))
        self._active: list[ClipInProgress] = []
        return [(clip.span.start, min(clip.span.stop, clip.span.limit)) for clip in self._clips]

    def _feed(self, frame: Frame) -> float:
        """Hand a frame to the clips that need it; return the time in seconds at which it ends."""
        if self._shop.stop.is_set():
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
        promised = self._info.duration_seconds
        # Of what lies before the span only that is known which other clips needed.
        seen = end > clip.span.start
        where = f"at {end:.3f} s" if seen else f"before {clip.span.start:.3f} s"
        if damage is not None:
            clip.drop(ItemError("video-damaged", str(damage)))
        elif not self._lacks_frames(clip.span, end):
            clip.finish()
        elif promised is not None and not self._lacks_frames(clip.span, promised):
            told = f"the video's frames end {where}, though it says {promised:.3f} s"
            clip.drop(ItemError("video-damaged", told))
        else:
            clip.drop(ItemError("beyond-end", self._beyond(clip.span, where)))

    def _abandon(self, error: Exception) -> None:
        for clip in self._clips:
            clip.drop(error)
        for clip in self._clips:
            with suppress(Exception):
                clip.result.result()

    def _collect(self) -> CutOutcome:
        done: list[ClipDone] = []
        serious: Exception | None = None
        for clip in self._clips:
            try:
                done.append(clip.result.result())
            except ItemError as error:
                self._failed.append((clip.track.track_id, error.reason, error.message))
            except (OSError, RefusedNameError) as error:
                told = of_file_error(error, clip.track.clip_name)
                if isinstance(told, TryLaterError):
                    serious = told
                else:
                    self._failed.append((clip.track.track_id, *told))
            except StoppedError as error:
                serious = error
        done, refusal = self._gather(done)
        serious = refusal or serious
        notes = dict.fromkeys([note_of(self._decoder), *(clip.note for clip in done)])
        note = "; ".join(filter(None, notes))
        outcome = CutOutcome(tuple(done), tuple(self._failed), note)
        if serious is not None:
            raise PartlyCutError(outcome, serious) from serious
        return outcome

    def _gather(self, done: list[ClipDone]) -> tuple[list[ClipDone], Exception | None]:
        """Hand the clips to the sink, in the order in which they begin; return what it took."""
        gathered = self._shop.sink.gather([clip.finished for clip in done])
        taken = {clip.member.track_id: clip for clip in gathered.clips}
        kept = [replace(c, finished=taken[c.track_id]) for c in done if c.track_id in taken]
        if gathered.error is None:
            return kept, None
        lost = [clip for clip in done if clip.track_id not in taken]
        told = of_file_error(gathered.error, lost[0].finished.member.clip_name)
        if isinstance(told, TryLaterError):
            return kept, told
        self._failed += [(clip.track_id, *told) for clip in lost]
        return kept, None
