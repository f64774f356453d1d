"""Only the stretches of a fragmented mp4 that are needed: index, plan, and what a file holds.

Nothing here asks a host; `trackverse_cli.download` does, with what is planned here.
"""

from __future__ import annotations

from trackverse_cli.ranges.atoms import UnfitFileError
from trackverse_cli.ranges.header import FileHead, parse_head
from trackverse_cli.ranges.held import Held, covers, read_held, record_atom, spans_in
from trackverse_cli.ranges.plan import Plan, make_plan
from trackverse_cli.ranges.sidx import Fragment, FragmentIndex

__all__ = [
    "FileHead",
    "Fragment",
    "FragmentIndex",
    "Held",
    "Plan",
    "UnfitFileError",
    "covers",
    "make_plan",
    "parse_head",
    "read_held",
    "record_atom",
    "spans_in",
]
