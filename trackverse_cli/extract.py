"""One video to all its clips: decoded once, every track followed at the same time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from trackverse_cli.clips import CutSettings, Workshop
from trackverse_cli.cut_outcome import CutOutcome, PartlyCutError
from trackverse_cli.errors import DamagedFileError
from trackverse_cli.interfaces import close_decoder
from trackverse_cli.machine import step_back
from trackverse_cli.means import raise_if_lacking, ready_pool
from trackverse_cli.one_video import VideoCut
from trackverse_cli.outputs import FileSink
from trackverse_cli.strands import Seats

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from trackverse_cli.interfaces import Decoder
    from trackverse_cli.layout import Layout
    from trackverse_cli.metadata import Track
    from trackverse_cli.outputs import ClipSink

__all__ = ["CutOutcome", "Cutter", "PartlyCutError"]


class Cutter:
    """Cuts the clips of one video after the other, or of several at once from several threads.

    Args:
        layout: where clips go.
        settings: how they are cut.
        workers: threads that crop and encode, and at most that many decode: the callers'
            threads, and others for a long video while there are fewer videos.
        stop: set by a signal; what is unfinished is then discarded.
        sink: where clips go; files below `layout` if None.
    """

    def __init__(
        self,
        layout: Layout,
        settings: CutSettings,
        workers: int,
        stop: threading.Event,
        sink: ClipSink | None = None,
    ) -> None:
        # A pass is over no sooner than its decoding thread: that one never waits for a core.
        self._pool = ready_pool(workers, "encode", step_back)
        self._shop = Workshop(sink or FileSink(layout), settings, self._pool, stop)
        self._seats = Seats(workers)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown()

    @property
    def for_changed(self) -> str | None:
        """The decoder for files that have changed; None where the first sees it by itself."""
        chosen = self._shop.settings.for_changed
        return None if chosen is None else chosen[0].name

    def cut(
        self,
        path: Path,
        tracks: Sequence[Track],
        wanted: Callable[[Track], bool],
        source_size: tuple[int, int] | None,
        doubt: str = "",
    ) -> CutOutcome:
        """Cut the wanted clips of one video.

        Args:
            path: the video.
            tracks: all known tracks of the video; together they settle its geometry.
            wanted: which of them to cut.
            source_size: the largest (width, height) that the host offers, if known.
            doubt: why the decoder for changed files is to open it, if any; the outcome's note
                has it.

        Returns:
            An outcome for each wanted track.

        Raises:
            PartlyCutError: `stop` was set, the storage is full, or the process may have no more
                memory, threads or files; nothing half-written is left.
            LacksError: the video could not be opened for want of these.
        """
        due = [track for track in tracks if wanted(track)]
        how = self._shop.settings
        plugin, settings = how.decoder, how.decoder_settings
        if doubt and how.for_changed is not None:
            plugin, settings = how.for_changed

        def opened() -> Decoder:
            return plugin.open(path, settings)

        try:
            decoder = opened()
        except DamagedFileError as error:
            raise_if_lacking(error)
            told = str(error)
            return CutOutcome((), tuple((t.track_id, "video-damaged", told) for t in due))
        try:
            video = VideoCut(
                self._shop, self._seats, opened, decoder, tracks, due, source_size, doubt
            )
            return video.run()
        finally:
            close_decoder(decoder)
