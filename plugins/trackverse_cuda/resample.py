"""Boxes out of the planes of one frame, all at once, by torch on whatever device holds them.

The same samples as the decoder `pyav` takes: pixel i covers [i, i + 1), chroma lies on every
second luma sample across and halfway between two rows down, borders are repeated, and what
shrinks is sampled finer and averaged. Rotations are by right angles, so each coordinate of a
sample depends on its row or its column alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional

from trackverse_cli.decoding import CHROMA, LUMA

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    Floats = NDArray[np.float64]
    Size = tuple[int, int]

_SITINGS = tuple((siting, np.linalg.inv(siting)) for siting in (LUMA, CHROMA))

SHRINK_LIMIT = 1.5
"""Beyond this factor bilinear sampling would skip source pixels: sample finer, then average."""

MOST_SAMPLES = 1 << 24
"""Fine samples of one group; each takes about 16 bytes while it is computed."""


@dataclass(frozen=True, slots=True)
class Picture:
    """The planes of one 4:2:0 frame, as views of the decoder's memory.

    Attributes:
        luma: (H, W) uint8 or uint16.
        chroma: one (H/2, W/2, 2) plane, or the two planes (H/2, W/2).
        scale: what brings a value to 0..255.
    """

    luma: Tensor
    chroma: tuple[Tensor, ...]
    scale: float = 1.0

    @property
    def on_card(self) -> bool:
        """Whether the planes are in a card's memory."""
        return self.luma.is_cuda

    def on_host(self) -> Picture:
        """Return the picture in main memory, at no cost in the card's memory."""
        return Picture(_down(self.luma), tuple(_down(one) for one in self.chroma), self.scale)

    def on(self, device: str) -> Picture:
        """Return the picture on a card, copied there if it is elsewhere."""
        return Picture(self.luma.to(device), tuple(c.to(device) for c in self.chroma), self.scale)

    def window(self, plane: int, across: slice, down: slice) -> Tensor:
        """Return a part of the luma (plane 0) or chroma (1) as (1 or 2, h, w) float32."""
        if plane == 0:
            part = self.luma[None, down, across]
        elif len(self.chroma) == 1:
            part = self.chroma[0][down, across].permute(2, 0, 1)
        else:
            part = torch.stack([one[down, across] for one in self.chroma])
        # Channels last, as NV12 has them, would make a sample's neighbours lie apart.
        return part.to(torch.float32, memory_format=torch.contiguous_format)


def _down(plane: Tensor) -> Tensor:
    # As one run of bytes, since torch makes a pitched copy dense on the card first.
    run = plane.as_strided((plane.stride(0) * (plane.shape[0] - 1) + plane[0].numel(),), (1,))
    return run.cpu().as_strided(plane.shape, plane.stride())


@dataclass(frozen=True, slots=True)
class Sampling:
    """Where the samples of m boxes lie.

    Attributes:
        sizes: m times (width, height) of the clip.
        finer: (m, 2) whole numbers, samples across and down for one of the clip.
        turned: whether a row of the clip is a column of the coded picture.
        steps: (plane, m, 2) step in coded x and y from one fine sample to the next.
        starts: (plane, m, 2) coded x and y of the first one, in samples of the plane.
    """

    sizes: NDArray[np.int64]
    finer: NDArray[np.int64]
    turned: bool
    steps: Floats
    starts: Floats


def place(to_coded: Floats, boxes: Floats, sizes: Sequence[Size]) -> Sampling:
    """Return the sampling of (m, 4) xywh boxes, in displayed pixels, at (width, height) sizes."""
    size = np.asarray(sizes, np.int64).reshape(-1, 2)
    boxed = np.zeros((len(size), 3, 3))
    boxed[:, :2, :2] = np.eye(2) * (boxes[:, 2:] / size)[:, None, :]
    boxed[:, :2, 2], boxed[:, 2, 2] = boxes[:, :2], 1
    coded = to_coded @ boxed
    turned = bool(abs(to_coded[0, 1]) > abs(to_coded[0, 0]))
    factor = np.hypot(coded[:, 0, :2], coded[:, 1, :2])
    finer = np.where(factor <= SHRINK_LIMIT, 1, np.ceil(factor)).astype(np.int64)
    fine = np.zeros_like(boxed)
    fine[:, :2, :2] = np.eye(2) / finer[:, None, :]
    fine[:, :2, 2], fine[:, 2, 2] = 0.5 / finer - 0.5, 1
    maps = np.stack([unsiting @ coded @ siting @ fine for siting, unsiting in _SITINGS])
    steps = np.stack([maps[..., 0, int(turned)], maps[..., 1, 1 - int(turned)]], axis=-1)
    return Sampling(size, finer, turned, steps, maps[..., :2, 2])


