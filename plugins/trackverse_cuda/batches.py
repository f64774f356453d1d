"""All crops of one frame as one run of bytes, so that one transfer brings them off the card."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from trackverse_cuda.resample import groups, place, sample

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from trackverse_cuda.resample import Floats, Picture, Size

_ALIGN = 64
"""Bytes; rows and planes begin at multiples of it, as encoders like them."""


@dataclass(frozen=True, slots=True)
class Places:
    """Where the three planes of one crop lie in the batch's run of bytes.

    Attributes:
        luma: offset and pitch in bytes.
        chroma: offset and pitch of U, and of V; of one plane only if they are interleaved.
    """

    size: Size
    luma: tuple[int, int]
    chroma: tuple[tuple[int, int], ...]

    def planes(self, run: Tensor) -> tuple[Tensor, ...]:
        """Return views of the planes as an encoder takes them."""
        width, height = self.size
        shape = (height // 2, width // 2)
        luma = run.as_strided((height, width), (self.luma[1], 1), self.luma[0])
        if len(self.chroma) == 1:
            (offset, pitch) = self.chroma[0]
            return luma, run.as_strided((*shape, 2), (pitch, 2, 1), offset)
        halves = (run.as_strided(shape, (pitch, 1), offset) for offset, pitch in self.chroma)
        return luma, *halves


def lay_out(
    sizes: Sequence[Size], grouped: Sequence[Sequence[int]], interleaved: bool
) -> tuple[list[Places], int]:
    """Return the place of every crop and the bytes of all; the crops of a group are neighbours.

    Interleaved chroma follows its luma at once and at the same pitch, as NVENC wants it.
    """
    places: list[Places | None] = [None] * len(sizes)
    at = 0
    for group in grouped:
        width, height = (max(sizes[one][n] for one in group) for n in (0, 1))
        pitch = -(-width // _ALIGN) * _ALIGN
        for one in group:
            chroma = at + pitch * (sizes[one][1] if interleaved else height)
            halves = ((chroma, pitch), (chroma + pitch // 2, pitch))
            places[one] = Places(sizes[one], (at, pitch), halves[:1] if interleaved else halves)
            at += pitch * (height + height // 2)
    return [one for one in places if one is not None], at


def batch(
    picture: Picture, to_coded: Floats, boxes: Floats, sizes: Sequence[Size],
    slack: float = 1.0, interleaved: bool = False,
) -> tuple[Tensor, list[Places]]:  # fmt: skip
    """Sample all boxes of a picture on its device.

    Args:
        picture: the frame.
        to_coded: 3x3 map from displayed to coded positions.
        boxes: (m, 4) xywh in displayed pixels.
        sizes: m times (width, height), even.
        slack: how much padding groups of unequal sizes may have; see `groups`.
        interleaved: whether U and V share one plane, as in NV12.

    Returns:
        One run of bytes with all crops, and the place of each in it.
    """
    sampling = place(to_coded, boxes, sizes)
    grouped = groups(sampling, slack)
    places, total = lay_out(sizes, grouped, interleaved)
    run = torch.empty(total, dtype=torch.uint8, device=picture.luma.device)
    for group in grouped:
        for plane in (0, 1):
            values = sample(picture, sampling, plane, group).add_(0.5)
            _store(run, values, [places[one] for one in group], plane)
    return run, places


def _store(run: Tensor, values: Tensor, places: Sequence[Places], plane: int) -> None:
    """Write a group's float samples (m, channels, h, w) as bytes to where they belong."""
    first, pitch = places[0].luma
    count, channels, height, width = values.shape
    each = places[1].luma[0] - first if len(places) > 1 else 0
    if plane == 0:
        target = run.as_strided((count, 1, height, width), (each, 0, pitch, 1), first)
    else:
        start = places[0].chroma[0][0]
        one, step = (1, 2) if len(places[0].chroma) == 1 else (pitch // 2, 1)
        target = run.as_strided((count, channels, height, width), (each, one, pitch, step), start)
    target.copy_(values)
