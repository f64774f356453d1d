"""One decoded frame of the decoder `cuda`, and its crops: on the card in one batch, or lazily."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, overload

import torch
from av import VideoFrame
from torch.utils.dlpack import from_dlpack

from trackverse_cli.decoding import as_fraction
from trackverse_cuda.batches import batch
from trackverse_cuda.resample import Picture

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from av.video.frame import CudaContext
    from torch import Tensor

    from trackverse_cuda.batches import Places
    from trackverse_cuda.resample import Floats, Size

CARD_FORMATS = {"nv12": 1.0, "p010le": 1 / 256, "p016le": 1 / 256}
HOST_FORMATS = {"yuv420p": 1.0, "yuvj420p": 1.0, "yuv420p10le": 1 / 4}
"""Pixel formats that are sampled as they are, and what brings their values to 0..255."""

SLACK = 1.5
"""How much more than needed the card may sample: padding is cheaper than another kernel."""


def picture_of(frame: VideoFrame) -> Picture:
    """Return the planes of a frame in one of the formats above; nothing is copied."""
    planes = tuple(from_dlpack(plane.__dlpack__()) for plane in frame.planes)
    form = frame.sw_format or frame.format
    return Picture(planes[0], planes[1:], (CARD_FORMATS | HOST_FORMATS)[form.name])


@contextmanager
def _one_thread() -> Iterator[None]:
    """Keep torch on the calling thread for a while: encoder threads run beside each other."""
    before = torch.get_num_threads()
    if before == 1:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class CardCrops(Sequence[VideoFrame]):
    """Crops that the card is computing; taking one waits until all are there.

    Args:
        run: the bytes of all crops, in pinned memory or on the card.
        places: of each crop.
        ready: what to wait for.
        context: what frames on the card are wrapped with, or None for frames in main memory.
    """

    def __init__(
        self, run: Tensor, places: Sequence[Places], ready: Any, context: CudaContext | None
    ) -> None:
        self._run = run
        self._places = places
        self._ready = ready
        self._context = context

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, at: int) -> VideoFrame: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[VideoFrame]: ...
    def __getitem__(self, at: int | slice) -> VideoFrame | Sequence[VideoFrame]:
        if isinstance(at, slice):
            return [self[i] for i in range(*at.indices(len(self)))]
        if self._ready is not None:
            self._ready.synchronize()
        planes = self._places[at].planes(self._run)
        if self._context is None:
            # NumPy says of pinned memory what the encoder needs to know: it is main memory.
            return VideoFrame.from_dlpack([plane.numpy() for plane in planes], "yuv420p")
        # Torch hands out no memory of a card but the one that is current on the thread.
        with torch.cuda.device(self._context.device_id):
            return VideoFrame.from_dlpack(planes, "nv12", cuda_context=self._context)


class HostCrops(Sequence[VideoFrame]):
    """Crops of a picture in main memory; each is computed by the thread that takes it."""

    def __init__(
        self, picture: Picture, to_coded: Floats, boxes: Floats, sizes: Sequence[Size]
    ) -> None:
        self._picture = picture
        self._to_coded = to_coded
        self._boxes = boxes
        self._sizes = sizes

    def __len__(self) -> int:
        return len(self._sizes)

    @overload
    def __getitem__(self, at: int) -> VideoFrame: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[VideoFrame]: ...
    def __getitem__(self, at: int | slice) -> VideoFrame | Sequence[VideoFrame]:
        if isinstance(at, slice):
            return [self[i] for i in range(*at.indices(len(self)))]
        with _one_thread():
            run, places = batch(
                self._picture, self._to_coded, self._boxes[at : at + 1], [self._sizes[at]]
            )
        return VideoFrame.from_dlpack(places[0].planes(run), "yuv420p")


class CudaFrame:
    """One decoded frame, its pixels on the card or in main memory.

    Args:
        frame: as decoded, in one of the formats above.
        to_coded: 3x3 map from displayed to coded positions.
        context: where crops stay on the card for its encoder; else None.
        no_memory: called when the card has no memory left for this frame's crops.
    """

    def __init__(
        self, frame: VideoFrame, to_coded: Floats, context: CudaContext | None,
        no_memory: Callable[[], None],
    ) -> None:  # fmt: skip
        assert frame.pts is not None
        assert frame.time_base is not None
        self.pts: int = frame.pts
        self.time_base = as_fraction(frame.time_base)
        self._frame = frame
        self._to_coded = to_coded
        self._context = context
        self._no_memory = no_memory

    def crop(self, boxes: Floats, sizes: Sequence[Size]) -> Sequence[VideoFrame]:
        """Return the boxes as frames of `sizes`: on a card all at once, with one transfer."""
        picture = picture_of(self._frame)
        if not picture.on_card and self._context is None:
            return HostCrops(picture, self._to_coded, boxes, sizes)
        try:
            if self._context is not None:
                picture = picture.on(f"cuda:{self._context.device_id}")
            return self._crop_on_card(picture, boxes, sizes)
        except torch.cuda.OutOfMemoryError:
            torch.cuda.empty_cache()
            self._no_memory()
            return HostCrops(picture.on_host(), self._to_coded, boxes, sizes)

    def _crop_on_card(self, picture: Picture, boxes: Floats, sizes: Sequence[Size]) -> CardCrops:
        on_card = self._context is not None
        # Crops for NVENC cannot share padding: chroma follows each one's own luma.
        slack = 1.0 if on_card else SLACK
        with torch.cuda.device(picture.luma.device):
            run, places = batch(picture, self._to_coded, boxes, sizes, slack, on_card)
            if not on_card:
                host = torch.empty(run.shape, dtype=run.dtype, pin_memory=True)
                run = host.copy_(run, non_blocking=True)
            # Who waits for it is an encoding thread, whose core the others can use meanwhile.
            ready = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]  # torch's own gap
            ready.record()
        return CardCrops(run, places, ready, self._context)
