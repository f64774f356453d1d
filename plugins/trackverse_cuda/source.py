"""One video as PyAV decodes it, on a card or not, with its pixels left where they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trackverse_cli.decoding import Reader, to_yuv420p
from trackverse_cli.interfaces import Damage
from trackverse_cuda.crops import CARD_FORMATS, HOST_FORMATS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from av import VideoFrame


class Source(Reader):
    """A video file; its pictures come in a form that crops are made from."""

    @property
    def on_card(self) -> bool:
        """Whether it is decoded on the card and can be taken from there; FFmpeg does not say."""
        return _stays_on_card(self.formats[1], self.display.coded)

    def pictures(self, spans: Sequence[tuple[float, float]]) -> Iterator[VideoFrame | Damage]:
        """Yield what `frames` does, on the card where it may stay there."""
        for found in self.frames(spans):
            if isinstance(found, Damage) or self._is_fit(found):
                yield found
            else:
                yield to_yuv420p(found, self.full_range)

    def _is_fit(self, frame: VideoFrame) -> bool:
        on_card = frame.sw_format.name if frame.sw_format else None
        size = (frame.width, frame.height)
        return frame.format.name in HOST_FORMATS or _stays_on_card(on_card, size)


def _stays_on_card(form: str | None, size: tuple[int, int]) -> bool:
    # DLPack leaves out the last column and row of chroma where a size is odd.
    return form in CARD_FORMATS and size[0] % 2 == size[1] % 2 == 0
