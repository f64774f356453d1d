"""The videos of a dataset of any size, made from a seed: how many tracks, how long, what they cost.

The generator is that of `benchmarks.scale`, in columns: tracks of a video
`1 + floor(4 Pareto(1.2))`, at most 3,000; boxes of a track `16 + floor(Exponential(94))`, at most
1,500 (lines as long as the released ones); 16 boxes a second; tracks begin anywhere in a video of
`LogNormal(5.5, 0.8)` seconds. `scale` stands for the 4: with 17, a video has 60 tracks, as in the
list of 65,584 videos of an earlier release with 4.1 M tracks.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import numpy as np

from trackverse_cli.index.writer import DECODE_COST, ENCODE_COST, REQUEST_COST
from trackverse_cli.plan import Survey
from trackverse_cli.plan.spans import covered_seconds
from trackverse_cli.plan.survey import DUE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

TAIL, SCALE, MOST_TRACKS = 1.2, 4.0, 3000
LEAST_BOXES, MORE_BOXES, MOST_BOXES = 16, 94, 1500
CLASSES: Final = 1203
_BLOCK = 1 << 21
_DRAWN = 1 << 16


@dataclass(frozen=True, slots=True)
class World:
    """The videos of a dataset.

    Attributes:
        tracks: (v,) how many each has.
        length: (v,) seconds.
        taken: (v,) what `plan` takes for its length, from where its tracks end.
        decoded: (v,) seconds that its tracks cover together.
        encoded: (v,) the length of its tracks together.
        costs: (v,) as the index has them.
    """

    tracks: Ints
    length: Floats
    taken: Floats
    decoded: Floats
    encoded: Floats
    costs: Floats

    @property
    def videos(self) -> int:
        """How many there are."""
        return len(self.tracks)

    def survey(self, on_disk: bool) -> Survey:
        """Return what `plan` would see of it before the first run."""
        rows = np.repeat(np.arange(self.videos, dtype=np.int32), self.tracks)
        return Survey(
            rows=rows,
            classes=np.arange(len(rows), dtype=np.int32) % CLASSES,
            states=np.full(len(rows), DUE, dtype=np.int8),
            names=[f"class {number}" for number in range(CLASSES)],
            refused=0,
            there=np.full(self.videos, on_disk),
            asked=np.full(self.videos, not on_disk),
            length_seconds=self.taken,
            decoded_seconds=self.decoded,
            encoded_seconds=self.encoded,
            came=np.empty((0, 2)),
            arrived=0,
            gone=0,
            clip_bytes=0,
            clip_seconds=0.0,
            clips_measured=0,
            video_bytes=0,
            videos_measured=0,
            videos_there=self.videos if on_disk else 0,
            folders=4096,
        )


def make_world(tracks: int, seed: int, scale: float = SCALE) -> World:
    """Return so many tracks on as many videos as the generator needs for them."""
    chance = np.random.default_rng([seed, 1])
    counts = _counts(tracks, chance, scale)
    length = chance.lognormal(5.5, 0.8, len(counts)) + 1.0
    end, decoded = np.empty(len(counts)), np.empty(len(counts))
    encoded = np.empty(len(counts))
    bounds = np.searchsorted(np.cumsum(counts), np.arange(_BLOCK, tracks, _BLOCK))
    edges = [0, *np.unique(bounds).tolist(), len(counts)]
    for begin, stop in pairwise(edges):
        own = slice(begin, stop)
        end[own], decoded[own], encoded[own] = _tracks(counts[own], length[own], chance)
    length = np.maximum(length, end)
    costs = DECODE_COST * decoded + ENCODE_COST * encoded + REQUEST_COST
    return World(counts, length, end * (counts + 1) / counts, decoded, encoded, costs)


def _counts(tracks: int, chance: np.random.Generator, scale: float) -> Ints:
    parts, total = [], 0
    while total < tracks:
        drawn = 1 + (scale * chance.pareto(TAIL, _DRAWN)).astype(np.int64)
        parts.append(np.minimum(drawn, MOST_TRACKS))
        total += int(parts[-1].sum())
    counts = np.concatenate(parts)
    ends = np.cumsum(counts)
    last = int(np.searchsorted(ends, tracks))
    counts = counts[: last + 1].copy()
    counts[last] -= int(ends[last]) - tracks
    return counts


def _tracks(
    counts: Ints, length: Floats, chance: np.random.Generator
) -> tuple[Floats, Floats, Floats]:
    """Return for each video where its last track ends, what they cover, and their sum."""
    rows = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
    boxes = LEAST_BOXES + chance.exponential(MORE_BOXES, len(rows)).astype(np.int64)
    lasts = (np.minimum(boxes, MOST_BOXES) - 1) / 16
    first = chance.random(len(rows)) * length[rows]
    last = first + lasts
    ends: Floats = np.maximum.reduceat(last, np.cumsum(counts) - counts)
    covered = covered_seconds(rows, first, last, len(counts))
    return ends, covered, np.bincount(rows, lasts, len(counts)).astype(np.float64)
