"""Which frames of a clip an item holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from trackverse_cli.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

Mode = Literal["uniform", "random", "first"]


@dataclass(frozen=True, slots=True)
class FrameSampling:
    """So many frames of each clip, so that clips of any length make one batch.

    Attributes:
        count: frames of an item.
        stride: every so-manieth frame, under `random` and `first`.
        mode: `uniform`: the middles of `count` equal parts of the clip; `random`: a stretch of
            `count` frames, `stride` apart, that begins anywhere; `first`: one at the clip's start.
        seed: of `random`; the same seed, epoch and clip give the same stretch on every machine.

    Raises:
        UsageError: a number is below 1, there is no such mode, or a stride is given for `uniform`.
    """

    count: int
    stride: int = 1
    mode: Mode = "uniform"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.mode not in get_args(Mode):
            known = ", ".join(get_args(Mode))
            raise UsageError(f"no frame sampling is called {self.mode!r}; known: {known}")
        if self.count < 1 or self.stride < 1:
            raise UsageError("a frame sampling needs a count and a stride of at least 1")
        if self.mode == "uniform" and self.stride != 1:
            raise UsageError("uniform sampling spreads over the whole clip; leave stride out")

    def pick(self, frames: int, clip: int, epoch: int = 0) -> NDArray[np.int64]:
        """Return (count,) frame numbers, ascending; a clip that is too short repeats its last.

        Args:
            frames: how many the clip has, at least 1.
            clip: the clip's place in the dataset.
            epoch: of the training; only `random` depends on it.
        """
        steps = np.arange(self.count, dtype=np.int64)
        if self.mode == "uniform":
            return (2 * steps + 1) * frames // (2 * self.count)
        start = 0
        spare = frames - ((self.count - 1) * self.stride + 1)
        if self.mode == "random" and spare > 0:
            dice = np.random.default_rng([abs(self.seed), epoch, clip])
            start = int(dice.integers(spare + 1))
        return np.minimum(start + steps * self.stride, frames - 1)
