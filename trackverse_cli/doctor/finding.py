"""What a check says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "warning", "missing"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One check: `missing` keeps a run from working, `warning` does not."""

    name: str
    state: State
    message: str
