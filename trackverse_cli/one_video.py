"""All wanted clips of one video: who decodes which stretch of it, and what becomes of them."""

from __future__ import annotations

import threading
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from trackverse_cli import one_pass
from trackverse_cli.clip_errors import of_file_error
from trackverse_cli.clips import ClipDone, ClipInProgress, ClipSpan, Workshop
from trackverse_cli.errors import (
    ItemError,
    LacksError,
    RefusedNameError,
    StoppedError,
    TryLaterError,
)
from trackverse_cli.geometry import plan_tracks
from trackverse_cli.interfaces import close_decoder, key_before, note_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from trackverse_cli.boxes import CropPlan
    from trackverse_cli.interfaces import Decoder
    from trackverse_cli.metadata import Track
    from trackverse_cli.strands import Seats


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
    """A video was left early; what was finished of it stands and wants to be recorded.

    Attributes:
        outcome: what was finished.
        cause: why it ended: StoppedError, TryLaterError or LacksError.
    """

    def __init__(self, outcome: CutOutcome, cause: Exception) -> None:
        super().__init__(str(cause))
        self.outcome = outcome
        self.cause = cause


class VideoCut:
    """Cuts one video.

    Its stretches are the same however many threads decode them, so that what becomes of a clip
    does not depend on the machine.

    Args:
        shop: what all clips share.
        seats: how many threads decode at once, for all videos together.
        opened: opens the video once more.
        decoder: the open video.
        tracks: all known tracks of the video.
        due: those to cut.
        source_size: the largest (width, height) that the host offers, if known.
    """

    def __init__(
        self,
        shop: Workshop,
        seats: Seats,
        opened: Callable[[], Decoder],
        decoder: Decoder,
        tracks: Sequence[Track],
        due: Sequence[Track],
        source_size: tuple[int, int] | None,
    ) -> None:
        self._shop, self._seats, self._opened, self._decoder = shop, seats, opened, decoder
        self._info = info = decoder.info
        self._failed: list[tuple[str, str, str]] = []
        self._notes: list[str] = []
        self._error: BaseException | None = None
        self._lock = threading.Lock()
        plans = plan_tracks(tracks, (info.width, info.height), source_size)
        clips = [clip for track in due if (clip := self._begin(track, plans[track.track_id]))]
        self._clips = sorted(clips, key=lambda clip: clip.span.start)
        stretches = list(self._stretches())
        held = one_pass.BYTES_HELD // (2 if len(stretches) > 1 else 1)
        self._passes = [one_pass.Pass(info, s, held, self._is_stopped) for s in stretches]

    def _begin(self, track: Track, plan: CropPlan | ItemError) -> ClipInProgress | None:
        span = ClipSpan.of(track, self._info, self._shop.settings.max_clip_seconds)
        end = self._info.duration_seconds
        if end is not None and span.lacks_frames(end, float(1 / self._info.rate)):
            beyond = one_pass.beyond_end(span, self._info, f"at {end:.3f} s")
            plan = plan if isinstance(plan, ItemError) else beyond
        if isinstance(plan, ItemError):
            self._failed.append((track.track_id, plan.reason, plan.message))
            return None
        encoder = self._decoder.hw_encoder
        return ClipInProgress(self._shop, track, plan, span, self._info, encoder)

    def _stretches(self) -> Iterator[list[ClipInProgress]]:
        """Yield the clips in groups; a key frame stands in the gap before each but the first."""
        stretch: list[ClipInProgress] = []
        end = 0.0
        for clip in self._clips:
            if stretch:
                key = key_before(self._decoder, clip.span.start)
                # The first frame after a stretch is decoded with it.
                if key is not None and key > end + float(1 / self._info.rate):
                    yield stretch
                    stretch = []
            stretch.append(clip)
            end = max(end, clip.span.stop)
        if stretch:
            yield stretch

    def run(self) -> CutOutcome:
        """Decode every stretch once, and wait for all clips.

        Raises:
            PartlyCutError: it was stopped, the storage is full, or the process may have no more
                memory, threads or files.
        """
        helpers: list[threading.Thread] = []
        self._seats.take()
        try:
            while (one := self._next(last=False)) is not None:
                self._call_helpers(helpers)
                self._do(one, self._decoder)
        except BaseException as error:  # noqa: BLE001 - raised below, when nobody is at work
            self._halt(error)
        finally:
            self._seats.leave()
        for helper in helpers:
            helper.join()
        self._notes.insert(0, note_of(self._decoder))
        if self._error is None:
            return self._collect()
        self._abandon(self._error)
        if isinstance(self._error, StoppedError | LacksError):
            self._collect(self._error)
        raise self._error

    def _is_stopped(self) -> bool:
        return self._error is not None or self._shop.stop.is_set()

    def _halt(self, error: BaseException) -> None:
        """Have everybody leave off; the first one's reason counts."""
        with self._lock:
            self._error = self._error or error

    def _next(self, *, last: bool) -> one_pass.Pass | None:
        """Return the next pass; for whom comes last, the longest that is left."""
        with self._lock:
            if self._error is not None or not self._passes:
                return None
            place = 0
            if last:
                place = max(range(len(self._passes)), key=lambda n: self._passes[n].seconds)
            return self._passes.pop(place)

    def _do(self, one: one_pass.Pass, decoder: Decoder) -> None:
        try:
            one.run(decoder)
        except BaseException as error:  # noqa: BLE001 - raised again by `run`
            self._halt(error)

    def _call_helpers(self, helpers: list[threading.Thread]) -> None:
        """Have other threads decode beside this one, as far as there are stretches and seats."""
        for _ in range(len(self._passes)):
            if not self._seats.take_free():
                return
            helper = threading.Thread(target=self._help, name="decode")
            try:
                helper.start()
            except RuntimeError:  # the system gives no more threads: it goes without
                self._seats.leave()
                return
            helpers.append(helper)

    def _help(self) -> None:
        """Decode what is left, until others want the seat."""
        with ExitStack() as at_end:
            at_end.callback(self._seats.leave)
            try:
                decoder = self._opened()
            except Exception:  # noqa: BLE001 - the first thread goes on, and meets what is wrong
                return
            at_end.callback(close_decoder, decoder)
            while not self._seats.are_too_few() and (one := self._next(last=True)) is not None:
                self._do(one, decoder)
            self._notes.append(note_of(decoder))

    def _abandon(self, error: BaseException) -> None:
        why = error if isinstance(error, StoppedError) else StoppedError(15)
        for clip in self._clips:
            clip.drop(why)
        for clip in self._clips:
            with suppress(Exception):
                clip.result.result()

    def _collect(self, cause: Exception | None = None) -> CutOutcome:
        """Wait for all clips; raise PartlyCutError where there is a cause to leave the video."""
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
        serious = cause or refusal or serious
        notes = dict.fromkeys([*self._notes, *(clip.note for clip in done)])
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
