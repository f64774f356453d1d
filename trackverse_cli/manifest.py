"""The availability manifest: what one copy of the dataset holds, and what could not be had.

Two labs that train on the same manifest train on the same clips. It names ids, frames and the
recipe, never bytes, which differ between encoders.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest that was read.

    Attributes:
        clips: (video id, track id) of every clip that the copy holds.
    """

    clips: frozenset[tuple[str, str]]

    def held(self) -> frozenset[tuple[str, str]]:
        """Return (video id, track id) of every clip that the copy holds."""
        return self.clips


def read_manifest(path: Path) -> Manifest:
    """Read a manifest."""
    raise NotImplementedError(path)
