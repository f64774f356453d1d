"""One video to its clips: its stretches, and who decodes which."""

from __future__ import annotations

import threading
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

from trackverse_cli import one_pass
from trackverse_cli.clips import ClipInProgress, ClipSpan, Workshop
from trackverse_cli.cut_outcome import CutOutcome, collect
from trackverse_cli.errors import ItemError, LacksError, StoppedError
from trackverse_cli.geometry import plan_tracks
from trackverse_cli.interfaces import close_decoder, key_before, note_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from trackverse_cli.boxes import CropPlan
    from trackverse_cli.cut_outcome import Failed
    from trackverse_cli.interfaces import Decoder
    from trackverse_cli.metadata import Track
    from trackverse_cli.strands import Seats

MOST_SHARES = 4
"""A decoder holds that part of `one_pass.BYTES_HELD` in any case."""


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
        doubt: why its bytes are not trusted, for the outcome's note; else "".
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
        doubt: str = "",
    ) -> None:
        self._shop, self._seats, self._opened, self._decoder = shop, seats, opened, decoder
        self._info = info = decoder.info
        self._failed: list[Failed] = []
        self._notes = [doubt]
        self._error: BaseException | None = None
        self._lock = threading.Lock()
        plans = plan_tracks(tracks, (info.width, info.height), source_size)
        clips = [clip for track in due if (clip := self._begin(track, plans[track.track_id]))]
        self._clips = sorted(clips, key=lambda clip: clip.span.start)
        stretches = list(self._stretches())
        # One decoder may hold all of it; several share it, as far as that does not slow them.
        shares = min(len(stretches), seats.most, MOST_SHARES) or 1
        held = one_pass.BYTES_HELD // shares
        self._passes = [one_pass.Pass(info, s, held, self._is_stopped) for s in stretches]

    def _begin(self, track: Track, plan: CropPlan | ItemError) -> ClipInProgress | None:
        span = ClipSpan.of(track, self._info, self._shop.settings.max_clip_seconds)
        end = self._info.duration_seconds
        is_beyond = end is not None and span.lacks_frames(end, float(1 / self._info.rate))
        if is_beyond and not isinstance(plan, ItemError):
            plan = one_pass.beyond_end(span, self._info, f"at {end:.3f} s")
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
        cause = None
        if self._error is not None:
            self._abandon(self._error)
            if not isinstance(self._error, StoppedError | LacksError):
                raise self._error
            cause = self._error
        notes = [note_of(self._decoder), *self._notes]
        return collect(self._clips, self._shop.sink, self._failed, notes, cause)

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
