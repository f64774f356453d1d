"""One video, decoded on a card where there is one that can; else by the decoder `pyav`."""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import TYPE_CHECKING

from trackverse_cli.errors import DamagedFileError, LacksError
from trackverse_cli.interfaces import Damage, close_decoder
from trackverse_cuda import cards
from trackverse_cuda.crops import CudaFrame
from trackverse_cuda.source import Source

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from av.video.frame import CudaContext

    from trackverse_cli.interfaces import Decoder, DecoderPlugin, Frame
    from trackverse_cuda.settings import CudaSettings

OTHER = "pyav"
"""The decoder that takes over: without a card its crops cost a third of torch's or less."""


def _no_room(card: int) -> str:
    return f"cuda:{card} has no memory left to decode it"


def by_other(path: Path, threads: int) -> Decoder:
    """Open a file with the decoder that takes over, as any plugin is found."""
    point = next(iter(entry_points(group="trackverse", name=OTHER, value=f"trackverse_{OTHER}")))
    plugin: DecoderPlugin = point.load().trackverse_register_decoder()
    return plugin.open(path, plugin.settings.model_validate({"threads": threads}))


class CudaDecoder:
    """A video on the card that `settings` choose, or on the CPU where that cannot be.

    Attributes:
        info: what the video is.
        hw_encoder: `h264_nvenc` where crops stay on the card, else None.
        note: why it is, at least in part, decoded or cropped on the CPU; None if it is not, or
            if that is what was asked for.

    Raises:
        DamagedFileError: no video can be read from it.
        CardError: there is no card for it and `fall_back` is off.
    """

    def __init__(self, path: Path, settings: CudaSettings) -> None:
        self._path = path
        self._settings = settings
        self.note: str | None = None
        self.hw_encoder: str | None = None
        self._context: CudaContext | None = None
        self._card, lacking = cards.card_for(settings)
        source: Source | Decoder | None = None
        if lacking:
            self._fall_back("no card", lacking)
        elif self._card is not None:
            source = self._on_card(self._card)
        if source is None:
            # `cpu` is there to test this very code.
            kind = Source if settings.device == "cpu" else by_other
            source = kind(path, settings.threads)
        self._source = source
        self.info = self._source.info

    @property
    def device(self) -> str:
        """Where frames are decoded now: `cuda:N` or `cpu`."""
        return "cpu" if self._card is None else f"cuda:{self._card}"

    def _on_card(self, card: int) -> Source | None:
        """Return the video opened on the card, or None once it is noted why that cannot be."""
        if not cards.enter(card, self._settings.sessions):
            limit = self._settings.sessions
            self._card = None
            self._fall_back("sessions", f"{limit} videos are on cuda:{card} already")
            return None
        reason, why = "open", ""
        for shared in cards.ways():
            try:
                with cards.acceleration(card, shared) as hwaccel:
                    source = Source(self._path, self._settings.threads, hwaccel)
            except (DamagedFileError, RuntimeError) as error:  # torch's errors are RuntimeErrors
                why = f"cuda:{card} does not open it: {error}"
                continue
            except LacksError:
                reason, why = "memory", _no_room(card)
                break
            if source.on_card:
                if self._settings.nvenc:
                    self._context = cards.encoding_context(card)
                    self.hw_encoder = "h264_nvenc" if self._context else None
                return source
            reason = why = f"cuda:{card} does not decode {source.what}"
            source.close()
            break
        try:
            # Nobody's fault but the file's, if the CPU cannot read it either.
            Source(self._path, 1).close()
        except (DamagedFileError, LacksError):
            cards.leave(card)
            raise
        self._leave_card(reason, why)
        return None

    def frames(self, spans: Sequence[tuple[float, float]]) -> Iterator[Frame | Damage]:
        """Yield the frames that some span (start, stop), in seconds, holds, in order, each once.

        Where the card fails under way, the CPU goes on after the last good frame; where it fails
        too, a `Damage` takes the place of the frames.

        Raises:
            DamagedFileError: the file cannot be sought in.
        """
        last: int | None = None
        try:
            for found in self._brought(spans):
                if isinstance(found, Damage) and self._card is not None:
                    reason, why = "damage", f"cuda:{self._card} stopped at {found.start:.3f} s"
                    break
                last = last if isinstance(found, Damage) else found.pts
                yield found
            else:
                return
        except LacksError:
            if self._card is None:
                raise
            reason, why = "memory", _no_room(self._card)
        self._close_source()
        self._leave_card(reason, why)
        # Where clips are encoded on the card, their crops are taken there all the same.
        kind = Source if self._context is not None else by_other
        self._source = kind(self._path, self._settings.threads)
        at = float("-inf") if last is None else float(last * self.info.time_base)
        left = [(max(start, at), stop) for start, stop in spans if stop >= at]
        for found in self._brought(left):
            if isinstance(found, Damage) or last is None or found.pts > last:
                yield found

    def close(self) -> None:
        """Close the file and give the place on the card back; frames stay valid."""
        self._close_source()
        if self._card is not None:
            cards.leave(self._card)
            self._card = None

    def _close_source(self) -> None:
        if isinstance(self._source, Source):
            self._source.close()
        else:
            close_decoder(self._source)

    def _brought(self, spans: Sequence[tuple[float, float]]) -> Iterator[Frame | Damage]:
        if not isinstance(self._source, Source):
            yield from self._source.frames(spans)
            return
        to_coded = self._source.display.to_coded()
        for found in self._source.pictures(spans):
            if isinstance(found, Damage):
                yield found
            else:
                yield CudaFrame(found, to_coded, self._context, self._no_memory)

    def _no_memory(self) -> None:
        if self._context is not None:
            raise LacksError(
                f"cuda:{self._context.device_id} has no memory left for crops of a frame, and its "
                "encoder takes none from the CPU; lower [decoder.cuda] `sessions`"
            )
        why = f"{self.device} has no memory left for crops of a frame"
        self._fall_back("memory", why)

    def _leave_card(self, reason: str, why: str) -> None:
        if self._card is not None:
            cards.leave(self._card)
        self._card = None
        self._fall_back(reason, why)

    def _fall_back(self, reason: str, why: str) -> None:
        """Note why the CPU takes over, and say so if nobody has; raise where that is not wanted."""
        if not self._settings.fall_back:
            raise cards.CardError(why)
        self.note = why
        cards.say_once(reason, f"the CPU takes over: {why}; said once ({self._path.name})")
