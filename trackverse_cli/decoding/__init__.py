"""What decoder plugins that use PyAV may build on: all of a decoder but its crops.

- `Reader`: a video file, its frames by spans, seeking over gaps, damage told from sound frames.
- `Display`: rotation and pixel shape, as a map from displayed to coded positions.
- `LUMA` and `CHROMA`: where the samples of a 4:2:0 picture lie.
- `to_yuv420p`: any decoded frame as 8-bit 4:2:0.
- `as_fraction`: PyAV's rational numbers as Python's.
- `merged`: spans in order, those that overlap joined.

A plugin that needs none of this implements `trackverse_cli.interfaces.Decoder` by itself.
"""

from trackverse_cli.decoding.display import CHROMA, LUMA, Display
from trackverse_cli.decoding.pictures import to_yuv420p
from trackverse_cli.decoding.rationals import as_fraction
from trackverse_cli.decoding.reader import Reader
from trackverse_cli.decoding.spans import merged

__all__ = ["CHROMA", "LUMA", "Display", "Reader", "as_fraction", "merged", "to_yuv420p"]