def groups(sampling: Sampling, slack: float) -> list[list[int]]:
    """Return the boxes in groups that are sampled together, padded to the largest of a group.

    Args:
        sampling: of m boxes.
        slack: how much more than needed a group may sample, 1 for groups of one size only.
    """
    width, height = sampling.sizes[:, 0], sampling.sizes[:, 1]
    order = np.lexsort((width, height, sampling.finer[:, 0], sampling.finer[:, 1]))
    found: list[list[int]] = []
    used, widest = 0, 0
    for one in order.tolist():
        area = int(width[one] * height[one])
        if found and (sampling.finer[found[-1][0]] == sampling.finer[one]).all():
            wide = max(widest, int(width[one]))
            padded = wide * int(height[one]) * (len(found[-1]) + 1)
            fine = padded * int(sampling.finer[one].prod())
            if padded <= slack * (used + area) and fine <= MOST_SAMPLES:
                found[-1].append(one)
                used, widest = used + area, wide
                continue
        found.append([one])
        used, widest = area, int(width[one])
    return found


def sample(picture: Picture, sampling: Sampling, plane: int, group: list[int]) -> Tensor:
    """Return one plane of a group of boxes: (m, channels, height, width) float32, 0..255."""
    columns, rows = sampling.sizes[group].max(axis=0) // (1 + plane)
    across, down = sampling.finer[group[0]]
    fine = (rows * down, columns * across) if sampling.turned else (columns * across, rows * down)
    steps, starts = sampling.steps[plane, group], sampling.starts[plane, group]
    # What only pads a group is sampled too, but decides nothing about what is read.
    own = sampling.sizes[group] // (1 + plane) * sampling.finer[group[0]]
    ends = starts + steps * ((own[:, ::-1] if sampling.turned else own) - 1)
    x, y = _window(starts, ends, _extent(picture, plane))
    source = picture.window(plane, x, y)
    # grid_sample takes -1 and 1 as the outer edges of the first and the last pixel.
    length = np.array([source.shape[2], source.shape[1]])
    starts = (2 * (starts - (x.start, y.start)) + 1) / length - 1
    numbers = torch.from_numpy(np.stack([2 * steps / length, starts]).astype(np.float32))
    step, start = numbers.to(source.device, non_blocking=True)
    axes = [
        torch.arange(int(count), dtype=torch.float32, device=source.device) * step[:, n : n + 1]
        + start[:, n : n + 1]
        for n, count in enumerate(fine)
    ]
    by_row, by_column = (0, 1) if sampling.turned else (1, 0)
    grid = source.new_empty((len(group), int(rows * down), int(columns * across), 2))
    grid[..., by_row] = axes[by_row][:, :, None]
    grid[..., by_column] = axes[by_column][:, None, :]
    sampled = functional.grid_sample(
        source[None].expand(len(group), -1, -1, -1),
        grid,
        mode="bilinear",
        padding_mode="border",
        align_corners=False,
    )
    if (across, down) != (1, 1):
        sampled = functional.avg_pool2d(sampled, (int(down), int(across)))
    return sampled if picture.scale == 1 else (sampled * picture.scale).clamp_(max=255)


def _extent(picture: Picture, plane: int) -> Size:
    shape = (picture.chroma[0] if plane else picture.luma).shape
    return shape[1], shape[0]


def _window(starts: Floats, ends: Floats, extent: Size) -> tuple[slice, slice]:
    """Return the columns and rows of a plane that the samples touch, of either at least one."""
    low, high = np.minimum(starts, ends).min(axis=0), np.maximum(starts, ends).max(axis=0)
    x, y = (
        slice(
            min(max(math.floor(low[n]) - 1, 0), extent[n] - 1),
            min(max(math.ceil(high[n]) + 2, 1), extent[n]),
        )
        for n in (0, 1)
    )
    return x, y
