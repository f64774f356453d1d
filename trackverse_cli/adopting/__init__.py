"""A folder that the original scripts or an older version left, taken over after a check.

What a clip by another program has to be stands in `judge`; who vouches for it is the source video,
frame for frame. A clip that passes is recorded with the recipe `original`, its frames, its size and
its checksum, and counts from then on. One that does not is named; if it stands in the root, the
record says why, and it stays as it is until somebody asks for it to be cut again.
"""

from __future__ import annotations

from trackverse_cli.adopting.adopt import adopt
from trackverse_cli.adopting.counts import Adopted, AdoptOptions, LeftOut, Surroundings

__all__ = ["AdoptOptions", "Adopted", "LeftOut", "Surroundings", "adopt"]
