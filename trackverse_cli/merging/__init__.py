"""Two dataset folders into one: another root's clips, videos and what its ledger knows.

Every file is first brought under a temporary name beside its place, then checked there, then
renamed: what counts afterwards is what was checked. The other root is only read, unless it is told
to give its files away, and nothing in it is trusted: names come from this root's metadata, links
that lead out of it are not followed, and a clip must be the one that its name promises.
"""

from __future__ import annotations

from trackverse_cli.merging.counts import LeftOut, Merged, MergeOptions, RootTally
from trackverse_cli.merging.merge import merge

__all__ = ["LeftOut", "MergeOptions", "Merged", "RootTally", "merge"]
