"""What makes a clip what it is: a change here makes every clip due again."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trackverse_cli.settings import Settings

CUTTING_VERSION = 1
"""Grows when the same settings give other pictures or other frames."""

ORIGINAL = "original"
"""The recipe of a clip that another program cut and `adopt` found to be what was asked for."""


def fits(recipe: str, wanted: str) -> bool:
    """Say whether a clip with this recipe counts where clips are to have the wanted one."""
    return recipe in (wanted, ORIGINAL)


def recipe_id(settings: Settings) -> str:
    """Return 12 hex digits that name how clips are cut under these settings.

    Neither rank nor world size nor the number of workers is part of it, since they change nothing.
    """
    parts = {
        "cutting": CUTTING_VERSION,
        "encode": settings.encode.model_dump(),
        "max_clip_seconds": settings.extract.max_clip_seconds,
    }
    text = json.dumps(parts, sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=6).hexdigest()
